//! Events.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::identity::Id;
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

/// An event of a contact that may exist, by external id.
#[derive(Clone, Copy, Debug)]
pub struct KnownEvent<'a> {
    pub id: EventId,
    pub external_id: &'a str,
    pub email: Option<&'a str>,
    /// Further ids, which the contact must have already.
    pub also: &'a [Id],
    /// Scalars only: `@>` on nested objects tests containment, not equality.
    pub contact_properties: &'a Properties,
    pub source: &'a str,
    pub trust: Trust,
    pub historical: bool,
    pub dedupe_key: Option<&'a str>,
    pub name: &'a str,
    pub properties: &'a Properties,
    pub occurred_at: DateTime<Utc>,
}

/// Claims keys and stores events of existing contacts that the events do not change and that no run
/// waits for: one statement, so one round trip and one commit. `with_open_runs` includes contacts
/// that have open runs.
///
/// Returns, in the order of the events, whether each was stored (false: its key was taken), and
/// `None` for events it cannot store this way. Keys are claimed before contacts are locked, as
/// everywhere; the locks keep out a deletion, a change or a run that begins to wait, and the
/// conditions are checked again once they are held.
///
/// # Errors Fails with a division by zero, and stores nothing, where a contact changed between the
/// claim of a key and the contact's lock so that the event no longer qualifies: the key must not
/// stay.
pub async fn event_insert_known(
    conn: &mut Conn,
    events: &[KnownEvent<'_>],
    seen_after: DateTime<Utc>,
    with_open_runs: bool,
    now: DateTime<Utc>,
) -> Result<Vec<Option<bool>>> {
    let ids: Vec<EventId> = events.iter().map(|e| e.id).collect();
    let people: Vec<&str> = events.iter().map(|e| e.external_id).collect();
    let emails: Vec<Option<&str>> = events.iter().map(|e| e.email).collect();
    let also: Vec<Json<Vec<[&str; 2]>>> = events
        .iter()
        .map(|e| Json(e.also.iter().map(|id| [&*id.kind, &*id.value]).collect()))
        .collect();
    let changes: Vec<Json<&Properties>> =
        events.iter().map(|e| Json(e.contact_properties)).collect();
    let sources: Vec<&str> = events.iter().map(|e| e.source).collect();
    let keys: Vec<Option<&str>> = events.iter().map(|e| e.dedupe_key).collect();
    let names: Vec<&str> = events.iter().map(|e| e.name).collect();
    let properties: Vec<Json<&Properties>> = events.iter().map(|e| Json(e.properties)).collect();
    let occurred: Vec<DateTime<Utc>> = events.iter().map(|e| e.occurred_at).collect();
    let trusted: Vec<bool> = events.iter().map(|e| e.trust.is_trusted()).collect();
    let historical: Vec<bool> = events.iter().map(|e| e.historical).collect();
    sqlx::query_scalar!(
        r#"WITH known AS MATERIALIZED (
               SELECT id, external_id, email, email_unconfirmed, properties, first_seen_at
               FROM contacts
               WHERE external_id = ANY($2::text[]) AND last_seen_at > $10 AND NOT listening
                 AND ($11 OR NOT EXISTS (
                     SELECT FROM journey_states s
                     WHERE s.contact_id = contacts.id AND s.status IN ('active', 'waiting')))),
           likely AS MATERIALIZED (
               SELECT i.*, k.id AS contact_id
               FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[],
                           $6::text[], $7::text[], $8::jsonb[], $9::timestamptz[],
                           $13::boolean[], $14::boolean[],
                           $15::jsonb[])
                   WITH ORDINALITY AS i (id, person, email, changes, source, key, name,
                                         properties, occurred_at, trusted, historical, also, place)
               JOIN known k ON k.external_id = i.person
               -- A trusted event that names the address confirms it.
               WHERE (i.email IS NULL
                      OR i.email = k.email AND NOT (i.trusted AND k.email_unconfirmed))
                 AND k.properties @> i.changes
                 -- The past moves the beginning.
                 AND NOT (i.historical AND i.occurred_at < k.first_seen_at)
                 -- An id moves to another contact only where this one goes, which is seen below.
                 AND NOT EXISTS (
                     SELECT FROM jsonb_array_elements(i.also) AS own (id)
                     WHERE NOT EXISTS (
                         SELECT FROM contact_identities c
                         WHERE c.kind = own.id ->> 0 AND c.value = own.id ->> 1
                           AND c.contact_id = k.id))),
           claimed AS (
               INSERT INTO event_keys (source, key, event_id, received_at)
               SELECT source, key, id, $12 FROM likely WHERE key IS NOT NULL ORDER BY source, key
               ON CONFLICT (source, key) DO NOTHING
               RETURNING event_id),
           -- Asking for the count makes the keys come first.
           held AS MATERIALIZED (
               SELECT id, external_id, email, email_unconfirmed, properties FROM contacts
               WHERE id IN (SELECT contact_id FROM likely) AND NOT listening
                 AND (SELECT count(*) FROM claimed) >= 0
               ORDER BY id FOR SHARE),
           fit AS MATERIALIZED (
               SELECT l.* FROM likely l JOIN held k ON k.id = l.contact_id
               WHERE k.external_id = l.person
                 AND (l.email IS NULL
                      OR l.email = k.email AND NOT (l.trusted AND k.email_unconfirmed))
                 AND k.properties @> l.changes),
           stored AS (
               INSERT INTO user_events (id, contact_id, source, name, properties, depth,
                                        occurred_at, received_at, trusted, historical)
               SELECT id, contact_id, source, name, properties, 0, occurred_at, $12, trusted,
                      historical FROM fit
               WHERE key IS NULL OR id IN (SELECT event_id FROM claimed)
               RETURNING id)
           SELECT CASE WHEN f.id IS NOT NULL THEN s.id IS NOT NULL
                       WHEN c.event_id IS NOT NULL THEN 1 / (place - place) = 0 END
           FROM unnest($1::uuid[]) WITH ORDINALITY AS i (id, place)
           LEFT JOIN fit f USING (place) LEFT JOIN stored s ON s.id = i.id
           LEFT JOIN claimed c ON c.event_id = i.id
           ORDER BY place"#,
        &ids as &[EventId],
        &people as &[&str],
        &emails as &[Option<&str>],
        &changes as &[Json<&Properties>],
        &sources as &[&str],
        &keys as &[Option<&str>],
        &names as &[&str],
        &properties as &[Json<&Properties>],
        &occurred,
        seen_after,
        with_open_runs,
        now,
        &trusted,
        &historical,
        &also as &[Json<Vec<[&str; 2]>>]
    )
    .fetch_all(conn)
    .await
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
