//! What broke for good and waits for an administrator: runs that failed or are stuck, mails
//! that no worker retries, webhook deliveries and analytics events that were given up.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::SendId;
use crate::states::{DeadLetterKind, DeadLetterState};

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Id of the run, mail, delivery or capture.
    pub id: Uuid,
    pub kind: DeadLetterKind,
    pub status: DeadLetterState,
    /// The journey's id, the template's key, the type or name of the event.
    pub subject: String,
    /// None where it is about no contact.
    pub contact_id: Option<Uuid>,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub failed_at: DateTime<Utc>,
}

/// Dead letters that nobody dismissed, the latest first; of one kind or one thing where that is given.
pub async fn dead_letters(
    conn: &mut Conn,
    kind: Option<DeadLetterKind>,
    id: Option<Uuid>,
    limit: i64,
    offset: i64,
) -> Result<Vec<DeadLetter>> {
    sqlx::query_as!(
        DeadLetter,
        r#"SELECT id AS "id!", kind AS "kind!: DeadLetterKind", status AS "status!: DeadLetterState",
                  subject AS "subject!", contact_id, error, created_at AS "created_at!",
                  failed_at AS "failed_at!"
           FROM (
               SELECT id, 'journey' AS kind, status, journey_id AS subject, contact_id,
                      error_message AS error, created_at, updated_at AS failed_at
               FROM journey_states
               WHERE status IN ('failed', 'stuck') AND dismissed_at IS NULL
                 AND ($1::text IS NULL OR $1 = 'journey') AND ($2::uuid IS NULL OR id = $2)
               UNION ALL
               SELECT id, 'email', status, template_key, contact_id, reason, created_at, updated_at
               FROM email_sends
               WHERE status IN ('failed', 'ambiguous') AND dismissed_at IS NULL
                 AND ($1::text IS NULL OR $1 = 'email') AND ($2::uuid IS NULL OR id = $2)
               UNION ALL
               SELECT id, 'webhook', status, event_type, contact_id, error, created_at, updated_at
               FROM webhook_deliveries
               WHERE status = 'failed' AND dismissed_at IS NULL
                 AND ($1::text IS NULL OR $1 = 'webhook') AND ($2::uuid IS NULL OR id = $2)
               UNION ALL
               SELECT id, 'analytics', 'failed', coalesce(event, 'properties'), contact_id, error,
                      occurred_at, created_at
               FROM analytics_given_up
               WHERE ($1::text IS NULL OR $1 = 'analytics') AND ($2::uuid IS NULL OR id = $2))
               AS dead
           ORDER BY failed_at DESC, id DESC LIMIT $3 OFFSET $4"#,
        kind.map(DeadLetterKind::name),
        id,
        limit,
        offset
    )
    .fetch_all(conn)
    .await
}

pub async fn dead_letter_count(conn: &mut Conn, kind: Option<DeadLetterKind>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM journey_states
                   WHERE status IN ('failed', 'stuck') AND dismissed_at IS NULL
                     AND ($1::text IS NULL OR $1 = 'journey'))
                + (SELECT count(*) FROM email_sends
                   WHERE status IN ('failed', 'ambiguous') AND dismissed_at IS NULL
                     AND ($1::text IS NULL OR $1 = 'email'))
                + (SELECT count(*) FROM webhook_deliveries
                   WHERE status = 'failed' AND dismissed_at IS NULL
                     AND ($1::text IS NULL OR $1 = 'webhook'))
                + (SELECT count(*) FROM analytics_given_up
                   WHERE $1::text IS NULL OR $1 = 'analytics') AS "total!""#,
        kind.map(DeadLetterKind::name)
    )
    .fetch_one(conn)
    .await
}

/// Dismisses a mail from the dead letters. False where it is not one.
///
/// Two administrators racing: the second finds the row changed and gets false.
pub async fn send_dismiss(conn: &mut Conn, send: SendId, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE email_sends SET dismissed_at = $2
         WHERE id = $1 AND status IN ('failed', 'ambiguous') AND dismissed_at IS NULL",
        send as SendId,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
