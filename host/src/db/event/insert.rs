//! Events.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use sqlx::types::Json;

use crate::db::transact::takes;
use crate::db::{Conn, Level, Result};
use crate::ids::{ContactId, EventId};

/// An event about to be stored.
#[derive(Clone, Debug)]
pub struct EventRow {
    pub id: EventId,
    pub contact_id: ContactId,
    pub source: String,
    pub trust: Trust,
    pub historical: bool,
    pub name: String,
    pub properties: Properties,
    pub depth: i16,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
}

/// Claims `(source, key, event)` triples and returns the events whose key is new.
///
/// Two transactions racing for one key: the second waits for the first to end, then finds the key
/// taken, or takes it where the first was rolled back. Keys are claimed in order, so they cannot
/// deadlock.
pub async fn event_key_claim(
    conn: &mut Conn,
    mut keys: Vec<(&str, &str, EventId)>,
    now: DateTime<Utc>,
) -> Result<HashSet<EventId>> {
    takes(Level::Keys);
    keys.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let sources: Vec<String> = keys.iter().map(|key| key.0.to_owned()).collect();
    let names: Vec<String> = keys.iter().map(|key| key.1.to_owned()).collect();
    let ids: Vec<EventId> = keys.iter().map(|key| key.2).collect();
    let fresh = sqlx::query_scalar!(
        "INSERT INTO event_keys (source, key, event_id, received_at)
         SELECT *, $4 FROM unnest($1::text[], $2::text[], $3::uuid[])
         ON CONFLICT (source, key) DO NOTHING
         RETURNING event_id",
        &sources,
        &names,
        &ids as &[EventId],
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(fresh.into_iter().map(EventId).collect())
}

/// Which of these events are stored.
pub async fn events_stored(conn: &mut Conn, ids: &[EventId]) -> Result<Vec<EventId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: EventId" FROM user_events WHERE id = ANY($1)"#,
        ids as &[EventId]
    )
    .fetch_all(conn)
    .await
}

pub async fn event_insert(conn: &mut Conn, events: &[EventRow]) -> Result<()> {
    let ids: Vec<EventId> = events.iter().map(|e| e.id).collect();
    let contacts: Vec<ContactId> = events.iter().map(|e| e.contact_id).collect();
    let sources: Vec<String> = events.iter().map(|e| e.source.clone()).collect();
    let names: Vec<String> = events.iter().map(|e| e.name.clone()).collect();
    let properties: Vec<Json<&Properties>> = events.iter().map(|e| Json(&e.properties)).collect();
    let depths: Vec<i16> = events.iter().map(|e| e.depth).collect();
    let occurred: Vec<DateTime<Utc>> = events.iter().map(|e| e.occurred_at).collect();
    let received: Vec<DateTime<Utc>> = events.iter().map(|e| e.received_at).collect();
    let trusted: Vec<bool> = events.iter().map(|e| e.trust.is_trusted()).collect();
    let historical: Vec<bool> = events.iter().map(|e| e.historical).collect();
    sqlx::query!(
        "INSERT INTO user_events (id, contact_id, source, name, properties, depth, occurred_at,
                                  received_at, trusted, historical)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::jsonb[],
                              $6::smallint[], $7::timestamptz[], $8::timestamptz[], $9::boolean[],
                              $10::boolean[])",
        &ids as &[EventId],
        &contacts as &[ContactId],
        &sources,
        &names,
        &properties as &[Json<&Properties>],
        &depths,
        &occurred,
        &received,
        &trusted,
        &historical
    )
    .execute(conn)
    .await?;
    Ok(())
}
