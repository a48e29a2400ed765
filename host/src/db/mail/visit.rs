//! Opens and clicks to classify: person or machine?

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::{Conn, Result};
use crate::ids::{ContactId, SendId};

/// An open or a click that can be classified.
#[derive(Clone, Copy, Debug)]
pub struct DueVisit {
    pub id: Uuid,
    pub contact_id: ContactId,
    pub send_id: SendId,
}

/// What is due, longest waiting first. Nothing is locked: the worker that classifies a visit first
/// locks the contact and the mail, then claims the visit.
pub async fn visits_due(conn: &mut Conn, now: DateTime<Utc>, limit: i64) -> Result<Vec<DueVisit>> {
    sqlx::query_as!(
        DueVisit,
        r#"SELECT v.id, s.contact_id AS "contact_id: ContactId", s.id AS "send_id: SendId"
           FROM email_events v JOIN email_sends s ON s.id = v.send_id
           WHERE v.settle_at <= $1 ORDER BY v.settle_at, v.id LIMIT $2"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// When the next visit is due.
pub async fn visit_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"SELECT settle_at AS "at!" FROM email_events WHERE settle_at IS NOT NULL
           ORDER BY settle_at LIMIT 1"#
    )
    .fetch_optional(conn)
    .await
}

/// An open or a click with what is known about it and its mail.
#[derive(Clone, Debug)]
pub struct Visit {
    pub send_id: SendId,
    /// `opened` or `clicked`
    pub kind: String,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    /// None for our own links and images.
    pub provider: Option<String>,
    pub link_id: Option<Uuid>,
    pub url: Option<String>,
    pub user_agent: Option<String>,
    /// The purpose the browser gave for the request.
    pub purpose: Option<String>,
    /// When the mail was sent; where the answer was lost, when it was first attempted.
    pub sent_at: Option<DateTime<Utc>>,
    /// When the recipient's server accepted it, where that was reported and earlier than this.
    pub delivered_at: Option<DateTime<Utc>>,
    /// How many links the mail has.
    pub links: i64,
}

/// Claims a visit that is not classified yet, until the transaction ends. The caller holds the
/// locks of the contact and the mail.
///
/// Two workers racing: the second waits for the contact and then finds the row classified. A row
/// that is locked without these locks is skipped, so nothing deadlocks.
pub async fn visit_claim(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<Option<Visit>> {
    sqlx::query_as!(
        Visit,
        r#"SELECT v.send_id AS "send_id: SendId", v.kind, v.occurred_at, v.recorded_at, v.provider,
                  v.link_id, coalesce(l.url, v.detail->>'url') AS url,
                  v.detail->>'userAgent' AS user_agent, v.detail->>'purpose' AS purpose,
                  CASE WHEN s.sent_at <= v.occurred_at THEN s.sent_at
                       ELSE s.first_attempt_at END AS sent_at,
                  CASE WHEN s.delivered_at <= v.occurred_at THEN s.delivered_at END AS delivered_at,
                  (SELECT count(*) FROM tracked_links t WHERE t.send_id = v.send_id) AS "links!"
           FROM email_events v JOIN email_sends s ON s.id = v.send_id
           LEFT JOIN tracked_links l ON l.id = v.link_id
           WHERE v.id = $1 AND v.settle_at <= $2
           FOR UPDATE OF v SKIP LOCKED"#,
        id,
        now
    )
    .fetch_optional(conn)
    .await
}

/// A click on a link of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    /// The link's id; where a provider reported the click, its URL.
    pub link: String,
    pub at: DateTime<Utc>,
}

/// Clicks on the links of a mail between two moments, by people and machines, in order.
pub async fn clicks_between(
    conn: &mut Conn,
    send: SendId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Click>> {
    sqlx::query_as!(
        Click,
        r#"SELECT coalesce(link_id::text, detail->>'url') AS "link!", occurred_at AS at
           FROM email_events
           WHERE send_id = $1 AND kind = 'clicked' AND occurred_at BETWEEN $2 AND $3
             AND (link_id IS NOT NULL OR detail->>'url' IS NOT NULL)
           ORDER BY occurred_at"#,
        send as SendId,
        from,
        until
    )
    .fetch_all(conn)
    .await
}

/// Records the result: why it was a machine, or that it was a person.
pub async fn visit_settle(conn: &mut Conn, id: Uuid, machine: Option<&str>) -> Result<()> {
    sqlx::query!(
        "UPDATE email_events SET settle_at = NULL, machine = $2 WHERE id = $1",
        id,
        machine
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Postpones it.
pub async fn visit_postpone(conn: &mut Conn, id: Uuid, until: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE email_events SET settle_at = $2 WHERE id = $1 AND settle_at IS NOT NULL",
        id,
        until
    )
    .execute(conn)
    .await?;
    Ok(())
}
