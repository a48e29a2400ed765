//! What is due and waits for a worker, and for how long.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};

/// Work of one kind that is due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Counted up to [`COUNTED`].
    pub due: i64,
    /// Since when the one that waits longest has been due.
    pub oldest: Option<DateTime<Utc>>,
}

impl Backlog {
    /// How long the one that waits longest has waited.
    pub fn oldest_seconds(&self, now: DateTime<Utc>) -> i64 {
        self.oldest
            .map_or(0, |oldest| (now - oldest).num_seconds().max(0))
    }
}

/// Work of every kind that is due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queues {
    pub runs: Backlog,
    /// Mails that are kept until a provider takes them among them, waiting since they were decided.
    pub mails: Backlog,
    pub captures: Backlog,
    pub webhooks: Backlog,
}

/// Beyond so many the exact number costs more than it tells.
pub const COUNTED: i64 = 100_000;

/// What is due now. Work that a worker holds at the moment does not count.
pub async fn queues(conn: &mut Conn, now: DateTime<Utc>) -> Result<Queues> {
    let runs = sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) AS "due!", min(since) AS oldest FROM (
               SELECT wake_at AS since FROM journey_states WHERE wake_at <= $1
               ORDER BY wake_at LIMIT $2) q"#,
        now,
        COUNTED
    )
    .fetch_one(&mut *conn)
    .await?;
    let mails = sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) AS "due!", min(since) AS oldest FROM (
               (SELECT next_attempt_at AS since FROM email_sends
                WHERE next_attempt_at <= $1 AND held IS NULL ORDER BY next_attempt_at LIMIT $2)
               UNION ALL
               (SELECT created_at FROM email_sends
                WHERE next_attempt_at IS NOT NULL AND held IS NOT NULL
                ORDER BY next_attempt_at LIMIT $2)
               UNION ALL
               (SELECT b.next_attempt_at FROM email_batches b
                JOIN email_sends s ON s.batch_id = b.id
                WHERE b.next_attempt_at <= $1 LIMIT $2)) q"#,
        now,
        COUNTED
    )
    .fetch_one(&mut *conn)
    .await?;
    let captures = sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) AS "due!", min(since) AS oldest FROM (
               SELECT next_attempt_at AS since FROM analytics_outbox WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT $2) q"#,
        now,
        COUNTED
    )
    .fetch_one(&mut *conn)
    .await?;
    let webhooks = sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) AS "due!", min(since) AS oldest FROM (
               SELECT d.since FROM webhook_endpoints e CROSS JOIN LATERAL (
                   SELECT next_attempt_at AS since FROM webhook_deliveries
                   WHERE endpoint_id = e.id AND next_attempt_at <= $1
                   ORDER BY next_attempt_at LIMIT $2) d
               WHERE NOT e.disabled LIMIT $2) q"#,
        now,
        COUNTED
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(Queues {
        runs,
        mails,
        captures,
        webhooks,
    })
}
