//! Pauses themselves.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids;
use crate::states::PauseScope;

/// A pause, over or not.
#[derive(Clone, Debug)]
pub struct PauseRow {
    pub scope: PauseScope,
    /// The id of the journey or the category; empty for everything.
    pub name: String,
    pub since: DateTime<Utc>,
    /// None while it lasts.
    pub until: Option<DateTime<Utc>>,
    pub reason: Option<String>,
    /// The name of who paused.
    pub paused_by: String,
}

/// The pauses that last, and those that ended after `since`; the oldest first.
pub async fn pauses(conn: &mut Conn, since: DateTime<Utc>) -> Result<Vec<PauseRow>> {
    sqlx::query_as!(
        PauseRow,
        r#"SELECT scope AS "scope: PauseScope", name, since, until, reason, paused_by FROM pauses
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
        "INSERT INTO pauses (id, scope, name, since, reason, paused_by)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope, name) WHERE until IS NULL DO NOTHING",
        ids::at(pause.since),
        pause.scope.name(),
        pause.name,
        pause.since,
        pause.reason,
        pause.paused_by
    )
    .execute(conn)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// Ends the pause of this scope and name. None where there is none.
pub async fn pause_end(
    conn: &mut Conn,
    scope: PauseScope,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Option<PauseRow>> {
    sqlx::query_as!(
        PauseRow,
        r#"UPDATE pauses SET until = greatest($3, since)
           WHERE scope = $1 AND name = $2 AND until IS NULL
           RETURNING scope AS "scope: PauseScope", name, since, until, reason, paused_by"#,
        scope.name(),
        name,
        now
    )
    .fetch_optional(conn)
    .await
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
