//! The send ledger.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Mail, Prepared};
use sqlx::types::Json;

use super::claim::prepared;
use super::link::{TrackedLink, links_insert};
use crate::db::transact::{stir, takes};
use crate::db::{Conn, Level, Result, SendStatus, Topic};
use crate::ids::{ContactId, SendId, StateId};
use crate::telemetry::traces;

/// A new row of the ledger: a decision to send a mail, or not to.
#[derive(Clone, Debug)]
pub struct NewSend {
    pub id: SendId,
    pub contact_id: ContactId,
    /// The run, and the number of its step.
    pub origin: Option<(StateId, u32)>,
    pub template_key: String,
    pub category: String,
    pub transactional: bool,
    pub from: String,
    pub to: String,
    pub subject: String,
    pub idempotency_key: String,
    /// The rendered mail, or the reason why there is none.
    pub mail: std::result::Result<Mail, &'static str>,
    /// The targets of the links in its HTML.
    pub links: Vec<TrackedLink>,
    /// Expiry: past this moment it is not sent.
    pub not_after: DateTime<Utc>,
    /// The expiry was given with the mail: a pause does not move it.
    pub not_after_given: bool,
    /// The sender was given for this one mail.
    pub sender_given: bool,
}

/// A row of the outbox page.
#[derive(Clone, Debug)]
pub struct SendRow {
    pub id: SendId,
    pub to_email: String,
    pub from_email: String,
    pub subject: String,
    pub template_key: String,
    pub status: SendStatus,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub mail: Option<Mail>,
}

/// Records a decision and the targets of the mail's links. It is due at once, unless there is no
/// mail to send. It belongs to the trace of the span that is entered now.
pub async fn send_insert(conn: &mut Conn, send: &NewSend, now: DateTime<Utc>) -> Result<()> {
    takes(Level::Runs);
    let (status, reason, due) = match &send.mail {
        Ok(_) => (SendStatus::Queued, None, Some(now)),
        Err(reason) => (SendStatus::Skipped, Some(*reason), None),
    };
    sqlx::query!(
        "INSERT INTO email_sends (id, contact_id, journey_state_id, step_seq, template_key, category,
             transactional, from_email, to_email, subject, mail, idempotency_key, status, reason,
             next_attempt_at, created_at, updated_at, not_after, sender_given,
             not_after_given, traceparent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $17, $18,
             $19, $20)",
        send.id as SendId,
        send.contact_id as ContactId,
        send.origin.map(|origin| origin.0) as Option<StateId>,
        send.origin.map(|origin| origin.1 as i32),
        send.template_key,
        send.category,
        send.transactional,
        send.from,
        send.to,
        send.subject,
        send.mail.as_ref().ok().map(Json) as Option<Json<&Mail>>,
        send.idempotency_key,
        status.name(),
        reason,
        due,
        now,
        send.not_after,
        send.sender_given,
        send.not_after_given,
        traces::current()
    )
    .execute(&mut *conn)
    .await?;
    if due.is_some() {
        stir(Topic::Mails);
    }
    links_insert(conn, send.id, &send.links).await
}

/// The latest mails, newest first.
pub async fn sends_recent(conn: &mut Conn, limit: i64) -> Result<Vec<SendRow>> {
    sqlx::query!(
        r#"SELECT id, to_email, from_email, subject, template_key,
                  status AS "status: SendStatus", reason, created_at,
                  NULL::jsonb AS "mail: Json<Mail>"
           FROM email_sends ORDER BY created_at DESC, id DESC LIMIT $1"#,
        limit
    )
    .map(|row| SendRow {
        id: row.id.into(),
        to_email: row.to_email,
        from_email: row.from_email,
        subject: row.subject,
        template_key: row.template_key,
        status: row.status,
        reason: row.reason,
        created_at: row.created_at,
        mail: row.mail.map(|mail| mail.0),
    })
    .fetch_all(conn)
    .await
}

/// One mail with its frozen content and the prepared request.
pub async fn send_raw(conn: &mut Conn, id: SendId) -> Result<Option<(SendRow, Option<Prepared>)>> {
    sqlx::query!(
        r#"SELECT id, to_email, from_email, subject, template_key,
                  status AS "status: SendStatus", reason, created_at,
                  mail AS "mail: Json<Mail>", prepared_type, prepared
           FROM email_sends WHERE id = $1"#,
        id as SendId
    )
    .map(|row| {
        let prepared = prepared(row.prepared_type, row.prepared);
        let send = SendRow {
            id: row.id.into(),
            to_email: row.to_email,
            from_email: row.from_email,
            subject: row.subject,
            template_key: row.template_key,
            status: row.status,
            reason: row.reason,
            created_at: row.created_at,
            mail: row.mail.map(|mail| mail.0),
        };
        (send, prepared)
    })
    .fetch_optional(conn)
    .await
}

/// The mail with this idempotency key, with its status and reason.
pub async fn send_by_key(
    conn: &mut Conn,
    key: &str,
) -> Result<Option<(SendId, SendStatus, Option<String>)>> {
    sqlx::query!(
        r#"SELECT id AS "id: SendId", status AS "status: SendStatus", reason FROM email_sends
           WHERE idempotency_key = $1"#,
        key
    )
    .map(|row| (row.id, row.status, row.reason))
    .fetch_optional(conn)
    .await
}

/// Templates of a run's mails that a provider has, or may have, in the order of their decisions.
pub async fn sends_of_run(
    conn: &mut Conn,
    contact: ContactId,
    run: StateId,
) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT template_key FROM email_sends
         WHERE contact_id = $1 AND journey_state_id = $2
           AND status NOT IN ('queued', 'failed', 'skipped')
         ORDER BY created_at, id",
        contact as ContactId,
        run as StateId
    )
    .fetch_all(conn)
    .await
}
