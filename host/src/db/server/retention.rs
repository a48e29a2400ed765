//! Deleting what was kept long enough.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};

/// A kind of data that is kept for a while.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// As the log calls it.
    pub what: &'static str,
    pub by: Lifetime,
    /// Deletes at most `$2` rows older than `$1`, the oldest first, none of them older than `$3`.
    /// `$4` is the least id that was made at `$1`. Returns how many there were and the time of the
    /// last, which is where the next call goes on.
    ///
    /// Two workers racing: each skips the rows the other has locked.
    sql: &'static str,
}

/// The setting that says how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Gone as soon as nothing needs it.
    Needed,
    /// `RETENTION_BODIES_DAYS`
    Bodies,
    /// `RETENTION_VISITS_DAYS`
    Visits,
    /// `RETENTION_LOGS_DAYS`
    Logs,
    /// `RETENTION_DELIVERIES_DAYS`
    Deliveries,
    /// `RETENTION_VISITORS_DAYS`
    Visitors,
    /// `RETENTION_EVENTS_DAYS`
    Events,
    /// `RETENTION_KEYS_DAYS`
    Keys,
    /// `RETENTION_AUDIT_DAYS`
    Audit,
}

/// Everything that is deleted by age.
pub const KEPT: &[Kept] = &[
    Kept {
        what: "requests of mails that are over",
        by: Lifetime::Needed,
        // A batch is repeated as it was frozen, so its members keep their bytes as long as it is open.
        sql: "WITH old AS (
                SELECT s.id, s.created_at AS at FROM email_sends s
                WHERE s.prepared IS NOT NULL AND s.created_at <= $1 AND s.created_at >= $3
                  AND s.status NOT IN ('queued', 'sending') AND NOT s.in_doubt
                  AND NOT EXISTS (SELECT 1 FROM email_batches b
                                  WHERE b.id = s.batch_id AND b.outcome IS NULL)
                ORDER BY s.created_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED),
              gone AS (UPDATE email_sends s SET prepared = NULL, prepared_type = NULL
                       FROM old WHERE s.id = old.id)
              SELECT count(*), max(at) FROM old WHERE $4::uuid IS NOT NULL",
    },
    Kept {
        what: "content of mails",
        by: Lifetime::Bodies,
        sql: "WITH old AS (
                SELECT id, created_at AS at FROM email_sends
                WHERE created_at < $1 AND created_at >= $3
                  AND (mail IS NOT NULL OR prepared IS NOT NULL)
                  AND status NOT IN ('queued', 'sending') AND next_attempt_at IS NULL
                ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (UPDATE email_sends s SET mail = NULL, prepared = NULL, prepared_type = NULL
                       FROM old WHERE s.id = old.id)
              SELECT count(*), max(at) FROM old WHERE $4::uuid IS NOT NULL",
    },
    Kept {
        what: "what happened to mails after they were sent",
        by: Lifetime::Visits,
        sql: "WITH old AS (
                SELECT id, recorded_at AS at FROM email_events
                WHERE send_id < $4 AND recorded_at < $1 AND settle_at IS NULL
                ORDER BY send_id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM email_events v USING old WHERE v.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
    Kept {
        what: "transitions of runs",
        by: Lifetime::Logs,
        sql: "WITH old AS (
                SELECT id FROM journey_logs WHERE state_id < $4 AND created_at < $1
                ORDER BY state_id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM journey_logs l USING old WHERE l.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
    Kept {
        what: "enrolments turned away",
        by: Lifetime::Logs,
        sql: "WITH old AS (
                SELECT id FROM enrolment_skips WHERE id < $4 AND created_at < $1
                ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM enrolment_skips s USING old WHERE s.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
    Kept {
        what: "alerts",
        by: Lifetime::Logs,
        sql: "WITH old AS (
                SELECT id FROM alert_history
                WHERE created_at < $1 AND next_attempt_at IS NULL
                ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM alert_history a USING old WHERE a.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1 AND $4::uuid IS NOT NULL",
    },
    Kept {
        what: "calls of plugins that ended workers, of what is gone",
        by: Lifetime::Logs,
        sql: "WITH old AS (
                SELECT subject FROM plugin_calls WHERE noted_at < $1
                LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM plugin_calls c USING old WHERE c.subject = old.subject)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1 AND $4::uuid IS NOT NULL",
    },
    Kept {
        what: "imports",
        by: Lifetime::Logs,
        sql: "WITH old AS (
                SELECT id FROM import_jobs
                WHERE id < $4 AND created_at < $1 AND next_attempt_at IS NULL
                ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM import_jobs j USING old WHERE j.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
    Kept {
        what: "webhooks delivered or dismissed",
        by: Lifetime::Deliveries,
        sql: "WITH old AS (
                SELECT id FROM webhook_deliveries
                WHERE next_attempt_at IS NULL AND updated_at < $1
                  AND (status = 'delivered' OR dismissed_at IS NOT NULL)
                ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM webhook_deliveries d USING old WHERE d.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1 AND $4::uuid IS NOT NULL",
    },
    Kept {
        what: "events",
        by: Lifetime::Events,
        sql: "WITH old AS (
                SELECT id, occurred_at FROM user_events WHERE id < $4 AND received_at < $1
                ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM user_events e USING old
                       WHERE e.id = old.id AND e.occurred_at = old.occurred_at)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
    Kept {
        what: "keys of events",
        by: Lifetime::Keys,
        sql: "WITH old AS (
                SELECT source, key FROM event_keys WHERE event_id < $4 AND received_at < $1
                ORDER BY event_id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM event_keys k USING old
                       WHERE k.source = old.source AND k.key = old.key)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
    Kept {
        what: "the audit log",
        by: Lifetime::Audit,
        sql: "WITH old AS (
                SELECT id FROM audit_logs WHERE created_at < $1
                ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM audit_logs a USING old WHERE a.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1 AND $4::uuid IS NOT NULL",
    },
    Kept {
        what: "captures given up",
        by: Lifetime::Deliveries,
        sql: "WITH old AS (
                SELECT id FROM analytics_given_up WHERE created_at < $1
                ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM analytics_given_up c USING old WHERE c.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1 AND $4::uuid IS NOT NULL",
    },
    Kept {
        what: "events of visitors nobody knows",
        by: Lifetime::Visitors,
        sql: "WITH old AS (
                SELECT id FROM anonymous_events WHERE id < $4 AND received_at < $1
                ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED),
              gone AS (DELETE FROM anonymous_events e USING old WHERE e.id = old.id)
              SELECT count(*), NULL::timestamptz FROM old WHERE $3 <= $1",
    },
];

/// Deletes at most `limit` rows older than `before`, from `from` on. Returns how many there were, and
/// where to go on.
pub async fn kept_delete(
    conn: &mut Conn,
    kept: &Kept,
    before: DateTime<Utc>,
    from: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<(i64, Option<DateTime<Utc>>)> {
    let from = from.unwrap_or(DateTime::UNIX_EPOCH);
    let (count, last): (i64, Option<DateTime<Utc>>) = sqlx::query_as(kept.sql)
        .bind(before)
        .bind(limit)
        .bind(from)
        .bind(crate::ids::floor(before))
        .fetch_one(conn)
        .await?;
    Ok((count, last))
}
