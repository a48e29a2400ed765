//! Cancelling mails that wait to be sent.

use chrono::{DateTime, Utc};

use super::EndedSend;
use crate::db::transact::takes;
use crate::db::{Conn, Level, Result};
use crate::ids::{ContactId, SendId, StateId};

/// Which of the mails that wait are meant; those of every filter that is given.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    pub journey: Option<String>,
    pub template: Option<String>,
    pub category: Option<String>,
    /// Decided at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Decided before this time.
    pub until: Option<DateTime<Utc>>,
}

/// How many mails wait that no attempt was made at, or whose attempts all failed for certain.
pub async fn sends_waiting_count(conn: &mut Conn, waiting: &Waiting) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM email_sends s
           WHERE (s.next_attempt_at IS NOT NULL OR s.paused IS NOT NULL)
             AND s.status = 'queued' AND NOT s.in_doubt
             AND ($1::text IS NULL OR EXISTS (SELECT FROM journey_states j
                  WHERE j.id = s.journey_state_id AND j.journey_id = $1))
             AND ($2::text IS NULL OR s.template_key = $2)
             AND ($3::text IS NULL OR s.category = $3)
             AND ($4::timestamptz IS NULL OR s.created_at >= $4)
             AND ($5::timestamptz IS NULL OR s.created_at < $5)"#,
        waiting.journey,
        waiting.template,
        waiting.category,
        waiting.since,
        waiting.until
    )
    .fetch_one(conn)
    .await
}

/// At most `limit` of them.
pub async fn sends_waiting(conn: &mut Conn, waiting: &Waiting, limit: i64) -> Result<Vec<SendId>> {
    sqlx::query_scalar!(
        r#"SELECT s.id AS "id: SendId" FROM email_sends s
           WHERE (s.next_attempt_at IS NOT NULL OR s.paused IS NOT NULL)
             AND s.status = 'queued' AND NOT s.in_doubt
             AND ($1::text IS NULL OR EXISTS (SELECT FROM journey_states j
                  WHERE j.id = s.journey_state_id AND j.journey_id = $1))
             AND ($2::text IS NULL OR s.template_key = $2)
             AND ($3::text IS NULL OR s.category = $3)
             AND ($4::timestamptz IS NULL OR s.created_at >= $4)
             AND ($5::timestamptz IS NULL OR s.created_at < $5)
           LIMIT $6"#,
        waiting.journey,
        waiting.template,
        waiting.category,
        waiting.since,
        waiting.until,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Skips these mails, as far as they still wait. A worker that has claimed one loses its claim, so it begins no
/// attempt. The caller has locked the contacts.
pub async fn sends_cancel(
    conn: &mut Conn,
    ids: &[SendId],
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<EndedSend>> {
    takes(Level::Runs);
    sqlx::query_as!(
        EndedSend,
        r#"UPDATE email_sends SET status = 'skipped', reason = $2, next_attempt_at = NULL,
             claim = NULL, held = NULL, paused = NULL, updated_at = $3
           WHERE id = ANY($1) AND status = 'queued' AND NOT in_doubt
           RETURNING id AS "id: SendId", contact_id AS "contact_id: ContactId",
               journey_state_id AS "state_id: StateId", step_seq"#,
        ids as &[SendId],
        reason,
        now
    )
    .fetch_all(conn)
    .await
}
