//! Events of contacts that exist and that the events do not change, stored by one statement.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::identity::Id;
use sqlx::types::Json;

use crate::db::{Conn, Result};
use crate::ids::EventId;

/// An event of a contact that may exist, by external id.
#[derive(Clone, Copy, Debug)]
pub struct KnownEvent<'a> {
    pub id: EventId,
    /// The request the event came with, of which all events are stored or none: its number among the
    /// requests of the statement.
    pub request: i32,
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

/// The events as arrays, one for each column.
struct Columns<'a> {
    ids: Vec<EventId>,
    requests: Vec<i32>,
    people: Vec<&'a str>,
    emails: Vec<Option<&'a str>>,
    also: Vec<Json<Vec<[&'a str; 2]>>>,
    changes: Vec<Json<&'a Properties>>,
    sources: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    names: Vec<&'a str>,
    properties: Vec<Json<&'a Properties>>,
    occurred: Vec<DateTime<Utc>>,
    trusted: Vec<bool>,
    historical: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn new(events: &[KnownEvent<'a>]) -> Self {
        fn pairs(ids: &[Id]) -> Json<Vec<[&str; 2]>> {
            Json(ids.iter().map(|id| [&*id.kind, &*id.value]).collect())
        }
        Self {
            ids: events.iter().map(|e| e.id).collect(),
            requests: events.iter().map(|e| e.request).collect(),
            people: events.iter().map(|e| e.external_id).collect(),
            emails: events.iter().map(|e| e.email).collect(),
            also: events.iter().map(|e| pairs(e.also)).collect(),
            changes: events.iter().map(|e| Json(e.contact_properties)).collect(),
            sources: events.iter().map(|e| e.source).collect(),
            keys: events.iter().map(|e| e.dedupe_key).collect(),
            names: events.iter().map(|e| e.name).collect(),
            properties: events.iter().map(|e| Json(e.properties)).collect(),
            occurred: events.iter().map(|e| e.occurred_at).collect(),
            trusted: events.iter().map(|e| e.trust.is_trusted()).collect(),
            historical: events.iter().map(|e| e.historical).collect(),
        }
    }
}

/// The statement that finds the contacts of the events, then the events that fit them (`likely`), and
/// ends with `$rest`. `$lock` is what the look-up of the contacts locks.
macro_rules! store_known {
    (lock: $lock:literal, rest: $rest:literal,
     $columns:expr, $seen_after:expr, $with_open_runs:expr, $now:expr) => {
        sqlx::query_scalar!(
            r#"WITH known AS MATERIALIZED (
               SELECT id, external_id, email, email_unconfirmed, properties, first_seen_at
               FROM contacts
               WHERE external_id = ANY($2::text[]) AND last_seen_at > $10 AND NOT listening
                 AND ($11 OR NOT EXISTS (
                     SELECT FROM journey_states s
                     WHERE s.contact_id = contacts.id AND s.status IN ('active', 'waiting')))
               "# + $lock + r#"),
           likely AS MATERIALIZED (
               SELECT i.*, k.id AS contact_id
               FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[],
                           $6::text[], $7::text[], $8::jsonb[], $9::timestamptz[],
                           $13::boolean[], $14::boolean[],
                           $15::jsonb[], $16::integer[])
                   WITH ORDINALITY AS i (id, person, email, changes, source, key, name,
                                         properties, occurred_at, trusted, historical, also,
                                         request, place)
               JOIN known k ON k.external_id = i.person
               -- A trusted event that names the address confirms it.
               WHERE (i.email IS NULL
                      OR i.email = k.email AND NOT (i.trusted AND k.email_unconfirmed))
                 AND k.properties @> i.changes
                 -- The past moves the beginning.
                 AND NOT (i.historical AND i.occurred_at < k.first_seen_at)
                 -- An id moves to another contact only where this one goes, which its lock shows.
                 AND NOT EXISTS (
                     SELECT FROM jsonb_array_elements(i.also) AS own (id)
                     WHERE NOT EXISTS (
                         SELECT FROM contact_identities c
                         WHERE c.kind = own.id ->> 0 AND c.value = own.id ->> 1
                           AND c.contact_id = k.id))),
           "# + $rest,
            &$columns.ids as &[EventId],
            &$columns.people as &[&str],
            &$columns.emails as &[Option<&str>],
            &$columns.changes as &[Json<&Properties>],
            &$columns.sources as &[&str],
            &$columns.keys as &[Option<&str>],
            &$columns.names as &[&str],
            &$columns.properties as &[Json<&Properties>],
            &$columns.occurred,
            $seen_after,
            $with_open_runs,
            $now,
            &$columns.trusted,
            &$columns.historical,
            &$columns.also as &[Json<Vec<[&str; 2]>>],
            &$columns.requests
        )
    };
}

/// Stores events without keys, of existing contacts that the events do not change and that no run waits
/// for: one statement, so one round trip and one commit. `with_open_runs` includes contacts that have
/// open runs.
///
/// Returns, in the order of the events, true for each that was stored, and `None` for the events of a
/// request that it cannot store whole. The locks of the contacts keep out a deletion, a change or a
/// run that begins to wait.
pub async fn event_insert_known(
    conn: &mut Conn,
    events: &[KnownEvent<'_>],
    seen_after: DateTime<Utc>,
    with_open_runs: bool,
    now: DateTime<Utc>,
) -> Result<Vec<Option<bool>>> {
    let columns = Columns::new(events);
    store_known!(
        lock: "ORDER BY id FOR SHARE",
        rest: r#"fit AS MATERIALIZED (
               SELECT * FROM likely
               WHERE request NOT IN (
                   SELECT i.request
                   FROM unnest($16::integer[]) WITH ORDINALITY AS i (request, place)
                   LEFT JOIN likely l USING (place) WHERE l.id IS NULL)),
           stored AS (
               INSERT INTO user_events (id, contact_id, source, name, properties, depth,
                                        occurred_at, received_at, trusted, historical)
               SELECT id, contact_id, source, name, properties, 0, occurred_at, $12, trusted,
                      historical FROM fit)
           SELECT CASE WHEN f.id IS NOT NULL THEN true END
           FROM unnest($1::uuid[]) WITH ORDINALITY AS i (id, place)
           LEFT JOIN fit f USING (place)
           ORDER BY place"#,
        columns, seen_after, with_open_runs, now
    )
    .fetch_all(conn)
    .await
}

/// As [`event_insert_known`], for requests of one event that may have a key. Claims the keys before it
/// locks the contacts, as every transaction does, and checks the contacts again once it holds them.
/// Its result also has false, for an event whose key was taken.
///
/// # Errors Fails with a division by zero, and stores nothing, where a contact changed between the
/// claim of a key and the contact's lock so that the event no longer qualifies: the key must not
/// stay.
pub async fn event_insert_known_once(
    conn: &mut Conn,
    events: &[KnownEvent<'_>],
    seen_after: DateTime<Utc>,
    with_open_runs: bool,
    now: DateTime<Utc>,
) -> Result<Vec<Option<bool>>> {
    let columns = Columns::new(events);
    store_known!(
        lock: "",
        rest: r#"claimed AS (
               INSERT INTO event_keys (source, key, event_id, received_at)
               SELECT source, key, id, $12 FROM likely WHERE key IS NOT NULL ORDER BY source, key
               ON CONFLICT (source, key) DO NOTHING
               RETURNING event_id),
           fit AS MATERIALIZED (
               SELECT l.* FROM likely l JOIN contacts k ON k.id = l.contact_id
               WHERE NOT k.listening AND k.external_id = l.person
                 AND (l.email IS NULL
                      OR l.email = k.email AND NOT (l.trusted AND k.email_unconfirmed))
                 AND k.properties @> l.changes
                 -- Asking for the count makes the keys come first.
                 AND (SELECT count(*) FROM claimed) >= 0
               ORDER BY k.id FOR SHARE OF k),
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
        columns, seen_after, with_open_runs, now
    )
    .fetch_all(conn)
    .await
}
