//! Signs of life.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Conn, Result};

/// A worker says it is alive.
pub async fn worker_beat(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO workers (id, started_at, last_seen_at) VALUES ($1, $2, $2)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A worker leaves; long dead ones are cleared away with it.
pub async fn worker_remove(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "DELETE FROM workers WHERE id = $1 OR last_seen_at < $2::timestamptz - interval '1 day'",
        id,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When any worker was last seen.
pub async fn worker_last_seen(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT max(last_seen_at) FROM workers")
        .fetch_one(conn)
        .await
}
