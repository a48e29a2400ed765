//! One round of storing: the given events, without the events that follow from them.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Ingested, NewEvent};
use crate::catalog::Catalog;
use crate::contacts::consent::{self, Choosing};
use crate::contacts::{self, NoRoom, Whom};
use crate::db::{self, Conn, EventRow};
use crate::enrolment::{self, Entries, Happened};
use crate::ids::EventId;

/// Result of a round.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// One for each given event, in order.
    pub results: Vec<Ingested>,
    /// Events that follow, for the next round.
    pub follow_ups: Vec<NewEvent>,
    /// How many runs are due now.
    pub due: usize,
    pub entries: Entries,
}

/// The events that are not duplicates, with the indexes of their results.
struct New {
    events: Vec<(EventId, NewEvent)>,
    places: HashMap<EventId, usize>,
}

/// Stores these events: locks the names, drops duplicates, finds or creates the contacts, inserts the
/// events, applies their lists, and lets journeys react.
pub(super) async fn store_round(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: Vec<NewEvent>,
) -> db::Result<Round> {
    let mut round = Round::default();
    let New {
        events: new,
        places,
    } = deduplicate(conn, now, events, &mut round).await?;
    if new.is_empty() {
        return Ok(round);
    }
    let touches = new.iter().map(|(id, event)| event.touch(*id));
    let resolved = contacts::resolve(conn, touches, false, now).await;
    let resolved = resolved.map_err(|error| placed(error, |at| places[&new[at].0]))?;
    let about: Vec<About<'_>> = new
        .iter()
        .zip(&resolved.people)
        .map(|((id, event), whom)| About {
            place: places[id],
            id: *id,
            event,
            whom,
        })
        .collect();
    insert(conn, now, &about, &mut round).await?;
    choose(conn, catalog, now, &about, &mut round).await?;
    round
        .follow_ups
        .extend(resolved.follows.into_iter().map(Into::into));
    round.due += enrolment::offer_again(conn, catalog, now, &resolved.reachable).await?;
    react(conn, catalog, now, &about, &mut round).await?;
    Ok(round)
}

/// A new event with its contact.
struct About<'a> {
    /// The index of its result.
    place: usize,
    id: EventId,
    event: &'a NewEvent,
    whom: &'a Whom,
}

/// Locks the names of all events, then claims their deduplication keys.
async fn deduplicate(
    conn: &mut Conn,
    now: DateTime<Utc>,
    events: Vec<NewEvent>,
    round: &mut Round,
) -> db::Result<New> {
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
    let mut new = New {
        events: Vec::with_capacity(events.len()),
        places: HashMap::new(),
    };
    for (place, (id, event)) in events.into_iter().enumerate() {
        let is_new = event.dedupe_key.is_none() || fresh.contains(&id);
        round.results.push(Ingested::duplicate(id, &event.person));
        if is_new {
            new.places.insert(id, place);
            new.events.push((id, event));
        }
    }
    Ok(new)
}

/// Inserts the events of contacts. Events of unknown visitors are already stored as anonymous events.
async fn insert(
    conn: &mut Conn,
    now: DateTime<Utc>,
    about: &[About<'_>],
    round: &mut Round,
) -> db::Result<()> {
    let rows: Vec<EventRow> = about
        .iter()
        .filter_map(|one| Some(one.event.row(one.id, one.whom.contact()?.id, now)))
        .collect();
    db::event_insert(conn, &rows).await?;
    for one in about {
        let result = &mut round.results[one.place];
        match one.whom {
            Whom::Contact(contact) => {
                result.stored = true;
                result.contact_key = Some(contact.key());
            }
            Whom::Nobody => {
                result.stored = true;
                if !one.event.lists.is_empty() {
                    result.lists_error = Some("no contact has this anonymousId yet".into());
                }
            }
            Whom::Gone => {}
        }
    }
    Ok(())
}

/// Applies the lists of the events, including historical ones. Events that follow from a historical
/// event are historical too.
async fn choose(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    about: &[About<'_>],
    round: &mut Round,
) -> db::Result<()> {
    let places: HashMap<EventId, usize> = about.iter().map(|one| (one.id, one.place)).collect();
    for historical in [true, false] {
        let listed = about
            .iter()
            .filter(|one| one.event.historical == historical);
        let listed: Vec<Choosing<'_>> = listed
            .filter(|one| !one.event.lists.is_empty())
            .filter_map(|one| {
                Some(Choosing {
                    event: one.id,
                    name: &one.event.name,
                    contact: one.whom.contact()?.id,
                    lists: &one.event.lists,
                    depth: one.event.depth,
                })
            })
            .collect();
        if listed.is_empty() {
            continue;
        }
        let (refused, events) = consent::choose(conn, catalog.lists(), &listed, now).await?;
        for (id, error) in refused {
            round.results[places[&id]].lists_error = error;
        }
        round
            .follow_ups
            .extend(events.into_iter().map(|event| NewEvent {
                historical,
                ..event.into()
            }));
    }
    Ok(())
}

/// Lets journeys react to the events that are not historical.
async fn react(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    about: &[About<'_>],
    round: &mut Round,
) -> db::Result<()> {
    let live = about.iter().filter(|one| !one.event.historical);
    let (happened, at): (Vec<Happened<'_>>, Vec<usize>) = live
        .filter_map(|one| {
            let event = one.event;
            let happened = Happened {
                id: one.id,
                name: &event.name,
                properties: &event.properties,
                depth: event.depth,
                trust: event.trust,
                occurred_at: event.occurred_at.unwrap_or(now),
                contact: one.whom.contact()?,
                traceparent: event.traceparent.as_deref(),
            };
            Some((happened, one.place))
        })
        .unzip();
    let reactions = enrolment::react(conn, catalog, now, &happened).await?;
    for (place, exits) in at.into_iter().zip(reactions.exits) {
        round.results[place].exits = exits;
    }
    round
        .follow_ups
        .extend(reactions.events.into_iter().map(Into::into));
    round.due += reactions.enrolled;
    round.entries = reactions.entries;
    Ok(())
}

/// Translates the event indexes in an error to those of all given events.
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
