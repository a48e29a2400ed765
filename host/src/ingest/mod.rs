//! Events in: one transaction stores an event, its contact, and all it sets going.

mod admit;
mod batch;
mod event;
mod known;
mod naming;
mod own;
mod validate;

pub use admit::admit;
pub use batch::{IngestError, Ingestor};
pub use event::{Exit, Ingested, Lists, NewEvent, Person};
pub use naming::{Naming, Unheard};
pub use own::{Told, tell};
pub use validate::{
    EVENT_NAME_MAX, PERSON_ID_MAX, Paths, check_event, check_from_outside, check_journey_event,
    is_kind,
};

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::catalog::Catalog;
use crate::contacts::{self, NoRoom, Resolved, Whom, consent};
use crate::db::{self, Conn, EventRow};
use crate::enrolment;
use crate::enrolment::Happened;
use crate::ids::EventId;

pub use hogsend_semantics::MAX_DEPTH;

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

/// Stores what follows where people were found, made or united apart from an event of theirs. The
/// caller holds their locks.
pub async fn follow(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    resolved: Resolved,
) -> db::Result<()> {
    enrolment::offer_again(conn, catalog, now, &resolved.reachable).await?;
    if !resolved.follows.is_empty() {
        store(conn, catalog, now, resolved.follows).await?;
    }
    Ok(())
}

/// An error about events, by their places among all that were given.
fn placed(error: sqlx::Error, place: impl Fn(usize) -> usize) -> sqlx::Error {
    match NoRoom::of(&error) {
        Some(NoRoom { properties }) => {
            let properties = properties
                .iter()
                .map(|(at, unfit)| (place(*at), unfit.clone()));
            let properties = properties.collect();
            NoRoom { properties }.into()
        }
        None => error,
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

    let told = new.iter().map(|(id, event)| (*id, event));
    let resolved = contacts::resolve(conn, told, false, now).await;
    let resolved = resolved.map_err(|error| placed(error, |at| places[&new[at].0]))?;
    let people = resolved.people;
    for ((id, event), whom) in new.iter().zip(&people) {
        if matches!(whom, Whom::Nobody) {
            let result = &mut results[places[id]];
            result.stored = true;
            if !event.lists.is_empty() {
                result.lists_error = Some("nobody is known by this anonymousId yet".into());
            }
        }
    }
    let rows: Vec<EventRow> = new
        .iter()
        .zip(&people)
        .filter_map(|((id, event), whom)| Some(event.row(*id, whom.contact()?.id, now)))
        .collect();
    db::event_insert(conn, &rows).await?;
    for ((id, _), whom) in new.iter().zip(&people) {
        if let Some(contact) = whom.contact() {
            let result = &mut results[places[id]];
            result.stored = true;
            result.contact_key = Some(contact.key());
        }
    }
    let mut derived = Vec::new();
    // What history says of lists is done as well, and sets nothing going either.
    for historical in [true, false] {
        let listed = new.iter().zip(&people);
        let listed = listed.filter(|((_, event), _)| event.historical == historical);
        let listed = listed.filter_map(|((id, event), whom)| {
            let about = (!event.lists.is_empty()).then_some(whom.contact()?)?;
            Some((*id, event, about.id))
        });
        let listed: Vec<_> = listed.collect();
        if listed.is_empty() {
            continue;
        }
        let (refused, events) = consent::choose(conn, catalog.lists(), &listed, now).await?;
        for (id, error) in refused {
            results[places[&id]].lists_error = error;
        }
        derived.extend(events.into_iter().map(|event| NewEvent {
            historical,
            ..event
        }));
    }
    derived.extend(resolved.follows);
    let again = enrolment::offer_again(conn, catalog, now, &resolved.reachable).await?;

    let happened: Vec<Happened<'_>> = new
        .iter()
        .zip(&people)
        .filter(|((_, event), _)| !event.historical)
        .filter_map(|((id, event), whom)| {
            Some(Happened {
                id: *id,
                name: &event.name,
                properties: &event.properties,
                depth: event.depth,
                trust: event.trust,
                occurred_at: event.occurred_at.unwrap_or(now),
                contact: whom.contact()?,
            })
        })
        .collect();
    let reactions = enrolment::react(conn, catalog, now, &happened).await?;
    for (event, exits) in happened.iter().zip(reactions.exits) {
        results[places[&event.id]].exits = exits;
    }
    derived.extend(reactions.events);
    Ok((results, derived, reactions.enrolled + again))
}
