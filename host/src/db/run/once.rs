//! What a journey stores about a contact across enrolments: results of `once` blocks, and passes of
//! its throttle.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::{Conn, Result};
use crate::ids::{self, ContactId};

/// The result of the `once` block with this key.
pub async fn once_get(
    conn: &mut Conn,
    contact: ContactId,
    journey: &str,
    key: &str,
) -> Result<Option<Value>> {
    sqlx::query_scalar!(
        "SELECT value FROM journey_onces WHERE contact_id = $1 AND journey_id = $2 AND key = $3",
        contact as ContactId,
        journey,
        key
    )
    .fetch_optional(conn)
    .await
}

/// Stores results of `once` blocks; existing ones stay.
pub async fn once_insert(
    conn: &mut Conn,
    contact: ContactId,
    journey: &str,
    values: &[(String, Value)],
    now: DateTime<Utc>,
) -> Result<()> {
    let keys: Vec<String> = values.iter().map(|(key, _)| key.clone()).collect();
    let values: Vec<Value> = values.iter().map(|(_, value)| value.clone()).collect();
    sqlx::query!(
        "INSERT INTO journey_onces (contact_id, journey_id, key, value, created_at)
         SELECT $1, $2, key, value, $5 FROM unnest($3::text[], $4::jsonb[]) AS new (key, value)
         ON CONFLICT DO NOTHING",
        contact as ContactId,
        journey,
        &keys,
        &values,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How often the journey's throttle admitted the contact, at `since` or later.
pub async fn passes_since(
    conn: &mut Conn,
    contact: ContactId,
    journey: &str,
    since: DateTime<Utc>,
) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM journey_passes
           WHERE contact_id = $1 AND journey_id = $2 AND passed_at >= $3"#,
        contact as ContactId,
        journey,
        since
    )
    .fetch_one(conn)
    .await
}

pub async fn pass_insert(
    conn: &mut Conn,
    contact: ContactId,
    journey: &str,
    count: u32,
    now: DateTime<Utc>,
) -> Result<()> {
    let rows: Vec<uuid::Uuid> = (0..count).map(|_| ids::at(now)).collect();
    sqlx::query!(
        "INSERT INTO journey_passes (id, contact_id, journey_id, passed_at)
         SELECT id, $2, $3, $4 FROM unnest($1::uuid[]) AS id",
        &rows,
        contact as ContactId,
        journey,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
