//! Entries into a paused journey: they are held, and offered again after the pause.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::enrol::offer_each;
use super::happened::Happened;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::db::{self, Conn, Contact, HeldEntry, NameAfter, NewSkip, Tx};
use crate::ids::{ContactId, EventId};

/// Why an entry is not offered again: an event that ends runs of the journey came during the pause.
const EXITED: &str = "exited_while_held";

/// Offers at most `limit` entries to the journeys that are no longer paused, the oldest first. The guards
/// decide anew; only the time that the entry was held does not make it late. Returns how many there were.
pub async fn offer_held(cx: &Context, limit: i64) -> db::Result<usize> {
    let found = {
        let mut conn = cx.db.conn().await?;
        let paused = db::journeys_paused(&mut conn).await?;
        let catalog = cx.catalog();
        let journeys = catalog.journeys().map(|one| one.definition.id.clone());
        let open: Vec<String> = journeys.filter(|id| !paused.contains(id)).collect();
        db::held_of(&mut conn, &open, limit).await?
    };
    if found.is_empty() {
        return Ok(0);
    }
    let work = async |mut tx: Tx| {
        let mut people: Vec<ContactId> = found.iter().map(|one| one.1).collect();
        people.sort_unstable();
        people.dedup();
        let people = db::contact_lock(&mut tx, &people).await?;
        let ids: Vec<_> = found.iter().map(|one| one.0).collect();
        let entries = db::held_take(&mut tx, &ids).await?;
        offer(&mut tx, &cx.catalog(), &people, &entries, cx.clock.now()).await?;
        db::Result::Ok((tx, entries.len()))
    };
    cx.db.transact(work).await
}

async fn offer(
    conn: &mut Conn,
    catalog: &Catalog,
    people: &[Contact],
    entries: &[HeldEntry],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let exited = exited(conn, catalog, people, entries).await?;
    let mut skips = Vec::new();
    let mut events = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let contact = people.iter().find(|one| one.id == entry.contact_id);
        let journey = catalog.journey(&entry.journey_id);
        let (Some(contact), Some(journey)) = (contact, journey) else {
            continue;
        };
        let event = Happened {
            id: EventId::new(now),
            name: &entry.event,
            properties: &entry.properties,
            depth: entry.depth,
            trust: entry.trust,
            // As old as it was when it came.
            occurred_at: entry.occurred_at + (now - entry.held_at),
            contact,
            traceparent: None,
        };
        if exited.contains(&place) {
            skips.push(NewSkip {
                journey_id: entry.journey_id.clone(),
                contact_id: contact.id,
                event_id: event.id,
                reason: EXITED,
            });
        } else {
            events.push((&**journey, event));
        }
    }
    if !skips.is_empty() {
        db::skip_insert(conn, &skips, now).await?;
    }
    offer_each(conn, catalog, now, &events).await
}

/// The entries after which an event met an exit condition of their journey.
async fn exited(
    conn: &mut Conn,
    catalog: &Catalog,
    people: &[Contact],
    entries: &[HeldEntry],
) -> db::Result<HashSet<usize>> {
    let mut asked = Vec::new();
    let mut places = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let Some(journey) = catalog.journey(&entry.journey_id) else {
            continue;
        };
        for exit in &journey.definition.exit_on {
            asked.push(NameAfter {
                contact: entry.contact_id,
                name: exit.event.clone(),
                after: entry.held_at,
            });
            places.push((place, exit));
        }
    }
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let mut exited = HashSet::new();
    for (index, properties) in db::exits_since(conn, &asked).await? {
        let Some((place, exit)) = places.get(index) else {
            continue;
        };
        let contact = people
            .iter()
            .find(|one| one.id == entries[*place].contact_id);
        let meets = exit.condition.as_ref().is_none_or(|condition| {
            contact.is_some_and(|contact| condition.matches(&properties, &contact.properties))
        });
        if meets {
            exited.insert(*place);
        }
    }
    Ok(exited)
}
