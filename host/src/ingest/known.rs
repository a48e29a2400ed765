//! The fast path for the common case: an event of an existing contact that does not change the contact.
//!
//! It takes one statement, which is its own transaction. All other events take the slow path,
//! [`store`](super::store).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Ingested, NewEvent};
use crate::catalog::Catalog;
use crate::contacts::Person;
use crate::db::{self, Db, KnownEvent, PoolConn};
use crate::ids::EventId;

/// The precision of `last_seen_at`: a later event within this time does not update it.
const SEEN_EXACT: TimeDelta = TimeDelta::minutes(1);

/// Whether the statement stores all events of a request or none: it claims keys one event at a time.
pub fn is_whole(events: &[NewEvent]) -> bool {
    events.len() == 1 || events.iter().all(|event| event.dedupe_key.is_none())
}

/// The event, if it qualifies for the fast path. The statement then checks its contact.
fn may_be_simple<'a>(
    event: &'a NewEvent,
    request: usize,
    catalog: &Catalog,
    now: DateTime<Utc>,
) -> Option<KnownEvent<'a>> {
    let Person::Names(names) = &event.person else {
        return None;
    };
    let external_id = names.external_id.as_deref()?;
    let mut values = event.contact_properties.values();
    let simple = names.anonymous_id.is_none()
        && event.depth == 0
        && event.lists.is_empty()
        && !catalog.concerns(&event.name)
        && !values.any(|value| matches!(value, Value::Object(_) | Value::Array(_)));
    simple.then_some(KnownEvent {
        id: EventId::new(now),
        request: i32::try_from(request).ok()?,
        external_id,
        email: names.email.as_deref(),
        also: &names.also,
        contact_properties: &event.contact_properties,
        source: &event.source,
        trust: event.trust,
        historical: event.historical,
        dedupe_key: event.dedupe_key.as_deref(),
        name: &event.name,
        properties: &event.properties,
        occurred_at: event.occurred_at.unwrap_or(now),
    })
}

/// Looks up the result of a statement that got no answer. If one of its events is stored, the statement
/// took effect, and the events it skipped can take the slow path. None if the result stays unknown.
async fn look_up(db: &Db, events: &[KnownEvent<'_>]) -> Option<Vec<Option<bool>>> {
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let ids = &ids;
    let ask = |mut conn: PoolConn| async move { db::events_stored(&mut conn, ids).await.map(Some) };
    let found = db.settle(ask).await?;
    let stored = |event: &KnownEvent<'_>| found.contains(&event.id).then_some(true);
    (!found.is_empty()).then(|| events.iter().map(stored).collect())
}

/// Stores the requests that qualify for the fast path, each [whole](is_whole); the result of any other
/// request is `None`. Either all requests have keys or none. Leaves a working connection in `held` for
/// the next call.
pub async fn store(
    db: &Db,
    held: &mut Option<PoolConn>,
    catalog: &Catalog,
    now: DateTime<Utc>,
    requests: &[&[NewEvent]],
) -> db::Result<Vec<Option<Vec<Ingested>>>> {
    let known = requests.iter().enumerate().filter_map(|(request, events)| {
        let simple = events
            .iter()
            .map(|event| may_be_simple(event, request, catalog, now));
        simple.collect::<Option<Vec<_>>>()
    });
    let known: Vec<KnownEvent<'_>> = known.flatten().collect();
    let mut results = vec![None; requests.len()];
    if known.is_empty() {
        return Ok(results);
    }
    // The response lists the runs that an event ended, which only the slow path finds.
    let with_open_runs = !catalog.has_exits();
    let mut conn = match held.take() {
        Some(conn) => conn,
        None => db.conn().await?,
    };
    let seen_after = now - SEEN_EXACT;
    let stored = if known.iter().any(|event| event.dedupe_key.is_some()) {
        db::event_insert_known_once(&mut conn, &known, seen_after, with_open_runs, now).await
    } else {
        db::event_insert_known(&mut conn, &known, seen_after, with_open_runs, now).await
    };
    let stored = match stored {
        Ok(stored) => {
            *held = Some(conn);
            stored
        }
        Err(error) if db::is_unavailable(&error) => {
            drop(conn);
            look_up(db, &known)
                .await
                .ok_or_else(|| db::in_doubt(error))?
        }
        Err(error) => return Err(error),
    };
    for (event, stored) in known.into_iter().zip(stored) {
        let Some(stored) = stored else {
            continue;
        };
        let place = event.request as usize;
        results[place].get_or_insert_with(Vec::new).push(Ingested {
            id: event.id,
            stored,
            contact_key: Some(event.external_id.to_owned()),
            exits: Vec::new(),
            lists_error: None,
        });
    }
    Ok(results)
}
