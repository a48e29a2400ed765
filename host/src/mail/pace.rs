//! Whether a mail may go out now: exits, preferences, gaps, caps and windows.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::semantics::{pace, zone};

use super::compose::TRANSACTIONAL;
use crate::app::App;
use crate::db::{self, ClaimedSend, Conn, Contact};

/// What is to be done with a mail no attempt has been made at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Go,
    /// It does not go out, for this reason.
    Skip(&'static str),
    /// Its time has not come.
    Later(DateTime<Utc>),
}

/// Asks everything that can keep a mail back. The contact is locked, so two mails to one person
/// are never decided at the same time.
pub async fn pace(
    app: &App,
    conn: &mut Conn,
    send: &ClaimedSend,
    contact: Option<&Contact>,
    now: DateTime<Utc>,
) -> db::Result<Pace> {
    let origin = match send.state_id {
        Some(state) => db::send_origin(conn, state).await?,
        None => None,
    };
    if origin.as_ref().is_some_and(|run| run.status == "exited") {
        return Ok(Pace::Skip("journey_exited"));
    }
    if send.category == TRANSACTIONAL {
        return Ok(Pace::Go);
    }
    let preferences = db::preferences_by_contact(conn, &[send.contact_id]).await?;
    if preferences
        .values()
        .any(|wants| !wants.allow(&send.category))
    {
        return Ok(Pace::Skip("user_unsubscribed"));
    }
    let policy = &app.config.policy;
    if let Some(window) = policy.window {
        let none = Properties::new();
        let analytics = origin.as_ref().map_or(&none, |run| &run.properties);
        let own = contact.map_or(&none, |contact| &contact.properties);
        let opens = window.opens(now, zone::of(analytics, own, policy.zone));
        if opens > now {
            return Ok(Pace::Later(opens));
        }
    }
    if let Some(run) = &origin
        && let Some(journey) = app.catalog.journey(&run.journey_id)
        && journey.definition.suppress_ms > 0
    {
        let last = db::journey_last_send(conn, send.contact_id, &run.journey_id).await?;
        if !pace::gap_allows(last, now, journey.definition.suppress_ms) {
            return Ok(Pace::Skip("journey_suppressed"));
        }
    }
    if let Some(cap) = policy.cap {
        let begun = db::sends_begun_since(conn, send.contact_id, cap.since(now)).await?;
        if !cap.allows(begun as u64) {
            return Ok(Pace::Skip("frequency_cap"));
        }
    }
    Ok(Pace::Go)
}
