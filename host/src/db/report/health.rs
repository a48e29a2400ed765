//! Signs of life.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};

/// A worker says it is alive.
pub async fn worker_beat(
    conn: &mut Conn,
    id: Uuid,
    findings: &[String],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO workers (id, started_at, last_seen_at, findings) VALUES ($1, $2, $2, $3)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at,
             findings = excluded.findings",
        id,
        now,
        findings
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

/// The workers of this database.
#[derive(Clone, Copy, Debug)]
pub struct WorkersSeen {
    /// When any of them was last seen.
    pub last: Option<DateTime<Utc>>,
    /// How many were seen since the time asked about.
    pub count: i64,
}

/// When workers were last seen, and how many of them no longer than `missed` ago. A sign of life
/// further ahead than that was given by a clock that was set back since, and says nothing.
pub async fn workers_seen(
    conn: &mut Conn,
    now: DateTime<Utc>,
    missed: TimeDelta,
) -> Result<WorkersSeen> {
    sqlx::query_as!(
        WorkersSeen,
        r#"SELECT max(last_seen_at) FILTER (WHERE last_seen_at <= $2) AS last,
                  count(*) FILTER (WHERE last_seen_at BETWEEN $1 AND $2) AS "count!"
           FROM workers"#,
        now - missed,
        now + missed
    )
    .fetch_one(conn)
    .await
}

/// What is wrong with the workers seen since then, each sentence once.
pub async fn worker_findings(conn: &mut Conn, since: DateTime<Utc>) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT finding AS "finding!" FROM workers CROSS JOIN unnest(findings) AS finding
           WHERE last_seen_at >= $1 ORDER BY 1"#,
        since
    )
    .fetch_all(conn)
    .await
}
