//! Replaying stored events: journeys enrol the contacts they would have enrolled.

use std::collections::BTreeMap;
use std::time::Duration;

use hogsend_plugin_api::Trust;
use serde_json::json;
use tokio::time::Instant;

use super::enrol::{Entrant, enrol_each};
use crate::audit::{Actor, Change, audit};
use crate::context::Context;
use crate::db::{self, EventStory, Patience, Tx};
use crate::ids::{ContactId, EventId};

/// Events replayed in one transaction.
const TOGETHER: usize = 100;
/// How long new transactions may begin. The last one waits at most 10 s for locks on its contacts, so
/// that a request is answered before it times out.
const BEGINNING: Duration = Duration::from_secs(5);

/// A request to replay events.
pub struct Replay<'a> {
    /// The events, oldest first.
    pub events: &'a [EventStory],
    /// The name by which they were found, for the audit log.
    pub name: Option<&'a str>,
    /// The ids by which they were found, for the audit log.
    pub event_ids: Option<&'a [EventId]>,
    /// Only this journey; otherwise every journey that the events trigger.
    pub journey: Option<&'a str>,
}

/// Result of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Events that trigger a journey.
    pub replayed: usize,
    /// Runs that began.
    pub enrolled: usize,
    /// Refused enrolments, by reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// If there was no time for all events: the last event that was replayed.
    pub continue_after: Option<EventId>,
}

/// Replays events. The entry rules of the journeys apply as of now; no event is stored, and no run ends.
///
/// # Errors
/// Only if no event was replayed.
pub async fn replay(cx: &Context, actor: &Actor, asked: Replay<'_>) -> db::Result<Replayed> {
    // Before the first of many transactions, so that none goes unrecorded. The new runs have logs of
    // their own.
    let change = Change::created(json!({
        "name": asked.name, "eventIds": asked.event_ids, "journeyId": asked.journey,
        "matched": asked.events.len(),
    }));
    let about = ("event", asked.name.unwrap_or("by id"));
    let now = cx.clock.now();
    {
        let mut conn = cx.db.conn().await?;
        audit(&mut conn, actor, "event.replay", about, change, now).await?;
    }
    let begun = Instant::now();
    let mut all = Replayed::default();
    let mut last = None;
    for events in asked.events.chunks(TOGETHER) {
        if begun.elapsed() > BEGINNING && last.is_some() {
            all.continue_after = last;
            break;
        }
        let work = |tx| replay_in(cx, tx, events, asked.journey);
        let came = match cx.db.transact_within(Patience::Shared, work).await {
            Ok(came) => came,
            // The events up to here are replayed and committed.
            Err(_) if last.is_some() => {
                all.continue_after = last;
                break;
            }
            Err(error) => return Err(error),
        };
        last = events.last().map(|event| event.id);
        all.replayed += came.replayed;
        all.enrolled += came.enrolled;
        for (reason, count) in came.skipped {
            *all.skipped.entry(reason).or_default() += count;
        }
    }
    Ok(all)
}

async fn replay_in(
    cx: &Context,
    mut tx: Tx,
    events: &[EventStory],
    only: Option<&str>,
) -> db::Result<(Tx, Replayed)> {
    let mut out = Replayed::default();
    let now = cx.clock.now();
    let mut people: Vec<ContactId> = events.iter().map(|event| event.contact_id).collect();
    people.sort_unstable();
    people.dedup();
    let people = db::contact_lock(&mut tx, &people).await?;
    let catalog = cx.catalog();
    let mut entrants = Vec::new();
    for event in events {
        let contact = people.iter().find(|one| one.id == event.contact_id);
        let Some(contact) = contact else { continue };
        let before = entrants.len();
        let wanted = catalog.triggered_by(&event.name).iter();
        let wanted = wanted.filter(|entry| only.is_none_or(|only| only == entry.definition.id));
        entrants.extend(wanted.map(|entry| Entrant {
            entry,
            contact,
            properties: &event.properties.0,
            trust: Trust::from(event.trusted),
        }));
        out.replayed += usize::from(entrants.len() > before);
    }
    for result in enrol_each(&mut tx, &cx.catalog(), now, &entrants).await? {
        match result {
            Ok(_) => out.enrolled += 1,
            Err(reason) => *out.skipped.entry(reason).or_default() += 1,
        }
    }
    Ok((tx, out))
}
