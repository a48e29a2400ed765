//! The engines that workers run, and what waits for them.

use chrono::{DateTime, TimeDelta, Utc};

use super::Backlog;
use super::queue::{COUNTED, runs_due};
use crate::db::{Conn, Result};

/// The live workers with one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSeen {
    /// None for workers of versions that do not report it.
    pub kind: Option<String>,
    pub workers: i64,
    /// The newest, as text.
    pub version: Option<String>,
    /// Whether it works for at least one of them.
    pub up: bool,
}

/// The engines of the workers seen within `missed`, those with most workers first. As with
/// [`workers_seen`](super::workers_seen), later heartbeats are ignored.
pub async fn engines_seen(
    conn: &mut Conn,
    now: DateTime<Utc>,
    missed: TimeDelta,
) -> Result<Vec<EngineSeen>> {
    sqlx::query_as!(
        EngineSeen,
        r#"SELECT engine AS kind, count(*) AS "workers!", max(engine_version) AS version,
                  bool_or(engine_status IS DISTINCT FROM 'down') AS "up!"
           FROM workers WHERE last_seen_at BETWEEN $1 AND $2
           GROUP BY engine ORDER BY count(*) DESC, engine"#,
        now - missed,
        now + missed
    )
    .fetch_all(conn)
    .await
}

/// Records that a worker with an engine outside the database is alive.
pub async fn engine_note(conn: &mut Conn, kind: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO engines (kind, seen_at) VALUES ($1, $2)
         ON CONFLICT (kind) DO UPDATE SET seen_at = excluded.seen_at",
        kind,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets engines outside the database that no worker has used since `before`, and the wake-ups kept for
/// them once there is none. `own`, the engine of the caller, is in use. Returns how many engines there were.
pub async fn engines_forget(conn: &mut Conn, own: &str, before: DateTime<Utc>) -> Result<u64> {
    let gone = sqlx::query!(
        "DELETE FROM engines WHERE seen_at < $1 AND kind <> $2",
        before,
        own
    );
    let gone = gone.execute(&mut *conn).await?.rows_affected();
    if gone > 0 {
        sqlx::query!("DELETE FROM run_wakes WHERE NOT EXISTS (SELECT FROM engines)")
            .execute(conn)
            .await?;
    }
    Ok(gone)
}

/// The engines outside the database that are in use.
pub async fn engines_noted(conn: &mut Conn) -> Result<Vec<String>> {
    sqlx::query_scalar!("SELECT kind FROM engines ORDER BY kind")
        .fetch_all(conn)
        .await
}

/// Runs as an engine has them to wake.
#[derive(Clone, Copy, Debug)]
pub struct RunsToWake {
    /// Due now.
    pub due: Backlog,
    /// Open and not due.
    pub waiting: i64,
    /// Wake-ups kept for an engine outside the database, which does not have them yet.
    pub unrelayed: Backlog,
}

pub async fn runs_to_wake(conn: &mut Conn, now: DateTime<Utc>) -> Result<RunsToWake> {
    let due = runs_due(conn, now).await?;
    let waiting = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM journey_states
           WHERE status IN ('active', 'waiting') AND (wake_at IS NULL OR wake_at > $1)"#,
        now
    )
    .fetch_one(&mut *conn)
    .await?;
    let unrelayed = sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) AS "due!", min(since) AS oldest FROM (
               SELECT created_at AS since FROM run_wakes ORDER BY id LIMIT $1) q"#,
        COUNTED
    )
    .fetch_one(conn)
    .await?;
    Ok(RunsToWake {
        due,
        waiting,
        unrelayed,
    })
}
