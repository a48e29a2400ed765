//! Delivery events: what happens to mails after the provider has them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::db::contact_lock;
use crate::db::transact::{moved, takes};
use crate::db::{Conn, Level, Result, SendStatus};
use crate::ids::{ContactId, SendId, StateId};

/// A mail that a delivery event is about.
#[derive(Clone, Debug)]
pub struct KnownSend {
    pub id: SendId,
    pub contact_id: ContactId,
    pub state_id: Option<StateId>,
    pub step_seq: Option<i32>,
    pub template_key: String,
    pub category: String,
    pub status: SendStatus,
    /// The type of the bounce that set the status; None in rows of older versions.
    pub bounce_type: Option<String>,
    /// It is not known yet whether the provider accepted it.
    pub in_doubt: bool,
    pub delivered_at: Option<DateTime<Utc>>,
}

/// The mail and its contact, by our own id or the provider's.
pub async fn send_find(
    conn: &mut Conn,
    id: Option<SendId>,
    provider: &str,
    message_id: Option<&str>,
) -> Result<Option<(SendId, ContactId)>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: SendId", contact_id AS "contact: ContactId" FROM email_sends
           WHERE id = $1 OR ($3::text IS NOT NULL AND message_id = $3 AND provider = $2)
           ORDER BY id = $1 DESC NULLS LAST LIMIT 1"#,
        id as Option<SendId>,
        provider,
        message_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id, row.contact)))
}

/// Like [`send_find`], with the contact locked until the transaction ends.
///
/// # Errors A transient one where the contact was merged into another while this waited for its
/// lock: locking that one now would violate the lock order.
pub async fn send_find_locked(
    conn: &mut Conn,
    id: Option<SendId>,
    provider: &str,
    message_id: Option<&str>,
) -> Result<Option<(SendId, ContactId)>> {
    let Some(found) = send_find(conn, id, provider, message_id).await? else {
        return Ok(None);
    };
    contact_lock(conn, &[found.1]).await?;
    let now = send_find(conn, id, provider, message_id).await?;
    match now {
        Some(now) if now != found => Err(moved()),
        now => Ok(now),
    }
}

/// The category of a mail, and the address it goes to.
pub async fn send_target(conn: &mut Conn, id: SendId) -> Result<Option<(String, String)>> {
    let row = sqlx::query!(
        "SELECT category, to_email FROM email_sends WHERE id = $1",
        id as SendId
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.category, row.to_email)))
}

/// The addresses of a contact's latest mails.
pub async fn send_addresses(conn: &mut Conn, contact: ContactId) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT to_email FROM (
               SELECT to_email FROM email_sends WHERE contact_id = $1
               ORDER BY created_at DESC LIMIT 1000) latest"#,
        contact as ContactId
    )
    .fetch_all(conn)
    .await
}

/// The categories of a contact's latest mails.
pub async fn send_categories(conn: &mut Conn, contact: ContactId) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT category FROM (
               SELECT category FROM email_sends WHERE contact_id = $1
               ORDER BY created_at DESC LIMIT 1000) latest"#,
        contact as ContactId
    )
    .fetch_all(conn)
    .await
}

/// The current mail, locked until the transaction ends. The caller holds the contact's lock.
pub async fn send_lock(conn: &mut Conn, id: SendId) -> Result<Option<KnownSend>> {
    takes(Level::Runs);
    sqlx::query_as!(
        KnownSend,
        r#"SELECT id AS "id: SendId", contact_id AS "contact_id: ContactId",
                  journey_state_id AS "state_id: StateId", step_seq, template_key, category,
                  status AS "status: SendStatus", bounce_type, in_doubt, delivered_at
           FROM email_sends WHERE id = $1 FOR UPDATE"#,
        id as SendId
    )
    .fetch_optional(conn)
    .await
}

/// A change to a mail by a delivery event.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The new status.
    pub status: SendStatus,
    /// The type of the bounce.
    pub bounce_type: Option<&'static str>,
    /// The earlier bounce was transient: the mail arrived after all.
    pub forgets_bounce: bool,
    pub reason: Option<&'a str>,
    pub message_id: Option<&'a str>,
    /// The provider has the mail, so no attempt follows.
    pub settled: bool,
    pub sent_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub opened_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub bounced_at: Option<DateTime<Utc>>,
    pub complained_at: Option<DateTime<Utc>>,
}

/// Writes the change. Of two times for the same event the earlier stays.
pub async fn send_progress(
    conn: &mut Conn,
    id: SendId,
    new: Progress<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE email_sends SET status = $2, reason = coalesce($3, reason),
             message_id = coalesce(message_id, $4),
             in_doubt = in_doubt AND NOT $5,
             next_attempt_at = CASE WHEN $5 THEN NULL ELSE next_attempt_at END,
             claim = CASE WHEN $5 THEN NULL ELSE claim END,
             sent_at = coalesce(sent_at, $6),
             delivered_at = least(delivered_at, $7), opened_at = least(opened_at, $8),
             clicked_at = least(clicked_at, $9),
             bounced_at = CASE WHEN $14 THEN NULL ELSE least(bounced_at, $10) END,
             bounce_type = CASE WHEN $14 THEN NULL ELSE coalesce($13, bounce_type) END,
             complained_at = least(complained_at, $11), updated_at = $12
         WHERE id = $1",
        id as SendId,
        new.status.name(),
        new.reason,
        new.message_id,
        new.settled,
        new.sent_at,
        new.delivered_at,
        new.opened_at,
        new.clicked_at,
        new.bounced_at,
        new.complained_at,
        now,
        new.bounce_type,
        new.forgets_bounce
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A delivery event, for the mail's history.
#[derive(Clone, Debug)]
pub struct NewMailEvent {
    pub id: Uuid,
    pub send_id: SendId,
    pub kind: &'static str,
    pub occurred_at: DateTime<Utc>,
    pub provider: Option<String>,
    pub detail: Value,
    /// When it can be classified as person or machine.
    pub settle_at: Option<DateTime<Utc>>,
}

pub async fn mail_event_insert(
    conn: &mut Conn,
    event: &NewMailEvent,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO email_events (id, send_id, kind, occurred_at, recorded_at, provider, detail,
             settle_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        event.id,
        event.send_id as SendId,
        event.kind,
        event.occurred_at,
        now,
        event.provider,
        event.detail,
        event.settle_at
    )
    .execute(conn)
    .await?;
    Ok(())
}
