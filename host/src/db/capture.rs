//! What analytics products are to be told.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use sqlx::types::Json;
use uuid::Uuid;

use super::transact::stir;
use super::{Conn, Result, Topic};
use crate::ids::ContactId;

/// An event, or where it has no name properties, of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCapture {
    pub id: Uuid,
    pub contact_id: ContactId,
    pub event: Option<String>,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
}

/// One that waits to be told.
#[derive(Clone, Debug)]
pub struct ClaimedCapture {
    pub id: Uuid,
    /// What the product knows the person by; the contact's own id where it has no other.
    pub distinct_id: String,
    pub event: Option<String>,
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    pub attempts: i32,
}

pub async fn capture_insert(
    conn: &mut Conn,
    captures: &[NewCapture],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<Uuid> = captures.iter().map(|c| c.id).collect();
    let contacts: Vec<ContactId> = captures.iter().map(|c| c.contact_id).collect();
    let events: Vec<Option<String>> = captures.iter().map(|c| c.event.clone()).collect();
    let properties: Vec<Json<&Properties>> = captures.iter().map(|c| Json(&c.properties)).collect();
    let occurred: Vec<DateTime<Utc>> = captures.iter().map(|c| c.occurred_at).collect();
    sqlx::query!(
        "INSERT INTO analytics_outbox (id, contact_id, event, properties, occurred_at,
                                       next_attempt_at)
         SELECT c.*, $6 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[],
                                    $5::timestamptz[]) AS c (id, contact_id, event, properties, at)
         -- Whoever is gone is told nothing of.
         JOIN contacts p ON p.id = c.contact_id",
        &ids,
        &contacts as &[ContactId],
        &events as &[Option<String>],
        &properties as &[Json<&Properties>],
        &occurred,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Captures);
    Ok(())
}

/// Claims what is due until `lease_until`, in order.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due.
pub async fn capture_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ClaimedCapture>> {
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT id FROM analytics_outbox WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at, id LIMIT $3 FOR UPDATE SKIP LOCKED),
           claimed AS (
               UPDATE analytics_outbox o SET next_attempt_at = $2, attempts = attempts + 1
               FROM due WHERE o.id = due.id RETURNING o.*)
           SELECT c.id, c.event, c.properties AS "properties: Json<Properties>", c.occurred_at,
                  c.attempts, coalesce(p.external_id, p.id::text) AS "distinct_id!"
           FROM claimed c JOIN contacts p ON p.id = c.contact_id ORDER BY c.id"#,
        now,
        lease_until,
        limit
    )
    .fetch_all(conn)
    .await?;
    let captures = rows.into_iter().map(|row| ClaimedCapture {
        id: row.id,
        distinct_id: row.distinct_id,
        event: row.event,
        properties: row.properties.0,
        occurred_at: row.occurred_at,
        attempts: row.attempts,
    });
    Ok(captures.collect())
}

pub async fn capture_delete(conn: &mut Conn, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("DELETE FROM analytics_outbox WHERE id = ANY($1)", ids)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn capture_retry(conn: &mut Conn, ids: &[Uuid], at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE analytics_outbox SET next_attempt_at = $2 WHERE id = ANY($1)",
        ids,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps what could not be told for an administrator, with the reason.
pub async fn capture_give_up(
    conn: &mut Conn,
    ids: &[Uuid],
    error: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "WITH gone AS (DELETE FROM analytics_outbox WHERE id = ANY($1) RETURNING *)
         INSERT INTO analytics_given_up (id, contact_id, event, properties, occurred_at, error,
                                         created_at)
         SELECT id, contact_id, event, properties, occurred_at, $2, $3 FROM gone
         ON CONFLICT DO NOTHING",
        ids,
        error,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes what was given up due once more. False where it is none such.
pub async fn capture_again(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "WITH gone AS (DELETE FROM analytics_given_up WHERE id = $1 RETURNING *)
         INSERT INTO analytics_outbox (id, contact_id, event, properties, occurred_at,
                                       next_attempt_at)
         SELECT id, contact_id, event, properties, occurred_at, $2 FROM gone",
        id,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Captures);
    Ok(done.rows_affected() == 1)
}

/// Forgets what was given up. False where it is none such.
pub async fn capture_dismiss(conn: &mut Conn, id: Uuid) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM analytics_given_up WHERE id = $1", id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// When the next one is due.
pub async fn capture_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT next_attempt_at FROM analytics_outbox ORDER BY next_attempt_at LIMIT 1"
    )
    .fetch_optional(conn)
    .await
}
