//! Entries into a paused journey.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use sqlx::types::Json;
use uuid::Uuid;

use super::super::run::SkipCount;
use crate::db::{Conn, Result};
use crate::ids::{self, ContactId};

/// An event that would have begun a run of a paused journey.
#[derive(Clone, Debug)]
pub struct HeldEntry {
    pub journey_id: String,
    pub contact_id: ContactId,
    pub event: String,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    pub depth: i16,
    pub trust: Trust,
    pub held_at: DateTime<Utc>,
}

pub async fn held_insert(conn: &mut Conn, entries: &[HeldEntry]) -> Result<()> {
    for entry in entries {
        sqlx::query!(
            "INSERT INTO held_entries (id, journey_id, contact_id, event, properties, occurred_at,
                                       depth, trusted, held_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            ids::at(entry.held_at),
            entry.journey_id,
            entry.contact_id as ContactId,
            entry.event,
            Json(&entry.properties) as _,
            entry.occurred_at,
            entry.depth,
            entry.trust.is_trusted(),
            entry.held_at
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The oldest entries held for these journeys, at most `limit`, with their contacts.
pub async fn held_of(
    conn: &mut Conn,
    journeys: &[String],
    limit: i64,
) -> Result<Vec<(Uuid, ContactId)>> {
    let rows = sqlx::query!(
        r#"SELECT id, contact_id AS "contact_id: ContactId" FROM held_entries
           WHERE journey_id = ANY($1) ORDER BY id LIMIT $2"#,
        journeys,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.contact_id))
        .collect())
}

/// Takes these entries, the oldest first, without those that somebody else took. The caller holds the
/// contacts' locks.
pub async fn held_take(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<HeldEntry>> {
    let mut rows = sqlx::query!(
        r#"DELETE FROM held_entries WHERE id = ANY($1)
           RETURNING id, journey_id, contact_id AS "contact_id: ContactId", event,
               properties AS "properties: Json<Properties>", occurred_at, depth, trusted, held_at"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    let entries = rows.into_iter().map(|row| HeldEntry {
        journey_id: row.journey_id,
        contact_id: row.contact_id,
        event: row.event,
        properties: row.properties.0,
        occurred_at: row.occurred_at,
        depth: row.depth,
        trust: row.trusted.into(),
        held_at: row.held_at,
    });
    Ok(entries.collect())
}

/// Entries held, by journey; of one journey where it is named.
pub async fn held_counts(conn: &mut Conn, journey: Option<&str>) -> Result<Vec<SkipCount>> {
    sqlx::query_as!(
        SkipCount,
        r#"SELECT journey_id, 'held' AS "reason!", count(*) AS "count!" FROM held_entries
           WHERE $1::text IS NULL OR journey_id = $1 GROUP BY journey_id"#,
        journey
    )
    .fetch_all(conn)
    .await
}

/// Events of a name of a contact that arrived after a moment.
#[derive(Clone, Debug)]
pub struct NameAfter {
    pub contact: ContactId,
    pub name: String,
    pub after: DateTime<Utc>,
}

/// The properties of events that meet one of these, with its position among them; without historical ones.
pub async fn exits_since(
    conn: &mut Conn,
    wanted: &[NameAfter],
) -> Result<Vec<(usize, Properties)>> {
    let contacts: Vec<ContactId> = wanted.iter().map(|one| one.contact).collect();
    let names: Vec<String> = wanted.iter().map(|one| one.name.clone()).collect();
    let after: Vec<DateTime<Utc>> = wanted.iter().map(|one| one.after).collect();
    let rows = sqlx::query!(
        r#"SELECT w.place AS "place!", e.properties AS "properties: Json<Properties>"
           FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
                    WITH ORDINALITY AS w (contact_id, name, after, place)
           JOIN user_events e ON e.contact_id = w.contact_id AND e.name = w.name
           WHERE e.received_at > w.after AND NOT e.historical"#,
        &contacts as &[ContactId],
        &names,
        &after
    )
    .fetch_all(conn)
    .await?;
    let place = |row: i64| usize::try_from(row - 1).unwrap_or(usize::MAX);
    Ok(rows
        .into_iter()
        .map(|row| (place(row.place), row.properties.0))
        .collect())
}
