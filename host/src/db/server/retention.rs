//! Retention: deleting data that is old enough.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use crate::db::{Conn, Result};

/// A kind of data with a retention period: which rows of which table, and how to find them.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its name in the log.
    pub what: &'static str,
    pub by: Lifetime,
    table: &'static str,
    /// The columns of its primary key.
    key: &'static [&'static str],
    /// The column that a row's age counts from.
    time: &'static str,
    find: Find,
    /// A further condition on rows to delete.
    condition: &'static str,
    goes: Goes,
}

/// The column by which the oldest rows are found. Tables that grow have an index on it.
#[derive(Clone, Copy, Debug)]
enum Find {
    /// The time column.
    Time,
    /// An id of the row, or of its parent: ids sort by age.
    Id(&'static str),
}

/// What is deleted.
#[derive(Clone, Copy, Debug)]
enum Goes {
    Row,
    /// These columns are set to NULL. The row stays and would be found again, so the next call
    /// continues from its time.
    Columns(&'static [&'static str]),
}

impl Kept {
    /// Whether these are the rows of the table of events, which may have parts.
    pub fn is_events(&self) -> bool {
        self.table == "user_events"
    }

    /// Deletes from at most `$2` rows older than `$1`, oldest first; where rows stay, none older
    /// than `$3`. `$4` is the smallest id created at `$1`. Returns how many there were and, where
    /// rows stay, the time of the last one, from which the next call continues.
    ///
    /// Two workers racing: each skips the rows the other has locked.
    fn sql(&self) -> String {
        let Self {
            table, key, time, ..
        } = self;
        // Data that is not needed has no minimum age.
        let older = match self.by {
            Lifetime::Needed => "<=",
            _ => "<",
        };
        let mut condition = format!("t.{time} {older} $1");
        if !self.condition.is_empty() {
            condition += &format!(" AND {}", self.condition);
        }
        let order = match self.find {
            Find::Time => self.time,
            Find::Id(id) => {
                condition += &format!(" AND t.{id} < $4");
                id
            }
        };
        let each = |of: &dyn Fn(&str) -> String, with: &str, all: &[&str]| {
            let all: Vec<String> = all.iter().map(|column| of(column)).collect();
            all.join(with)
        };
        let keys = each(&|column| format!("t.{column}"), ", ", key);
        let same = each(&|column| format!("t.{column} = old.{column}"), " AND ", key);
        let (gone, last) = match self.goes {
            Goes::Row => (
                format!("DELETE FROM {table} t USING old WHERE {same}"),
                "NULL::timestamptz",
            ),
            Goes::Columns(columns) => {
                condition += &format!(" AND t.{time} >= $3");
                let nulls = each(&|column| format!("{column} = NULL"), ", ", columns);
                let gone = format!("UPDATE {table} t SET {nulls} FROM old WHERE {same}");
                (gone, "max(at)")
            }
        };
        // Gives every parameter a type, used or not.
        format!(
            "WITH old AS (
                SELECT {keys}, t.{time} AS at FROM {table} t WHERE {condition}
                ORDER BY t.{order} LIMIT $2 FOR UPDATE OF t SKIP LOCKED),
             gone AS ({gone})
             SELECT count(*), {last} FROM old
             WHERE $3::timestamptz IS NOT NULL AND $4::uuid IS NOT NULL"
        )
    }
}

/// The setting with the retention period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Deleted as soon as it is not needed.
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
        table: "email_sends",
        key: &["id"],
        time: "created_at",
        find: Find::Time,
        // A retry of a batch sends the frozen bytes, so its members keep them while it is open.
        condition: "t.prepared IS NOT NULL
            AND t.status NOT IN ('queued', 'sending') AND NOT t.in_doubt
            AND NOT EXISTS (SELECT 1 FROM email_batches b
                            WHERE b.id = t.batch_id AND b.outcome IS NULL)",
        goes: Goes::Columns(&["prepared", "prepared_type"]),
    },
    Kept {
        what: "content of mails",
        by: Lifetime::Bodies,
        table: "email_sends",
        key: &["id"],
        time: "created_at",
        find: Find::Time,
        condition: "(t.mail IS NOT NULL OR t.prepared IS NOT NULL)
            AND t.status NOT IN ('queued', 'sending') AND t.next_attempt_at IS NULL",
        goes: Goes::Columns(&["mail", "prepared", "prepared_type"]),
    },
    Kept {
        what: "what happened to mails after they were sent",
        by: Lifetime::Visits,
        table: "email_events",
        key: &["id"],
        time: "recorded_at",
        find: Find::Id("send_id"),
        condition: "t.settle_at IS NULL",
        goes: Goes::Row,
    },
    Kept {
        what: "transitions of runs",
        by: Lifetime::Logs,
        table: "journey_logs",
        key: &["id"],
        time: "created_at",
        find: Find::Id("state_id"),
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "refused enrolments",
        by: Lifetime::Logs,
        table: "enrolment_skips",
        key: &["id"],
        time: "created_at",
        find: Find::Id("id"),
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "alerts",
        by: Lifetime::Logs,
        table: "alert_history",
        key: &["id"],
        time: "created_at",
        find: Find::Time,
        condition: "t.next_attempt_at IS NULL",
        goes: Goes::Row,
    },
    Kept {
        what: "plugin calls that killed workers",
        by: Lifetime::Logs,
        table: "plugin_calls",
        key: &["subject"],
        time: "noted_at",
        find: Find::Time,
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "imports",
        by: Lifetime::Logs,
        table: "import_jobs",
        key: &["id"],
        time: "created_at",
        find: Find::Id("id"),
        condition: "t.next_attempt_at IS NULL",
        goes: Goes::Row,
    },
    Kept {
        what: "webhooks delivered or dismissed",
        by: Lifetime::Deliveries,
        table: "webhook_deliveries",
        key: &["id"],
        time: "updated_at",
        find: Find::Time,
        condition: "t.next_attempt_at IS NULL AND (t.status = 'delivered' OR t.dismissed_at IS NOT NULL)",
        goes: Goes::Row,
    },
    Kept {
        what: "events",
        by: Lifetime::Events,
        table: "user_events",
        key: &["id", "occurred_at"],
        time: "received_at",
        find: Find::Id("id"),
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "keys of events",
        by: Lifetime::Keys,
        table: "event_keys",
        key: &["source", "key"],
        time: "received_at",
        find: Find::Id("event_id"),
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "the audit log",
        by: Lifetime::Audit,
        table: "audit_logs",
        key: &["id"],
        time: "created_at",
        find: Find::Time,
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "captures given up",
        by: Lifetime::Deliveries,
        table: "analytics_given_up",
        key: &["id"],
        time: "created_at",
        find: Find::Time,
        condition: "",
        goes: Goes::Row,
    },
    Kept {
        what: "events of unknown visitors",
        by: Lifetime::Visitors,
        table: "anonymous_events",
        key: &["id"],
        time: "received_at",
        find: Find::Id("id"),
        condition: "",
        goes: Goes::Row,
    },
];

/// Deletes at most `limit` rows older than `before`, from `from` on. Returns how many there were,
/// and where to continue.
pub async fn kept_delete(
    conn: &mut Conn,
    kept: &Kept,
    before: DateTime<Utc>,
    from: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<(i64, Option<DateTime<Utc>>)> {
    let from = from.unwrap_or(DateTime::UNIX_EPOCH);
    let (count, last): (i64, Option<DateTime<Utc>>) = sqlx::query_as(AssertSqlSafe(kept.sql()))
        .bind(before)
        .bind(limit)
        .bind(from)
        .bind(crate::ids::floor(before))
        .fetch_one(conn)
        .await?;
    Ok((count, last))
}
