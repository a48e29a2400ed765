//! Backlogs: due work that waits for a worker, and for how long.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};

/// Due work of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Counted up to [`COUNTED`].
    pub due: i64,
    /// Since when the oldest item has been due.
    pub oldest: Option<DateTime<Utc>>,
}

impl Backlog {
    /// How long the oldest item has waited.
    pub fn oldest_seconds(&self, now: DateTime<Utc>) -> i64 {
        self.oldest
            .map_or(0, |oldest| (now - oldest).num_seconds().max(0))
    }
}

/// Due work of every kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queues {
    pub runs: Backlog,
    /// Includes mails kept until a provider accepts them, which wait since their decision.
    pub mails: Backlog,
    pub captures: Backlog,
    pub webhooks: Backlog,
}

/// Beyond this number an exact count is not worth its cost.
pub const COUNTED: i64 = 100_000;

/// How many runs of these journeys are in each state that is not the end of a run that went well, counted up to
/// [`COUNTED`].
pub async fn runs_by_state(
    conn: &mut Conn,
    journeys: &[String],
) -> Result<Vec<(String, String, i64)>> {
    sqlx::query!(
        r#"SELECT j.id AS "journey!", s.name AS "state!", (
               SELECT count(*) FROM (
                   SELECT FROM journey_states
                   WHERE journey_id = j.id AND status = s.name LIMIT $2) q) AS "count!"
           FROM unnest($1::text[]) AS j (id)
           CROSS JOIN (VALUES ('active'), ('waiting'), ('failed'), ('stuck')) AS s (name)"#,
        journeys,
        COUNTED
    )
    .map(|row| (row.journey, row.state, row.count))
    .fetch_all(conn)
    .await
}

/// Runs that are due now, without what workers hold at the moment.
pub(super) async fn runs_due(conn: &mut Conn, now: DateTime<Utc>) -> Result<Backlog> {
    sqlx::query_as!(
        Backlog,
        r#"SELECT count(*) AS "due!", min(since) AS oldest FROM (
               SELECT wake_at AS since FROM journey_states WHERE wake_at <= $1
               ORDER BY wake_at LIMIT $2) q"#,
        now,
        COUNTED
    )
    .fetch_one(conn)
    .await
}

/// Work that is due now, without what workers hold at the moment.
pub async fn queues(conn: &mut Conn, now: DateTime<Utc>) -> Result<Queues> {
    let runs = runs_due(conn, now).await?;
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
