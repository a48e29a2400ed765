//! Heartbeats of workers.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};

/// What a worker reports with its heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beat<'a> {
    /// The public address it was started with.
    pub public_url: &'a str,
    pub findings: &'a [String],
    pub engine: Option<EngineReport<'a>>,
}

/// The engine of a worker.
#[derive(Clone, Copy, Debug)]
pub struct EngineReport<'a> {
    pub kind: &'a str,
    /// Known once it has answered.
    pub version: Option<&'a str>,
    pub up: bool,
}

/// Records a worker's heartbeat.
pub async fn worker_beat(
    conn: &mut Conn,
    id: Uuid,
    beat: &Beat<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let engine = beat.engine;
    sqlx::query!(
        "INSERT INTO workers (id, started_at, last_seen_at, findings, public_url, engine,
                              engine_version, engine_status)
         VALUES ($1, $2, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at,
             findings = excluded.findings, engine = excluded.engine,
             engine_version = excluded.engine_version, engine_status = excluded.engine_status",
        id,
        now,
        beat.findings,
        beat.public_url,
        engine.map(|one| one.kind),
        engine.and_then(|one| one.version),
        engine.map(|one| if one.up { "up" } else { "down" })
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a worker that stops, and those that died long ago.
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

/// The workers that share this database.
#[derive(Clone, Copy, Debug)]
pub struct WorkersSeen {
    /// The latest heartbeat of any of them.
    pub last: Option<DateTime<Utc>>,
    /// How many sent a heartbeat since the given time.
    pub count: i64,
}

/// When workers were last seen, and how many of them within `missed`. A heartbeat further than that
/// in the future comes from a clock that was set back since, and is ignored.
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

/// Findings of the workers seen since then, each sentence once.
pub async fn worker_findings(conn: &mut Conn, since: DateTime<Utc>) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT finding AS "finding!" FROM workers CROSS JOIN unnest(findings) AS finding
           WHERE last_seen_at >= $1 ORDER BY 1"#,
        since
    )
    .fetch_all(conn)
    .await
}
