//! Contacts' ids beyond those in their own rows, and events of unknown visitors.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::identity::Id;
use serde::Serialize;
use sqlx::types::Json;

use super::wanted::id_of;
use crate::db::{Conn, Result};
use crate::ids::{ContactId, EventId};

/// An id to add to a contact.
#[derive(Clone, Debug)]
pub struct NewId {
    pub id: Id,
    pub contact: ContactId,
    pub source: String,
}

/// Adds ids to contacts. The caller holds the locks of the ids' names, so no other contact has
/// them.
pub async fn identities_insert(conn: &mut Conn, new: &[NewId], now: DateTime<Utc>) -> Result<()> {
    let kinds: Vec<&str> = new.iter().map(|one| one.id.kind.as_str()).collect();
    let values: Vec<&str> = new.iter().map(|one| one.id.value.as_str()).collect();
    let contacts: Vec<ContactId> = new.iter().map(|one| one.contact).collect();
    let sources: Vec<&str> = new.iter().map(|one| one.source.as_str()).collect();
    sqlx::query!(
        "INSERT INTO contact_identities (kind, value, contact_id, source, created_at)
         SELECT *, $5 FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[])
         ON CONFLICT DO NOTHING",
        &kinds as &[&str],
        &values as &[&str],
        &contacts as &[ContactId],
        &sources as &[&str],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Every id of these contacts that is not in their own rows, oldest first.
pub async fn identities_of(
    conn: &mut Conn,
    contacts: &[ContactId],
) -> Result<Vec<(ContactId, Id)>> {
    let rows = sqlx::query!(
        r#"SELECT contact_id AS "contact: ContactId", kind, value FROM contact_identities
           WHERE contact_id = ANY($1) ORDER BY created_at, kind, value"#,
        contacts as &[ContactId]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.contact, Id::new(row.kind, row.value)))
        .collect())
}

/// An event of an unknown visitor.
#[derive(Clone, Debug)]
pub struct AnonymousEvent {
    pub id: EventId,
    pub ids: Vec<Id>,
    pub source: String,
    pub trust: Trust,
    pub name: String,
    pub properties: Properties,
    pub contact_properties: Properties,
    pub occurred_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
}

fn name_of(id: &Id) -> String {
    format!("{}:{}", id.kind, id.value)
}

pub async fn anonymous_insert(conn: &mut Conn, events: &[AnonymousEvent]) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: EventId,
        names: Vec<String>,
        source: &'a str,
        trusted: bool,
        name: &'a str,
        properties: &'a Properties,
        contact_properties: &'a Properties,
        occurred_at: DateTime<Utc>,
        received_at: DateTime<Utc>,
    }
    if events.is_empty() {
        return Ok(());
    }
    let rows = events.iter().map(|event| Row {
        id: event.id,
        names: event.ids.iter().map(name_of).collect(),
        source: &event.source,
        trusted: event.trust.is_trusted(),
        name: &event.name,
        properties: &event.properties,
        contact_properties: &event.contact_properties,
        occurred_at: event.occurred_at,
        received_at: event.received_at,
    });
    sqlx::query!(
        "INSERT INTO anonymous_events (id, names, source, trusted, name, properties,
                                       contact_properties, occurred_at, received_at)
         SELECT id, names, source, trusted, name, properties, contact_properties, occurred_at,
                received_at
         FROM jsonb_to_recordset($1) AS new (id uuid, names text[], source text, trusted boolean,
             name text, properties jsonb, contact_properties jsonb, occurred_at timestamptz,
             received_at timestamptz)",
        Json(rows.collect::<Vec<_>>()) as Json<Vec<Row<'_>>>
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the events of visitors that have one of these ids, oldest first, at most `limit`.
///
/// Two transactions that race for one event by different ids of it: one of them gets it.
pub async fn anonymous_take(
    conn: &mut Conn,
    ids: &[Id],
    limit: i64,
) -> Result<Vec<AnonymousEvent>> {
    let names: Vec<String> = ids.iter().map(name_of).collect();
    let mut taken = sqlx::query!(
        r#"WITH due AS (SELECT id FROM anonymous_events WHERE names && $1
                        ORDER BY received_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)
           DELETE FROM anonymous_events e USING due WHERE e.id = due.id
           RETURNING e.id AS "id: EventId", e.names, e.source, e.trusted, e.name,
                     e.properties AS "properties: Json<Properties>",
                     e.contact_properties AS "contact_properties: Json<Properties>",
                     e.occurred_at, e.received_at"#,
        &names,
        limit
    )
    .map(|row| AnonymousEvent {
        id: row.id,
        ids: row.names.iter().filter_map(|name| id_of(name)).collect(),
        source: row.source,
        trust: Trust::from(row.trusted),
        name: row.name,
        properties: row.properties.0,
        contact_properties: row.contact_properties.0,
        occurred_at: row.occurred_at,
        received_at: row.received_at,
    })
    .fetch_all(conn)
    .await?;
    taken.sort_by_key(|event| (event.received_at, event.id));
    Ok(taken)
}
