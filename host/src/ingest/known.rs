//! The common case: an event of a person who exists, and whom it changes in nothing.
//!
//! It takes one look and one statement, which is its own transaction. Everything else goes the long
//! way of [`store`](super::store).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Ingested, NewEvent, Person};
use crate::db::{self, Conn, KnownContact, KnownEvent, KnownOutcome, NewIdentity};
use crate::ids::EventId;
use crate::journeys::Catalog;

/// How exact `last_seen_at` is: within it, seeing a person again writes nothing.
const SEEN_EXACT: TimeDelta = TimeDelta::minutes(1);

/// Whether the event itself allows the short way; its contact decides the rest.
pub fn may_be_simple(event: &NewEvent, catalog: &Catalog) -> bool {
    matches!(&event.person, Person::Names(names) if names.anonymous_id.is_none())
        && !catalog.concerns(&event.name)
}

/// Stores events that [`may_be_simple`]. `None` stands for an event that turned out to take more,
/// and was not stored.
pub async fn store(
    conn: &mut Conn,
    catalog: &Catalog,
    now: DateTime<Utc>,
    events: &[&NewEvent],
) -> db::Result<Vec<Option<Ingested>>> {
    let contacts = Contacts::load(conn, events).await?;
    let mut results = vec![None; events.len()];
    let mut places = Vec::new();
    let mut rows = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let Some(known) = contacts.unchanged_by(event, now) else {
            continue;
        };
        // Their runs have to be told, and may have to be ended.
        if known.in_journey && catalog.has_exits() {
            continue;
        }
        places.push((place, known.contact.key()));
        rows.push(KnownEvent {
            row: event.row(EventId::new(now), known.contact.id, now),
            dedupe_key: event.dedupe_key.clone(),
        });
    }
    if rows.is_empty() {
        return Ok(results);
    }
    let outcomes = db::event_insert_known(conn, &rows, now).await?;
    for (((place, key), row), outcome) in places.into_iter().zip(&rows).zip(outcomes) {
        results[place] = match outcome {
            KnownOutcome::Stored => Some(Ingested::of_contact(row.row.id, key, true)),
            KnownOutcome::Duplicate => Some(Ingested::of_contact(row.row.id, key, false)),
            KnownOutcome::Gone => None,
        };
    }
    Ok(results)
}

/// The contacts the events name.
struct Contacts {
    all: Vec<KnownContact>,
    by_external_id: HashMap<String, usize>,
}

impl Contacts {
    async fn load(conn: &mut Conn, events: &[&NewEvent]) -> db::Result<Self> {
        let (mut ids, mut emails) = (Vec::new(), Vec::new());
        for event in events {
            let Person::Names(names) = &event.person else {
                continue;
            };
            match (&names.external_id, &names.email) {
                (Some(id), _) => ids.push(id.clone()),
                (None, Some(email)) => emails.push(email.to_lowercase()),
                (None, None) => {}
            }
        }
        let all = db::contacts_known(conn, &ids, &emails).await?;
        let with_id = all.iter().enumerate();
        let by_external_id = with_id
            .filter_map(|(place, known)| Some((known.contact.external_id.clone()?, place)))
            .collect();
        Ok(Self {
            all,
            by_external_id,
        })
    }

    /// The contact of an event, where the event would change nothing about it.
    fn unchanged_by(&self, event: &NewEvent, now: DateTime<Utc>) -> Option<&KnownContact> {
        let Person::Names(names) = &event.person else {
            return None;
        };
        let known = self.find(names)?;
        let contact = &known.contact;
        let unchanged = (names.email.is_none() || contact.email == names.email)
            && now - contact.last_seen_at < SEEN_EXACT
            && event
                .contact_properties
                .iter()
                .all(|(name, value)| contact.properties.get(name) == Some(value));
        unchanged.then_some(known)
    }

    /// By the product's id, else the only contact with the address.
    fn find(&self, names: &NewIdentity) -> Option<&KnownContact> {
        if let Some(id) = &names.external_id {
            return self.by_external_id.get(id).map(|place| &self.all[*place]);
        }
        let email = names.email.as_ref()?.to_lowercase();
        let mut found = self.all.iter().filter(|known| {
            known
                .contact
                .email
                .as_ref()
                .is_some_and(|own| own.to_lowercase() == email)
        });
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }
}
