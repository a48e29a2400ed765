//! Events that runs wait for. The time of arrival decides, not the clock of the sender.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{Occurrence, WaitForArgs, Waited};
use serde_json::json;
use uuid::Uuid;

use super::happened::Happened;
use crate::db::{self, Conn, OpenWait, StepEnd};
use crate::ids::{ContactId, StateId};

/// Events of the past that one query reads.
const PAGE: i64 = 200;

/// Ends the waits that the events satisfy, in the transaction that stores the events. The caller holds the
/// contacts' locks. Returns how many steps ended.
pub async fn satisfy(
    conn: &mut Conn,
    now: DateTime<Utc>,
    events: &[Happened<'_>],
    ended: &[StateId],
) -> db::Result<usize> {
    let listening = events.iter().filter(|event| event.contact.listening);
    let mut listening: Vec<ContactId> = listening.map(|event| event.contact.id).collect();
    listening.sort_unstable();
    listening.dedup();
    if listening.is_empty() {
        return Ok(0);
    }
    let mut waits = db::waits_open(conn, &listening).await?;
    waits.retain(|wait| !ended.contains(&wait.state_id));
    listening.retain(|contact| waits.iter().all(|wait| wait.contact_id != *contact));
    if !listening.is_empty() {
        db::contact_unlisten(conn, &listening).await?;
    }
    let mut ends = Vec::new();
    for event in events {
        let satisfied = |wait: &OpenWait| {
            wait.contact_id == event.contact.id
                && wait.due_at.is_none_or(|due| now <= due)
                && matches(
                    &wait.args,
                    event.name,
                    event.properties,
                    &event.contact.properties,
                )
        };
        let (met, left) = waits.into_iter().partition(satisfied);
        waits = left;
        let met: Vec<OpenWait> = met;
        for wait in met {
            let (properties, at) = (event.properties.clone(), event.occurred_at);
            let mut occurrence = Occurrence::new(event.name, properties, at);
            occurrence.id = Some(event.id.into());
            occurrence.trust = event.trust;
            let waited = Waited::Event(occurrence);
            ends.push(StepEnd {
                state: wait.state_id,
                seq: wait.seq,
                result: Ok(json!(waited)),
            });
        }
    }
    Ok(db::steps_complete(conn, &ends, now).await? as usize)
}

/// The first matching event that arrived between the end of the step before and the wait, or within the
/// time that the wait looks back. The caller holds the contact's lock and has marked the contact as one
/// whose events are waited for, so no event is missed.
pub async fn past(
    conn: &mut Conn,
    (contact, properties): (ContactId, &Properties),
    args: &WaitForArgs,
    after: Place,
    issued_at: DateTime<Utc>,
) -> db::Result<Option<Waited>> {
    let mut since = looks_back_to(args, issued_at);
    let mut after = after;
    loop {
        let about = (contact, args.event.as_str());
        let found = db::events_arrived(conn, about, after, since, PAGE).await?;
        let last = found
            .last()
            .map(|event| (event.received_at, event.id.into()));
        let full = found.len() == PAGE as usize;
        let mut found = found.into_iter();
        if let Some(event) =
            found.find(|event| matches(args, &event.name, &event.properties, properties))
        {
            return Ok(Some(Waited::Event(event.into())));
        }
        let Some(last) = last.filter(|_| full) else {
            return Ok(None);
        };
        (after, since) = (last, None);
    }
}

/// A place in the order of arrival: the time, and the id among events that arrived at that time.
pub type Place = (DateTime<Utc>, Uuid);

/// The time since which events of the past count. None where the wait does not look back.
fn looks_back_to(args: &WaitForArgs, issued_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if args.lookback_ms == 0 {
        return None;
    }
    let age = i64::try_from(args.lookback_ms).ok();
    let age = age.and_then(TimeDelta::try_milliseconds);
    let from = age.and_then(|age| issued_at.checked_sub_signed(age));
    // A time before Postgres' calendar would be an error.
    Some(from.unwrap_or(DateTime::UNIX_EPOCH))
}

fn matches(args: &WaitForArgs, name: &str, event: &Properties, contact: &Properties) -> bool {
    args.event == name
        && args
            .condition
            .as_ref()
            .is_none_or(|condition| condition.matches(event, contact))
}
