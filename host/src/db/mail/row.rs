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
    sends_insert(conn, &[(send, traces::current())], now).await
}

/// Records decisions, each with the `traceparent` of its trace; the rest is as with [`send_insert`].
pub async fn sends_insert(
    conn: &mut Conn,
    sends: &[(&NewSend, Option<String>)],
    now: DateTime<Utc>,
) -> Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    takes(Level::Runs);
    let traces: Vec<Option<String>> = sends.iter().map(|(_, trace)| trace.clone()).collect();
    let sends: Vec<&NewSend> = sends.iter().map(|(send, _)| *send).collect();
    let new = || sends.iter();
    let is_due = |send: &NewSend| send.mail.is_ok();
    let status = |send: &NewSend| match is_due(send) {
        true => SendStatus::Queued,
        false => SendStatus::Skipped,
    };
    let ids: Vec<SendId> = new().map(|send| send.id).collect();
    let contacts: Vec<ContactId> = new().map(|send| send.contact_id).collect();
    let runs: Vec<Option<StateId>> = new().map(|send| send.origin.map(|from| from.0)).collect();
    let steps: Vec<Option<i32>> = new()
        .map(|send| send.origin.map(|from| from.1 as i32))
        .collect();
    let templates: Vec<String> = new().map(|send| send.template_key.clone()).collect();
    let categories: Vec<String> = new().map(|send| send.category.clone()).collect();
    let transactional: Vec<bool> = new().map(|send| send.transactional).collect();
    let from: Vec<String> = new().map(|send| send.from.clone()).collect();
    let to: Vec<String> = new().map(|send| send.to.clone()).collect();
    let subjects: Vec<String> = new().map(|send| send.subject.clone()).collect();
    let mails: Vec<Option<Json<&Mail>>> = new()
        .map(|send| send.mail.as_ref().ok().map(Json))
        .collect();
    let keys: Vec<String> = new().map(|send| send.idempotency_key.clone()).collect();
    let statuses: Vec<String> = new().map(|send| status(send).name().into()).collect();
    let reasons: Vec<Option<String>> = new()
        .map(|send| send.mail.as_ref().err().map(|reason| (*reason).into()))
        .collect();
    let due: Vec<Option<DateTime<Utc>>> = new().map(|send| is_due(send).then_some(now)).collect();
    let expiries: Vec<DateTime<Utc>> = new().map(|send| send.not_after).collect();
    let expiries_given: Vec<bool> = new().map(|send| send.not_after_given).collect();
    let senders_given: Vec<bool> = new().map(|send| send.sender_given).collect();
    sqlx::query!(
        "INSERT INTO email_sends (id, contact_id, journey_state_id, step_seq, template_key, category,
             transactional, from_email, to_email, subject, mail, idempotency_key, status, reason,
             next_attempt_at, not_after, sender_given, not_after_given, traceparent, created_at,
             updated_at)
         SELECT *, $20, $20 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::text[],
             $7::boolean[], $8::text[], $9::text[], $10::text[], $11::jsonb[], $12::text[], $13::text[],
             $14::text[], $15::timestamptz[], $16::timestamptz[], $17::boolean[], $18::boolean[],
             $19::text[])",
        &ids as &[SendId],
        &contacts as &[ContactId],
        &runs as &[Option<StateId>],
        &steps as &[Option<i32>],
        &templates,
        &categories,
        &transactional,
        &from,
        &to,
        &subjects,
        &mails as &[Option<Json<&Mail>>],
        &keys,
        &statuses,
        &reasons as &[Option<String>],
        &due as &[Option<DateTime<Utc>>],
        &expiries,
        &senders_given,
        &expiries_given,
        &traces as &[Option<String>],
        now
    )
    .execute(&mut *conn)
    .await?;
    if new().any(|send| is_due(send)) {
        stir(Topic::Mails);
    }
    let links: Vec<(SendId, &[TrackedLink])> =
        new().map(|send| (send.id, send.links.as_slice())).collect();
    links_insert(conn, &links).await
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
