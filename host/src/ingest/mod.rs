//! Events in: one transaction stores an event, its contact, and all it sets going.

mod admit;
mod batch;
mod event;
mod known;
mod naming;
mod validate;

pub use admit::admit;
pub use batch::{IngestError, Ingestor};
pub use event::{Exit, Ingested, Lists, NewEvent, Person};
pub use naming::{Naming, Unheard};
pub use validate::{EVENT_NAME_MAX, Paths, check_event, check_from_outside, check_journey_event};

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::contacts::{self, consent};
use crate::db::{self, Conn, EventRow};
use crate::ids::EventId;
use crate::journeys::{self, Catalog, Happened};

pub use hogsend_plugin_api::semantics::MAX_DEPTH;

/// Stores events and everything they cause, in order, inside the caller's transaction.
///
/// Each event is deduplicated on its source's key, given to its contact, and shown to the journeys:
/// it ends runs whose exit condition it meets and enrols people in journeys it triggers. Events
/// that follow from this (`journey.exited`) are stored in the same transaction.
pub async fn store(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: Vec<NewEvent>,
) -> db::Result<Stored> {
    let mut stored = Stored::default();
    let mut round = events;
    loop {
        let (results, derived, enrolled) = store_round(conn, catalog, now, round).await?;
        if stored.events.is_empty() {
            stored.events = results;
        }
        stored.enrolled += enrolled;
        if derived.is_empty() {
            return Ok(stored);
        }
        round = derived;
    }
}

/// What storing came to.
#[derive(Debug, Default)]
pub struct Stored {
    /// One for each event given, in order.
    pub events: Vec<Ingested>,
    /// How many runs were made, and are due now.
    pub enrolled: usize,
}

async fn store_round(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: Vec<NewEvent>,
) -> db::Result<(Vec<Ingested>, Vec<NewEvent>, usize)> {
    let events: Vec<(EventId, NewEvent)> = events
        .into_iter()
        .map(|event| (EventId::new(now), event))
        .collect();

    contacts::lock_names(conn, events.iter().map(|(_, event)| &event.person)).await?;
    let keys: Vec<_> = events
        .iter()
        .filter_map(|(id, event)| Some((event.source.as_str(), event.dedupe_key.as_deref()?, *id)))
        .collect();
    let fresh = if keys.is_empty() {
        HashSet::new()
    } else {
        db::event_key_claim(conn, keys, now).await?
    };

    let mut results: Vec<Ingested> = Vec::with_capacity(events.len());
    let mut places: HashMap<EventId, usize> = HashMap::new();
    let mut new = Vec::with_capacity(events.len());
    for (place, (id, event)) in events.into_iter().enumerate() {
        let is_new = event.dedupe_key.is_none() || fresh.contains(&id);
        results.push(Ingested::duplicate(id, &event.person));
        if is_new {
            places.insert(id, place);
            new.push((id, event));
        }
    }
    if new.is_empty() {
        return Ok((results, Vec::new(), 0));
    }

    let people = contacts::resolve(conn, new.iter().map(|(_, event)| event), now).await?;
    let rows: Vec<EventRow> = new
        .iter()
        .zip(&people)
        .filter_map(|((id, event), contact)| Some(event.row(*id, contact.as_ref()?.id, now)))
        .collect();
    db::event_insert(conn, &rows).await?;
    let listed = new
        .iter()
        .zip(&people)
        .filter_map(|((id, event), contact)| {
            let about = (!event.lists.is_empty()).then_some(contact.as_ref()?)?;
            Some((*id, event, about.id))
        });
    let (refused, mut derived) =
        consent::choose(conn, catalog.lists(), &listed.collect::<Vec<_>>(), now).await?;
    for (id, error) in refused {
        results[places[&id]].lists_error = error;
    }

    let happened: Vec<Happened<'_>> = new
        .iter()
        .zip(&people)
        .filter_map(|((id, event), contact)| {
            Some(Happened {
                id: *id,
                name: &event.name,
                properties: &event.properties,
                depth: event.depth,
                occurred_at: event.occurred_at.unwrap_or(now),
                contact: contact.as_ref()?,
            })
        })
        .collect();
    let reactions = journeys::react(conn, catalog, now, &happened).await?;
    for (event, exits) in happened.iter().zip(reactions.exits) {
        let result = &mut results[places[&event.id]];
        result.stored = true;
        result.contact_key = Some(event.contact.key());
        result.exits = exits;
    }
    derived.extend(reactions.events);
    Ok((results, derived, reactions.enrolled))
}
