//! Decides whether a person or a machine opened a mail or clicked: only what a person did moves the
//! mail and becomes an event.

use chrono::TimeDelta;
use hogsend_plugin_api::{DeliveryEventKind as Kind, Properties};
use serde_json::json;

use super::links::is_tracked;
use super::machine;
use super::machine::{REPEAT, Seen, UNSENT};
use crate::contacts;
use crate::context::Context;
use crate::db::{self, Conn, DueVisit, SendStatus, Tx, Visit};
use crate::mail::status;
use crate::mail::status::MailEvent;

/// How long an open or a click waits for its mail to be recorded as sent before it is judged again.
const UNSENT_WAIT: TimeDelta = TimeDelta::seconds(5);
/// After this long, a visit itself shows that a mail in doubt was sent.
const UNSENT_MAX: TimeDelta = TimeDelta::minutes(10);

/// Judges one open or click that is due, in its own transaction. False if another worker judged it, or
/// it was deleted.
pub async fn judge(cx: &Context, due: DueVisit) -> db::Result<bool> {
    cx.db.transact(|tx| judge_in(cx, tx, &due)).await
}

async fn judge_in(cx: &Context, mut tx: Tx, due: &DueVisit) -> db::Result<(Tx, bool)> {
    let id = due.id;
    let now = cx.clock.now();
    // Locks in the order in which erasing takes them: contact, mail, visit.
    db::send_find_locked(&mut tx, Some(due.send_id), "", None).await?;
    let Some(mail) = db::send_lock(&mut tx, due.send_id).await? else {
        return Ok((tx, false));
    };
    let Some(visit) = db::visit_claim(&mut tx, id, now).await? else {
        return Ok((tx, false));
    };
    let unsent = matches!(mail.status, SendStatus::Queued | SendStatus::Sending);
    if unsent && now - visit.recorded_at < UNSENT_MAX {
        db::visit_postpone(&mut tx, id, now + UNSENT_WAIT).await?;
        return Ok((tx, true));
    }
    let machine = match unsent && !mail.in_doubt && visit.provider.is_none() {
        true => Some(UNSENT),
        false => reason(cx, &mut tx, &visit).await?,
    };
    db::visit_settle(&mut tx, id, machine).await?;
    if machine.is_some() {
        return Ok((tx, true));
    }
    let kind = match visit.kind.as_str() {
        "clicked" => Kind::Clicked,
        _ => Kind::Opened,
    };
    let mut report = MailEvent::new(visit.send_id, kind, visit.occurred_at);
    report.provider = visit.provider.as_deref();
    report.properties = properties(&visit);
    status::record(cx, &mut tx, report, now).await?;
    if kind == Kind::Clicked
        && let Some((_, to)) = db::send_target(&mut tx, visit.send_id).await?
    {
        contacts::pending::confirm(&mut tx, mail.contact_id, &to, now).await?;
    }
    Ok((tx, true))
}

async fn reason(cx: &Context, conn: &mut Conn, visit: &Visit) -> db::Result<Option<&'static str>> {
    let click = visit.kind == "clicked";
    let ours = |url: &str| is_tracked(url, &cx.config.api_public_url);
    if visit.provider.is_some() && visit.url.as_deref().is_some_and(ours) {
        return Ok(Some(REPEAT));
    }
    let mut around = Vec::new();
    if click {
        let (from, until) = machine::window(visit.occurred_at);
        around = db::clicks_between(conn, visit.send_id, from, until).await?;
        // Clicks on our own links are in the list a second time, by the links' ids.
        around.retain(|click| !ours(&click.link));
    }
    Ok(machine::reason(Seen {
        at: visit.occurred_at,
        by_provider: visit.provider.is_some(),
        user_agent: visit.user_agent.as_deref(),
        purpose: visit.purpose.as_deref(),
        click,
        sent_at: visit.sent_at,
        delivered_at: visit.delivered_at,
        links: usize::try_from(visit.links).unwrap_or_default(),
        around: &around,
    }))
}

fn properties(visit: &Visit) -> Properties {
    let mut all = Properties::new();
    if let Some(url) = &visit.url {
        all.insert("url".into(), json!(url));
    }
    if let Some(link) = visit.link_id {
        all.insert("linkId".into(), json!(link));
    }
    all
}
