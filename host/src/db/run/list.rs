//! Journeys and their runs as administrators see them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::{ContactId, StateId};
use crate::states::RunState;

/// How many runs of a status a journey has.
#[derive(Clone, Debug)]
pub struct RunCount {
    pub journey_id: String,
    pub status: RunState,
    pub count: i64,
}

/// How many enrolments a journey refused for a reason.
#[derive(Clone, Debug)]
pub struct SkipCount {
    pub journey_id: String,
    pub reason: String,
    pub count: i64,
}

/// Runs by journey and status; of one journey where it is named.
pub async fn journey_counts(conn: &mut Conn, journey: Option<&str>) -> Result<Vec<RunCount>> {
    sqlx::query_as!(
        RunCount,
        r#"SELECT journey_id, status AS "status: RunState", count(*) AS "count!" FROM journey_states
           WHERE $1::text IS NULL OR journey_id = $1 GROUP BY journey_id, status"#,
        journey
    )
    .fetch_all(conn)
    .await
}

/// Refused enrolments by journey and reason; of one journey where it is named.
pub async fn journey_skips(conn: &mut Conn, journey: Option<&str>) -> Result<Vec<SkipCount>> {
    sqlx::query_as!(
        SkipCount,
        r#"SELECT journey_id, reason, count(*) AS "count!" FROM enrolment_skips
           WHERE $1::text IS NULL OR journey_id = $1 GROUP BY journey_id, reason"#,
        journey
    )
    .fetch_all(conn)
    .await
}

/// Enables or disables a journey. Open runs continue.
pub async fn journey_set_enabled(
    conn: &mut Conn,
    journey: &str,
    enabled: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO journey_settings (journey_id, enabled, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (journey_id) DO UPDATE SET
             enabled = excluded.enabled, updated_at = excluded.updated_at",
        journey,
        enabled,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A run with the names of its contact.
#[derive(Clone, Debug)]
pub struct StateStory {
    pub id: StateId,
    pub journey_id: String,
    pub contact_id: ContactId,
    pub user_id: Option<String>,
    pub user_email: Option<String>,
    pub status: RunState,
    pub current_node_id: String,
    pub context: Value,
    pub wake_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub stuck_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub exited_at: Option<DateTime<Utc>>,
}

/// Filters of a list of runs; None does not filter.
#[derive(Clone, Debug, Default)]
pub struct StateFilter<'a> {
    pub journey: Option<&'a str>,
    pub status: Option<RunState>,
    /// The product's id of the person.
    pub user: Option<&'a str>,
    /// Only runs after this one in the list.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// Runs, newest first.
pub async fn state_stories(
    conn: &mut Conn,
    filter: &StateFilter<'_>,
    limit: i64,
    offset: i64,
) -> Result<Vec<StateStory>> {
    sqlx::query_as!(
        StateStory,
        r#"SELECT s.id AS "id: StateId", s.journey_id, s.contact_id AS "contact_id: ContactId",
                  c.external_id AS user_id, c.email AS user_email,
                  s.status AS "status: RunState", s.current_node_id, s.context,
                  s.wake_at, s.error_message, s.stuck_reason, s.created_at, s.completed_at, s.exited_at
           FROM journey_states s JOIN contacts c ON c.id = s.contact_id
           WHERE ($1::text IS NULL OR s.journey_id = $1)
             AND ($2::text IS NULL OR s.status = $2)
             AND ($3::text IS NULL OR c.id = (SELECT id FROM contacts WHERE external_id = $3
                          UNION SELECT contact_id FROM contact_identities
                                WHERE kind = 'user' AND value = $3 LIMIT 1))
             AND ($4::timestamptz IS NULL OR (s.created_at, s.id) < ($4, $5::uuid))
           ORDER BY s.created_at DESC, s.id DESC LIMIT $6 OFFSET $7"#,
        filter.journey,
        filter.status.map(RunState::name),
        filter.user,
        filter.after.map(|(at, _)| at),
        filter.after.map(|(_, id)| id),
        limit,
        offset
    )
    .fetch_all(conn)
    .await
}

/// A run of this journey.
pub async fn state_story(
    conn: &mut Conn,
    journey: &str,
    id: StateId,
) -> Result<Option<StateStory>> {
    sqlx::query_as!(
        StateStory,
        r#"SELECT s.id AS "id: StateId", s.journey_id, s.contact_id AS "contact_id: ContactId",
                  c.external_id AS user_id, c.email AS user_email,
                  s.status AS "status: RunState", s.current_node_id, s.context,
                  s.wake_at, s.error_message, s.stuck_reason, s.created_at, s.completed_at, s.exited_at
           FROM journey_states s JOIN contacts c ON c.id = s.contact_id
           WHERE s.id = $1 AND s.journey_id = $2"#,
        id as StateId,
        journey
    )
    .fetch_optional(conn)
    .await
}

/// How many runs match, ignoring `after`.
pub async fn state_count(conn: &mut Conn, filter: &StateFilter<'_>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM journey_states
           WHERE ($1::text IS NULL OR journey_id = $1) AND ($2::text IS NULL OR status = $2)
             AND ($3::text IS NULL
                  OR contact_id = (SELECT id FROM contacts WHERE external_id = $3
                          UNION SELECT contact_id FROM contact_identities
                                WHERE kind = 'user' AND value = $3 LIMIT 1))"#,
        filter.journey,
        filter.status.map(RunState::name),
        filter.user
    )
    .fetch_one(conn)
    .await
}

/// A transition of a run.
#[derive(Clone, Debug)]
pub struct LogRow {
    pub id: Uuid,
    pub from_status: Option<RunState>,
    pub to_status: RunState,
    pub action: String,
    pub detail: Value,
    pub created_at: DateTime<Utc>,
}

/// The newest 1,000 transitions of a run, oldest first.
pub async fn state_logs(conn: &mut Conn, state: StateId) -> Result<Vec<LogRow>> {
    let mut logs = sqlx::query_as!(
        LogRow,
        r#"SELECT id, from_status AS "from_status: RunState", to_status AS "to_status: RunState",
                  action, detail, created_at FROM journey_logs
           WHERE state_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1000"#,
        state as StateId
    )
    .fetch_all(conn)
    .await?;
    logs.reverse();
    Ok(logs)
}

/// Which of these versions (plugin id, version) began runs that did not end.
pub async fn states_versions(
    conn: &mut Conn,
    versions: &[(String, String)],
) -> Result<Vec<(String, String)>> {
    let (ids, numbers): (Vec<String>, Vec<String>) = versions.iter().cloned().unzip();
    sqlx::query!(
        r#"SELECT one.id AS "id!", one.version AS "version!"
           FROM unnest($1::text[], $2::text[]) AS one(id, version)
           WHERE EXISTS (
               SELECT FROM journey_states s
               WHERE s.plugin_id = one.id AND s.plugin_version = one.version
                 AND s.status IN ('active', 'waiting', 'stuck'))"#,
        &ids,
        &numbers
    )
    .map(|row| (row.id, row.version))
    .fetch_all(conn)
    .await
}
