//! What events do to journeys: they end runs, and begin runs that the guards allow.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::Entry;
use hogsend_plugin_api::{Properties, Trust};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::changes::Changes;
use super::exit::Exit;
use super::happened::Happened;
use super::people::People;
use super::wait;
use crate::catalog::{Catalog, JourneyEntry};
use crate::contacts::FollowUp;
use crate::db::{self, Conn, Contact, Log, Unreached};
use crate::ids::{ContactId, EventId, StateId};
use crate::run_ended::{RunEnd, RunEnded};
use crate::states::RunState;

/// Why nobody is enrolled by hand or by a replay while a journey is paused.
const HELD: &str = "held";
/// How long ago a run may have begun for its journey to be offered again.
const OFFERED_AGAIN: TimeDelta = TimeDelta::days(7);

/// The effects of events on journeys.
#[derive(Default)]
pub struct Reactions {
    /// For each event: the open runs of the person that have exit conditions.
    pub exits: Vec<Vec<Exit>>,
    /// Events that follow.
    pub events: Vec<FollowUp>,
    /// Runs that are due now: those that began, and those whose wait the events ended.
    pub enrolled: usize,
    pub entries: Entries,
}

/// How many entries into journeys events caused, and how many the guards refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    pub entered: u64,
    /// Entries into paused journeys.
    pub held: u64,
    /// By the reason of the guard, for example `late_event`.
    pub refused: BTreeMap<String, u64>,
}

impl Entries {
    fn of(changes: &Changes) -> Self {
        let mut refused = BTreeMap::new();
        for skip in &changes.skips {
            *refused.entry(skip.reason.to_owned()).or_default() += 1;
        }
        Self {
            entered: changes.entered.len() as u64,
            held: changes.held.len() as u64,
            refused,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.entered += other.entered;
        self.held += other.held;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// Lets events end and begin runs, in order. The caller holds the contacts' locks, so no other transaction
/// begins or ends a run of these people meanwhile.
pub async fn react(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: &[Happened<'_>],
) -> db::Result<Reactions> {
    let mut people = People::load(conn, catalog, events.iter()).await?;
    let mut reactions = Reactions::default();
    let mut changes = Changes::default();
    for event in events {
        let exits = people.exit(catalog, event, &mut changes);
        for exit in exits.iter().filter(|exit| exit.exited) {
            let ended = RunEnded {
                run: exit.state_id,
                journey_id: exit.journey_id.clone(),
                contact: event.contact.id,
                end: RunEnd::ExitedOn {
                    event: event.name.to_owned(),
                },
                depth: event.depth,
                trust: event.trust,
            };
            changes.news.push(ended.news(now));
            reactions.events.push(FollowUp::run_ended(&ended));
        }
        reactions.exits.push(exits);
        for entry in catalog.triggered_by(event.name) {
            people.offer(entry, event, now, &mut changes);
        }
    }
    reactions.entries = Entries::of(&changes);
    let ended = changes.exited.clone();
    reactions.enrolled = changes.write(conn, now).await?;
    reactions.enrolled += wait::satisfy(conn, now, events, &ended).await?;
    Ok(reactions)
}

/// A person to be enrolled in one journey.
#[derive(Clone, Copy)]
pub struct Entrant<'a> {
    pub entry: &'a JourneyEntry,
    /// Whose row is locked.
    pub contact: &'a Contact,
    /// Properties that the trigger event would have.
    pub properties: &'a Properties,
    pub trust: Trust,
}

/// Enrols people, one after the other, as the trigger events of the journeys with these properties
/// would: the same guards decide, and their refusals are the errors. No event is stored, so nothing else
/// happens. The facts that the guards need are read once, however many people there are.
pub async fn enrol_each(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    entrants: &[Entrant<'_>],
) -> db::Result<Vec<Result<StateId, &'static str>>> {
    let events: Vec<Happened<'_>> = entrants
        .iter()
        .map(|entrant| Happened {
            id: EventId::new(now),
            name: &entrant.entry.definition.trigger.event,
            properties: entrant.properties,
            depth: 0,
            trust: entrant.trust,
            occurred_at: now,
            contact: entrant.contact,
            traceparent: None,
        })
        .collect();
    let mut people = People::load(conn, catalog, events.iter()).await?;
    let mut changes = Changes::default();
    let mut results = Vec::with_capacity(entrants.len());
    for (Entrant { entry, .. }, event) in entrants.iter().zip(&events) {
        let refused = match people.guard(entry, event, now) {
            Ok(()) if people.is_held(entry) => Some(HELD),
            decided => decided.err(),
        };
        match refused {
            None => people.enter(entry, event, now, &mut changes),
            Some(reason) => changes.refuse(entry, event, reason),
        }
        results.push(match (refused, changes.entered.last()) {
            (None, Some(state)) => Ok(state.id),
            (refused, _) => Err(refused.unwrap_or("already_active")),
        });
    }
    changes.write(conn, now).await?;
    Ok(results)
}

/// Offers events to these journeys: the guards decide. The caller holds the contacts' locks.
pub(super) async fn offer_each(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    offers: &[(&JourneyEntry, Happened<'_>)],
) -> db::Result<()> {
    let mut people = People::load(conn, catalog, offers.iter().map(|offer| &offer.1)).await?;
    let mut changes = Changes::default();
    for (entry, event) in offers {
        people.offer(entry, event, now, &mut changes);
    }
    changes.write(conn, now).await?;
    Ok(())
}

/// Enrols people who just got an address again in the journeys that they entered in the last days and that
/// skipped all mails because there was no address. Such a run that is still open ends, so that its first
/// mail is not lost. The caller holds the contacts' locks. Returns how many runs began.
pub async fn offer_again(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    contacts: &[Arc<Contact>],
) -> db::Result<usize> {
    if contacts.is_empty() {
        return Ok(0);
    }
    let ids: Vec<ContactId> = contacts.iter().map(|contact| contact.id).collect();
    let mut unreached = db::states_unreached(conn, &ids, now - OFFERED_AGAIN).await?;
    let entry_of = |run: &Unreached| {
        let entry = catalog.journey(&run.state.journey_id)?;
        let same = entry.definition.trigger.event == run.trigger_event;
        (same && entry.definition.entry != Entry::Unlimited).then_some(entry)
    };
    unreached.retain(|run| entry_of(run).is_some());
    let events: Vec<Happened<'_>> = unreached
        .iter()
        .filter_map(|run| {
            Some(Happened {
                id: EventId::new(now),
                name: &run.trigger_event,
                properties: &run.context,
                depth: run.state.depth,
                trust: run.trust,
                occurred_at: now,
                contact: contacts.iter().find(|it| it.id == run.state.contact_id)?,
                traceparent: None,
            })
        })
        .collect();
    let mut ending = Changes::default();
    let open = |run: &&Unreached| run.state.status.is_open();
    for run in unreached.iter().filter(open) {
        ending.exited.push(run.state.id);
        ending.logs.push(Log {
            state_id: run.state.id,
            from: Some(run.state.status),
            to: RunState::Exited,
            action: "address_arrived",
            detail: json!({}),
        });
    }
    ending.write(conn, now).await?;
    let mut people = People::load(conn, catalog, events.iter()).await?;
    let mut changes = Changes::default();
    for (event, run) in events.iter().zip(&unreached) {
        let Some(entry) = entry_of(run) else { continue };
        people.offer(entry, event, now, &mut changes);
    }
    changes.write(conn, now).await
}
