//! Runs as administrators see and change them.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::User;
use hogsend_plugin_api::{Properties, Trust};

use super::plugin_call::calls_forget;
use crate::db::stored::Stored;
use crate::db::transact::{rouse, stir, takes};
use crate::db::{Conn, Level, Result, Topic};
use crate::ids::{ContactId, StateId};
use crate::states::RunState;

/// A whole run.
#[derive(Clone, Debug)]
pub struct StateRow {
    pub id: StateId,
    pub journey_id: String,
    pub contact_id: ContactId,
    pub plugin_id: String,
    pub plugin_version: String,
    pub status: RunState,
    pub current_node_id: String,
    pub trigger_event: String,
    pub context: Properties,
    pub person: User,
    pub depth: i16,
    pub trust: Trust,
    pub wake_at: Option<DateTime<Utc>>,
    pub error_message: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub async fn state_get(conn: &mut Conn, id: StateId) -> Result<Option<StateRow>> {
    sqlx::query_as!(
        StateRow,
        r#"SELECT id, journey_id, contact_id, plugin_id, plugin_version,
                  status AS "status: RunState", current_node_id, trigger_event,
                  context AS "context: Stored<Properties>",
                  person AS "person: Stored<User>", depth, trusted AS "trust", wake_at, error_message,
                  created_at, updated_at
           FROM journey_states WHERE id = $1"#,
        id as StateId
    )
    .fetch_optional(conn)
    .await
}

/// Runs that failed or are stuck and are not dismissed, newest first.
pub async fn states_broken(conn: &mut Conn, limit: i64) -> Result<Vec<StateRow>> {
    sqlx::query_as!(
        StateRow,
        r#"SELECT id, journey_id, contact_id, plugin_id, plugin_version,
                  status AS "status: RunState", current_node_id, trigger_event,
                  context AS "context: Stored<Properties>",
                  person AS "person: Stored<User>", depth, trusted AS "trust", wake_at, error_message,
                  created_at, updated_at
           FROM journey_states
           WHERE status IN ('failed', 'stuck') AND dismissed_at IS NULL
           ORDER BY updated_at DESC, id DESC LIMIT $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Whether another run of the same journey and contact is open. The caller holds the contact's
/// lock.
pub async fn state_has_rival(conn: &mut Conn, state: &StateRow) -> Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM journey_states WHERE journey_id = $1 AND contact_id = $2 AND id <> $3
                   AND status IN ('active', 'waiting')) AS "rival!""#,
        state.journey_id,
        state.contact_id as ContactId,
        state.id as StateId
    )
    .fetch_one(conn)
    .await
}

/// Reopens the last step that failed, deletes the steps issued after it, and makes the run due. The
/// caller holds the contact's lock.
pub async fn state_reopen(
    conn: &mut Conn,
    state: StateId,
    pinned: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    takes(Level::Runs);
    stir(Topic::Runs);
    rouse([(state, Some(now))]);
    let failed = sqlx::query!(
        "SELECT seq, done_pos FROM journey_steps
         WHERE state_id = $1 AND state = 'done' AND result ? 'Err'
         ORDER BY done_pos DESC LIMIT 1",
        state as StateId
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(failed) = failed {
        sqlx::query!(
            "DELETE FROM journey_steps WHERE state_id = $1 AND after_count >= $2",
            state as StateId,
            failed.done_pos
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "UPDATE journey_steps SET state = 'open', done_pos = NULL, done_at = NULL,
                 result = NULL, due_at = NULL, attempts = 0
             WHERE state_id = $1 AND seq = $2",
            state as StateId,
            failed.seq
        )
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query!(
        "UPDATE journey_states SET status = 'active', wake_at = $2, claim = NULL, pinned = $3,
             revision = revision + 1, error_message = NULL, dismissed_at = NULL, updated_at = $2,
             stuck_reason = NULL, failures = 0,
             completions = (SELECT coalesce(max(done_pos), 0) FROM journey_steps
                            WHERE state_id = $1)
         WHERE id = $1",
        state as StateId,
        now,
        pinned
    )
    .execute(&mut *conn)
    .await?;
    calls_forget(conn, &[state.into()]).await
}

/// Ends a run for good, whatever its status.
pub async fn state_end(conn: &mut Conn, state: StateId, now: DateTime<Utc>) -> Result<()> {
    rouse([(state, None)]);
    sqlx::query!(
        "UPDATE journey_states SET status = 'exited', exited_at = $2, updated_at = $2,
             wake_at = NULL, claim = NULL, revision = revision + 1
         WHERE id = $1",
        state as StateId,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Dismisses a failed or stuck run from the dead letters. False where it is not one.
pub async fn state_dismiss(conn: &mut Conn, state: StateId, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE journey_states SET dismissed_at = $2
         WHERE id = $1 AND status IN ('failed', 'stuck') AND dismissed_at IS NULL",
        state as StateId,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
