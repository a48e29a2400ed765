//! Events that runs wait for.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{Occurrence, WaitForArgs, Waited};
use serde_json::json;

use super::enrol::Happened;
use crate::db::{self, Conn, OpenWait, StepEnd};
use crate::ids::{ContactId, StateId};

/// Ends the waits the events satisfy, in the transaction that stores the events. The contacts are
/// locked. Returns how many runs go on.
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
    let mut woken = 0;
    for event in events {
        let satisfied = |wait: &OpenWait| {
            wait.contact_id == event.contact.id
                && is_within(wait, event.occurred_at)
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
            let waited = Waited::Event(Occurrence {
                name: event.name.to_owned(),
                properties: event.properties.clone(),
                occurred_at: event.occurred_at,
            });
            let end = StepEnd {
                state: wait.state_id,
                seq: wait.seq,
                result: Ok(json!(waited)),
            };
            woken += db::steps_complete(conn, &[end], now).await? as usize;
        }
    }
    Ok(woken)
}

/// The event that had come when a wait began, or came while its beginning was being written. The
/// contact is locked, and marked as one that is listened to before anything is read.
pub async fn past(
    conn: &mut Conn,
    contact: ContactId,
    properties: &Properties,
    args: &WaitForArgs,
    issued_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> db::Result<Option<Waited>> {
    let from = begins(args, issued_at);
    // Events of the future are their clocks' fault and count now.
    let to = now.max(issued_at) + TimeDelta::days(1);
    let found = db::events_between(
        conn,
        contact,
        &args.event,
        from,
        to,
        issued_at,
        args.lookback_ms > 0,
    )
    .await?;
    let first = found
        .into_iter()
        .find(|event| matches(args, &event.name, &event.properties, properties));
    Ok(first.map(|event| Waited::Event(event.into())))
}

/// From when on events count.
fn begins(args: &WaitForArgs, issued_at: DateTime<Utc>) -> DateTime<Utc> {
    i64::try_from(args.lookback_ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|age| issued_at.checked_sub_signed(age))
        .unwrap_or(DateTime::<Utc>::MIN_UTC)
}

fn is_within(wait: &OpenWait, occurred_at: DateTime<Utc>) -> bool {
    occurred_at >= begins(&wait.args, wait.issued_at)
        && wait.due_at.is_none_or(|due| occurred_at <= due)
}

fn matches(args: &WaitForArgs, name: &str, event: &Properties, contact: &Properties) -> bool {
    args.event == name
        && args
            .condition
            .as_ref()
            .is_none_or(|condition| condition.matches(event, contact))
}
