//! Whether mails may go out now: exits, suppression list, opt-outs, minimum intervals, caps and send
//! windows.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::{TRANSACTIONAL, pace, zone};

use crate::contacts::{Suppressions, suppressions};
use crate::context::Context;
use crate::db::{self, ClaimedSend, Conn, Consents, Contact, NewSend, SendOrigin};
use crate::ids::{ContactId, StateId};
use crate::mailbox::Mailbox;
use crate::states::RunState;

/// The decision on a mail without an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Go,
    /// It is skipped, for this reason.
    Skip(&'static str),
    /// It waits until then.
    Later(DateTime<Utc>),
}

/// Decides on mails, in their order. The caller has locked their contacts, so two mails to one contact
/// are never decided at the same time; no two of these mails belong to the same contact.
pub async fn pace_all(
    cx: &Context,
    conn: &mut Conn,
    sends: &[&ClaimedSend],
    contacts: &[Contact],
    now: DateTime<Utc>,
) -> db::Result<Vec<Pace>> {
    let facts = Facts::gather(cx, conn, sends, contacts, now).await?;
    Ok(sends
        .iter()
        .map(|send| facts.decide(cx, send, now))
        .collect())
}

/// Why no mail of this category may go to this contact at this mailbox, at any time.
fn unwanted(
    (contact, mailbox, category): (ContactId, Option<&Mailbox>, &str),
    suppressions: &Suppressions,
    consents: &Consents,
) -> Option<&'static str> {
    let transactional = category == TRANSACTIONAL;
    let suppressed = mailbox.and_then(|mailbox| suppressions.of(mailbox));
    // An erased contact who came back gets transactional mail only.
    if suppressed.is_some_and(|one| !transactional || one.reason != "erased") {
        return Some("suppressed");
    }
    let keys = mailbox.map(Mailbox::keys).unwrap_or_default();
    let wanted = transactional || consents.allow(contact, &keys, category);
    (!wanted).then_some("user_unsubscribed")
}

/// Why a new mail would not go out, as far as that is known now. It is checked again before the
/// attempt, and may have changed by then.
pub async fn refusal(
    cx: &Context,
    conn: &mut Conn,
    send: &NewSend,
) -> db::Result<Option<&'static str>> {
    let mailbox = cx.addresses.mailbox(&send.to);
    let suppressions = suppressions(conn, &[&mailbox]).await?;
    let consents = db::consents(conn, &[send.contact_id], &mailbox.keys()).await?;
    let about = (send.contact_id, Some(&mailbox), send.category.as_str());
    Ok(unwanted(about, &suppressions, &consents))
}

/// When the journeys of these runs last sent a mail to these contacts. Only journeys with a minimum
/// interval are asked, and nothing older than the longest of the intervals is read.
async fn last_sends(
    cx: &Context,
    conn: &mut Conn,
    people: &[ContactId],
    origins: &HashMap<StateId, SendOrigin>,
    now: DateTime<Utc>,
) -> db::Result<HashMap<(ContactId, String), DateTime<Utc>>> {
    let mut journeys: Vec<&str> = Vec::new();
    let mut longest = 0;
    let catalog = cx.catalog();
    for run in origins.values() {
        let journey = catalog.journey(&run.journey_id);
        let gap = journey.map_or(0, |journey| journey.definition.suppress_ms);
        if gap > 0 {
            journeys.push(&run.journey_id);
            longest = longest.max(gap);
        }
    }
    if journeys.is_empty() {
        return Ok(HashMap::new());
    }
    let gap = i64::try_from(longest).ok();
    let gap = gap.and_then(TimeDelta::try_milliseconds);
    let since = gap.and_then(|gap| now.checked_sub_signed(gap));
    // No mail is older than the epoch, and Postgres can store every later moment.
    let since = since.unwrap_or_default().max(DateTime::UNIX_EPOCH);
    db::journey_last_sends(conn, people, &journeys, since).await
}

struct Facts<'a> {
    contacts: HashMap<ContactId, &'a Contact>,
    origins: HashMap<StateId, SendOrigin>,
    /// Opt-outs of the contacts and of the mailboxes.
    consents: Consents,
    /// By the address in the mail.
    mailboxes: HashMap<String, Mailbox>,
    suppressions: Suppressions,
    /// Only of journeys with a minimum interval.
    last: HashMap<(ContactId, String), DateTime<Utc>>,
    begun: HashMap<ContactId, i64>,
}

impl<'a> Facts<'a> {
    async fn gather(
        cx: &Context,
        conn: &mut Conn,
        sends: &[&ClaimedSend],
        contacts: &'a [Contact],
        now: DateTime<Utc>,
    ) -> db::Result<Self> {
        let people: Vec<ContactId> = sends.iter().map(|send| send.contact_id).collect();
        let runs: Vec<StateId> = sends.iter().filter_map(|send| send.state_id).collect();
        let mailboxes: HashMap<String, Mailbox> = sends
            .iter()
            .map(|send| (send.mail.to.clone(), cx.addresses.mailbox(&send.mail.to)))
            .collect();
        let all: Vec<&Mailbox> = mailboxes.values().collect();
        let suppressions = suppressions(conn, &all).await?;
        let keys: Vec<String> = all.iter().flat_map(|one| one.keys()).collect();
        let consents = db::consents(conn, &people, &keys).await?;
        let begun = match cx.config.policy.cap {
            Some(cap) => db::sends_begun_since(conn, &people, cap.since(now)).await?,
            None => HashMap::new(),
        };
        let origins = db::send_origins(conn, &runs).await?;
        Ok(Self {
            contacts: contacts.iter().map(|one| (one.id, one)).collect(),
            last: last_sends(cx, conn, &people, &origins, now).await?,
            origins,
            consents,
            mailboxes,
            suppressions,
            begun,
        })
    }

    fn decide(&self, cx: &Context, send: &ClaimedSend, now: DateTime<Utc>) -> Pace {
        let origin = send.state_id.and_then(|state| self.origins.get(&state));
        if origin.is_some_and(|run| run.status == RunState::Exited) {
            return Pace::Skip("journey_exited");
        }
        let mailbox = self.mailboxes.get(&send.mail.to);
        let about = (send.contact_id, mailbox, send.category.as_str());
        if let Some(reason) = unwanted(about, &self.suppressions, &self.consents) {
            return Pace::Skip(reason);
        }
        if send.category == TRANSACTIONAL {
            return Pace::Go;
        }
        let policy = &cx.config.policy;
        if let Some(window) = policy.window {
            let none = Properties::new();
            let analytics = origin.map_or(&none, |run| &run.properties);
            let contact = self.contacts.get(&send.contact_id);
            let own = contact.map_or(&none, |contact| &contact.properties);
            let opens = window.opens(now, zone::of(analytics, own, policy.zone));
            if opens > now {
                return Pace::Later(opens);
            }
        }
        let catalog = cx.catalog();
        if let Some(run) = origin
            && let Some(journey) = catalog.journey(&run.journey_id)
            && journey.definition.suppress_ms > 0
        {
            let last = self.last.get(&(send.contact_id, run.journey_id.clone()));
            if !pace::gap_allows(last.copied(), now, journey.definition.suppress_ms) {
                return Pace::Skip("journey_suppressed");
            }
        }
        if let Some(cap) = policy.cap {
            let begun = self.begun.get(&send.contact_id).copied().unwrap_or(0);
            if !cap.allows(begun as u64) {
                return Pace::Skip("frequency_cap");
            }
        }
        Pace::Go
    }
}
