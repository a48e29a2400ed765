//! Pauses themselves.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids;
use crate::states::{PauseCause, PauseScope};

/// A pause, over or not.
#[derive(Clone, Debug)]
pub struct PauseRow {
    pub scope: PauseScope,
    /// The id of the journey or the category; empty for everything.
    pub name: String,
    pub since: DateTime<Utc>,
    /// None while it lasts.
    pub until: Option<DateTime<Utc>>,
    pub cause: PauseCause,
    pub reason: Option<String>,
    /// The name of who paused.
    pub paused_by: String,
}

/// The pauses that last, and those that ended after `since`; the oldest first.
pub async fn pauses(conn: &mut Conn, since: DateTime<Utc>) -> Result<Vec<PauseRow>> {
    sqlx::query_as!(
        PauseRow,
        r#"SELECT scope AS "scope: PauseScope", name, since, until,
                  cause AS "cause: PauseCause", reason, paused_by FROM pauses
           WHERE until IS NULL OR until > $1 ORDER BY since, id"#,
        since
    )
    .fetch_all(conn)
    .await
}

/// The journeys that are paused by themselves.
pub async fn journeys_paused(conn: &mut Conn) -> Result<HashSet<String>> {
    let names =
        sqlx::query_scalar!("SELECT name FROM pauses WHERE scope = 'journey' AND until IS NULL")
            .fetch_all(conn)
            .await?;
    Ok(names.into_iter().collect())
}

/// Begins a pause. False where one of this scope and name lasts already.
pub async fn pause_begin(conn: &mut Conn, pause: &PauseRow) -> Result<bool> {
    let made = sqlx::query!(
        "INSERT INTO pauses (id, scope, name, since, reason, paused_by, cause)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (scope, name) WHERE until IS NULL DO NOTHING",
        ids::at(pause.since),
        pause.scope.name(),
        pause.name,
        pause.since,
        pause.reason,
        pause.paused_by,
        pause.cause.name()
    )
    .execute(conn)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// Ends the pause of this scope and name. None where there is none, or where the database has to be
/// accepted first.
pub async fn pause_end(
    conn: &mut Conn,
    scope: PauseScope,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Option<PauseRow>> {
    sqlx::query_as!(
        PauseRow,
        r#"UPDATE pauses SET until = greatest($3, since)
           WHERE scope = $1 AND name = $2 AND until IS NULL AND cause <> 'restore'
           RETURNING scope AS "scope: PauseScope", name, since, until,
                     cause AS "cause: PauseCause", reason, paused_by"#,
        scope.name(),
        name,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Begins the pause of a restored or copied database, or makes the present pause of everything one. False
/// where it lasts already.
pub async fn pause_restored(conn: &mut Conn, pause: &PauseRow) -> Result<bool> {
    let made = sqlx::query!(
        "INSERT INTO pauses (id, scope, name, since, cause, reason, paused_by)
         VALUES ($1, 'everything', '', $2, 'restore', $3, $4)
         ON CONFLICT (scope, name) WHERE until IS NULL DO UPDATE
             SET cause = excluded.cause, reason = excluded.reason, paused_by = excluded.paused_by
             WHERE pauses.cause <> 'restore'",
        ids::at(pause.since),
        pause.since,
        pause.reason,
        pause.paused_by
    )
    .execute(conn)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// Ends the pause of a restored or copied database. None where there is none.
pub async fn pause_restored_end(conn: &mut Conn, now: DateTime<Utc>) -> Result<Option<PauseRow>> {
    sqlx::query_as!(
        PauseRow,
        r#"UPDATE pauses SET until = greatest($1, since)
           WHERE scope = 'everything' AND until IS NULL AND cause = 'restore'
           RETURNING scope AS "scope: PauseScope", name, since, until,
                     cause AS "cause: PauseCause", reason, paused_by"#,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Whether the database was restored or copied and nobody has accepted it yet.
pub async fn pause_restored_lasts(conn: &mut Conn) -> Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pauses WHERE scope = 'everything' AND until IS NULL
                          AND cause = 'restore') AS "lasts!""#
    )
    .fetch_one(conn)
    .await
}

/// Until then the spike guard does not hold the journey.
pub async fn guard_quiet(conn: &mut Conn, journey: &str, until: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO journey_guards (journey_id, quiet_until) VALUES ($1, $2)
         ON CONFLICT (journey_id) DO UPDATE SET quiet_until = excluded.quiet_until",
        journey,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether anybody ever entered this journey.
pub async fn journey_has_runs(conn: &mut Conn, journey: &str) -> Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM journey_states WHERE journey_id = $1) AS "known!""#,
        journey
    )
    .fetch_one(conn)
    .await
}

/// Whether there is a mail of this category.
pub async fn category_has_mails(conn: &mut Conn, category: &str) -> Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM email_sends WHERE category = $1) AS "known!""#,
        category
    )
    .fetch_one(conn)
    .await
}
