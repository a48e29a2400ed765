//! Events.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;

use super::{Conn, Result};
use crate::ids::{ContactId, EventId};

/// An event about to be stored.
#[derive(Clone, Debug)]
pub struct EventRow {
    pub id: EventId,
    pub contact_id: ContactId,
    pub source: String,
    pub name: String,
    pub properties: Properties,
    pub depth: i16,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
}

/// Claims `(source, key, event)` triples and returns the events whose key is new.
///
/// Two transactions racing for one key: the second waits for the first to end, then finds the key
/// taken, or takes it where the first was rolled back. Keys are claimed in order, so they do not
/// wait in a circle.
pub async fn event_key_claim(
    conn: &mut Conn,
    mut keys: Vec<(&str, &str, EventId)>,
    now: DateTime<Utc>,
) -> Result<HashSet<EventId>> {
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

/// An event of a person who exists.
#[derive(Clone, Debug)]
pub struct KnownEvent {
    pub row: EventRow,
    pub dedupe_key: Option<String>,
}

/// What became of an event of a person who exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownOutcome {
    Stored,
    /// Its key was taken.
    Duplicate,
    /// The contact was deleted meanwhile; nothing was stored.
    Gone,
}

/// Claims keys and stores events in one statement, and so in one round trip and one commit. The
/// outcomes are in the order of the events.
///
/// The contacts are kept from being deleted meanwhile, so no event of an erased person appears.
pub async fn event_insert_known(
    conn: &mut Conn,
    events: &[KnownEvent],
    now: DateTime<Utc>,
) -> Result<Vec<KnownOutcome>> {
    let ids: Vec<EventId> = events.iter().map(|e| e.row.id).collect();
    let contacts: Vec<ContactId> = events.iter().map(|e| e.row.contact_id).collect();
    let sources: Vec<String> = events.iter().map(|e| e.row.source.clone()).collect();
    let keys: Vec<Option<String>> = events.iter().map(|e| e.dedupe_key.clone()).collect();
    let names: Vec<String> = events.iter().map(|e| e.row.name.clone()).collect();
    let properties: Vec<Json<&Properties>> =
        events.iter().map(|e| Json(&e.row.properties)).collect();
    let depths: Vec<i16> = events.iter().map(|e| e.row.depth).collect();
    let occurred: Vec<DateTime<Utc>> = events.iter().map(|e| e.row.occurred_at).collect();
    let rows = sqlx::query!(
        r#"WITH input AS (
               SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                                    $6::jsonb[], $7::smallint[], $8::timestamptz[])
                   WITH ORDINALITY
                   AS i (id, contact_id, source, key, name, properties, depth, occurred_at, place)),
           known AS MATERIALIZED (
               SELECT id FROM contacts WHERE id = ANY($2) ORDER BY id FOR KEY SHARE),
           claimed AS (
               INSERT INTO event_keys (source, key, event_id, received_at)
               SELECT source, key, id, $9 FROM input
               WHERE key IS NOT NULL AND contact_id IN (SELECT id FROM known)
               ORDER BY source, key
               ON CONFLICT (source, key) DO NOTHING
               RETURNING event_id),
           stored AS (
               INSERT INTO user_events (id, contact_id, source, name, properties, depth,
                                        occurred_at, received_at)
               SELECT id, contact_id, source, name, properties, depth, occurred_at, $9 FROM input
               WHERE contact_id IN (SELECT id FROM known)
                 AND (key IS NULL OR id IN (SELECT event_id FROM claimed))
               RETURNING id)
           SELECT i.contact_id IN (SELECT id FROM known) AS "known!",
                  i.id IN (SELECT id FROM stored) AS "stored!"
           FROM input i ORDER BY place"#,
        &ids as &[EventId],
        &contacts as &[ContactId],
        &sources,
        &keys as &[Option<String>],
        &names,
        &properties as &[Json<&Properties>],
        &depths,
        &occurred,
        now
    )
    .fetch_all(conn)
    .await?;
    let outcomes = rows.into_iter().map(|row| match (row.known, row.stored) {
        (_, true) => KnownOutcome::Stored,
        (true, false) => KnownOutcome::Duplicate,
        (false, false) => KnownOutcome::Gone,
    });
    Ok(outcomes.collect())
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
    sqlx::query!(
        "INSERT INTO user_events (id, contact_id, source, name, properties, depth, occurred_at,
                                  received_at)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::jsonb[],
                              $6::smallint[], $7::timestamptz[], $8::timestamptz[])",
        &ids as &[EventId],
        &contacts as &[ContactId],
        &sources,
        &names,
        &properties as &[Json<&Properties>],
        &depths,
        &occurred,
        &received
    )
    .execute(conn)
    .await?;
    Ok(())
}
