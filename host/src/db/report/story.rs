//! Recent activity, for the console and the development pages.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};

/// Totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoryCounts {
    pub events: i64,
    pub runs: i64,
    pub mails: i64,
}

/// An item of the activity list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Key of the item: the row's id, with its state where a row appears several times.
    pub key: String,
    pub at: DateTime<Utc>,
    /// `event`, `run`, `step` or `mail`.
    pub kind: String,
    /// The event, the journey, or the subject.
    pub what: String,
    /// The source, the run's or step's state, or the mail's status.
    pub detail: String,
    pub person: String,
    /// The subject of a mail.
    pub send: Option<Uuid>,
    /// When a step's wait ends.
    pub until: Option<DateTime<Utc>>,
}

pub async fn story_counts(conn: &mut Conn) -> Result<StoryCounts> {
    sqlx::query_as!(
        StoryCounts,
        r#"SELECT (SELECT count(*) FROM user_events) AS "events!",
                  (SELECT count(*) FROM journey_states) AS "runs!",
                  (SELECT count(*) FROM email_sends) AS "mails!""#
    )
    .fetch_one(conn)
    .await
}

/// Activity from `since` on of rows with ids from `first` on, oldest first, at most `limit` of each
/// kind. A row that changes appears again.
pub async fn story_since(
    conn: &mut Conn,
    first: Uuid,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Happening>> {
    sqlx::query_as!(
        Happening,
        r#"WITH people AS (
               SELECT id, coalesce(external_id, email, anonymous_id, id::text) AS name FROM contacts),
           events AS (
               SELECT e.id::text AS key, e.received_at AS at, 'event' AS kind, e.name AS what,
                      e.source AS detail, e.contact_id, NULL::uuid AS send, NULL::timestamptz AS until
               FROM user_events e WHERE e.id >= $3 AND e.received_at >= $1 ORDER BY e.received_at LIMIT $2),
           runs AS (
               SELECT s.id::text || s.status, greatest(s.created_at, s.updated_at), 'run',
                      s.journey_id, s.status, s.contact_id, NULL::uuid, s.wake_at
               FROM journey_states s
               WHERE s.id >= $3 AND s.updated_at >= $1 AND s.status <> 'waiting'
                 AND (s.status <> 'active' OR s.created_at >= $1)
               ORDER BY s.updated_at LIMIT $2),
           steps AS (
               SELECT t.state_id::text || ':' || t.seq || t.state, coalesce(t.done_at, t.issued_at),
                      'step', s.journey_id,
                      t.kind || coalesce(' ' || t.label, ' ' || (t.args->>'template'), '') || ' ' || t.state,
                      s.contact_id, NULL::uuid, CASE WHEN t.state = 'open' THEN t.due_at END
               FROM journey_steps t JOIN journey_states s ON s.id = t.state_id
               WHERE s.id >= $3 AND coalesce(t.done_at, t.issued_at) >= $1 AND t.state <> 'noted'
               ORDER BY 2 LIMIT $2),
           mails AS (
               SELECT m.id::text || m.status, m.updated_at, 'mail', m.subject,
                      m.status || coalesce(' (' || m.reason || ')', ''), m.contact_id, m.id,
                      NULL::timestamptz
               FROM email_sends m WHERE m.id >= $3 AND m.updated_at >= $1 ORDER BY m.updated_at LIMIT $2),
           happened AS (SELECT * FROM events UNION ALL SELECT * FROM runs
                        UNION ALL SELECT * FROM steps UNION ALL SELECT * FROM mails)
           SELECT h.key AS "key!", h.at AS "at!", h.kind AS "kind!", h.what AS "what!",
                  h.detail AS "detail!", coalesce(p.name, '') AS "person!", h.send, h.until
           FROM happened h LEFT JOIN people p ON p.id = h.contact_id
           ORDER BY h.at, h.key"#,
        since,
        limit,
        first
    )
    .fetch_all(conn)
    .await
}
