//! The send ledger.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Mail, Prepared};
use sqlx::types::Json;

use super::{Conn, Result};
use crate::ids::{Claim, ContactId, SendId, StateId};

/// A decision to send, about to be recorded.
#[derive(Clone, Debug)]
pub struct NewSend {
    pub id: SendId,
    pub contact_id: ContactId,
    /// The run and the number of its step.
    pub origin: Option<(StateId, u32)>,
    pub template_key: String,
    pub category: String,
    pub transactional: bool,
    pub from: String,
    pub to: String,
    pub subject: String,
    pub idempotency_key: String,
    /// The rendered mail, or why there is none.
    pub mail: std::result::Result<Mail, &'static str>,
}

/// A mail claimed by a worker.
#[derive(Clone, Debug)]
pub struct ClaimedSend {
    pub id: SendId,
    pub contact_id: ContactId,
    pub state_id: Option<StateId>,
    pub step_seq: Option<i32>,
    pub category: String,
    pub transactional: bool,
    pub mail: Mail,
    pub provider: Option<String>,
    pub prepared: Option<Prepared>,
    pub idempotency_key: String,
    pub attempts: i32,
    pub first_attempt_at: Option<DateTime<Utc>>,
    pub in_doubt: bool,
    pub created_at: DateTime<Utc>,
    pub claim: Claim,
}

/// How an attempt leaves the ledger row.
#[derive(Clone, Debug, Default)]
pub struct SendEnd<'a> {
    /// The new status; `queued` where another attempt follows.
    pub status: &'a str,
    pub reason: Option<&'a str>,
    pub message_id: Option<&'a str>,
    /// When to try again.
    pub retry_at: Option<DateTime<Utc>>,
    /// The provider may still have the mail.
    pub in_doubt: bool,
    /// The attempt used up one of the tries.
    pub counted: bool,
}

/// A row of the outbox page.
#[derive(Clone, Debug)]
pub struct SendRow {
    pub id: SendId,
    pub to_email: String,
    pub from_email: String,
    pub subject: String,
    pub template_key: String,
    pub status: String,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub mail: Option<Mail>,
}

/// Records a decision. It is due at once, unless there is no mail to send.
pub async fn send_insert(conn: &mut Conn, send: &NewSend, now: DateTime<Utc>) -> Result<()> {
    let (status, reason, due) = match &send.mail {
        Ok(_) => ("queued", None, Some(now)),
        Err(reason) => ("skipped", Some(*reason), None),
    };
    sqlx::query!(
        "INSERT INTO email_sends (id, contact_id, journey_state_id, step_seq, template_key, category,
             transactional, from_email, to_email, subject, mail, idempotency_key, status, reason,
             next_attempt_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)",
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
        status,
        reason,
        due,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Claims due mails until `lease_until`, at most `limit`.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due. A worker that dies leaves its mails due again at the end of the lease.
pub async fn send_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ClaimedSend>> {
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT id FROM email_sends WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED)
           UPDATE email_sends s SET claim = $2, next_attempt_at = $3 FROM due WHERE s.id = due.id
           RETURNING s.id, s.contact_id, s.journey_state_id, s.step_seq, s.category, s.transactional,
               s.mail AS "mail!: Json<Mail>", s.provider, s.prepared_type, s.prepared,
               s.idempotency_key, s.attempts, s.first_attempt_at, s.in_doubt, s.created_at,
               s.claim AS "claim!""#,
        now,
        Claim::new(now) as Claim,
        lease_until,
        limit
    )
    .fetch_all(conn)
    .await?;
    let sends = rows.into_iter().map(|row| ClaimedSend {
        id: row.id.into(),
        contact_id: row.contact_id.into(),
        state_id: row.journey_state_id.map(StateId),
        step_seq: row.step_seq,
        category: row.category,
        transactional: row.transactional,
        mail: row.mail.0,
        provider: row.provider,
        prepared: row
            .prepared_type
            .zip(row.prepared)
            .map(|(content_type, body)| Prepared {
                content_type,
                body: body.into(),
            }),
        idempotency_key: row.idempotency_key,
        attempts: row.attempts,
        first_attempt_at: row.first_attempt_at,
        in_doubt: row.in_doubt,
        created_at: row.created_at,
        claim: row.claim.into(),
    });
    Ok(sends.collect())
}

/// Freezes the provider's bytes and records that an attempt begins: from here on the provider may
/// have the mail. False where the claim was lost.
pub async fn attempt_begin(
    conn: &mut Conn,
    send: &ClaimedSend,
    provider: &str,
    prepared: &Prepared,
    number: i32,
    now: DateTime<Utc>,
) -> Result<bool> {
    let held = sqlx::query!(
        "UPDATE email_sends SET status = 'sending', provider = $3, prepared_type = $4, prepared = $5,
             attempts = $6, first_attempt_at = coalesce(first_attempt_at, $7), in_doubt = true,
             updated_at = $7
         WHERE id = $1 AND claim = $2",
        send.id as SendId,
        send.claim as Claim,
        provider,
        prepared.content_type,
        prepared.body.as_slice(),
        number,
        now
    )
    .execute(&mut *conn)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    // An attempt that paused the provider is not counted, so its number comes up again.
    sqlx::query!(
        "INSERT INTO email_attempts (send_id, number, provider, started_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (send_id, number) DO UPDATE SET provider = excluded.provider,
             started_at = excluded.started_at, ended_at = NULL, outcome = NULL, reason = NULL",
        send.id as SendId,
        number,
        provider,
        now
    )
    .execute(conn)
    .await?;
    Ok(true)
}

pub async fn attempt_end(
    conn: &mut Conn,
    send: SendId,
    number: i32,
    outcome: &str,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE email_attempts SET ended_at = $5, outcome = $3, reason = $4
         WHERE send_id = $1 AND number = $2",
        send as SendId,
        number,
        outcome,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes how a claimed mail stands and gives the claim back. False where the claim was lost.
pub async fn send_end(
    conn: &mut Conn,
    send: &ClaimedSend,
    end: &SendEnd<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let held = sqlx::query!(
        "UPDATE email_sends SET status = $3, reason = $4, message_id = coalesce($5, message_id),
             next_attempt_at = $6, in_doubt = $7,
             attempts = CASE WHEN $8 THEN attempts ELSE greatest(attempts - 1, 0) END,
             -- Where the provider surely has nothing, its window starts with the next attempt.
             first_attempt_at = CASE WHEN $7 OR $3 <> 'queued' THEN first_attempt_at END,
             sent_at = CASE WHEN $3 = 'sent' THEN $9 ELSE sent_at END,
             claim = NULL, updated_at = $9
         WHERE id = $1 AND claim = $2",
        send.id as SendId,
        send.claim as Claim,
        end.status,
        end.reason,
        end.message_id,
        end.retry_at,
        end.in_doubt,
        end.counted,
        now
    )
    .execute(conn)
    .await?;
    Ok(held.rows_affected() == 1)
}

/// Gives a claim back untried: the mail is due again at `until`.
pub async fn send_postpone(
    conn: &mut Conn,
    send: &ClaimedSend,
    until: DateTime<Utc>,
    reason: &str,
) -> Result<()> {
    sqlx::query!(
        "UPDATE email_sends SET claim = NULL, next_attempt_at = $3, reason = $4
         WHERE id = $1 AND claim = $2",
        send.id as SendId,
        send.claim as Claim,
        until,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next mail is due.
pub async fn send_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT next_attempt_at FROM email_sends WHERE next_attempt_at IS NOT NULL
         ORDER BY next_attempt_at LIMIT 1"
    )
    .fetch_optional(conn)
    .await
    .map(Option::flatten)
}

/// The newest mails, newest first.
pub async fn sends_recent(conn: &mut Conn, limit: i64) -> Result<Vec<SendRow>> {
    sqlx::query!(
        r#"SELECT id, to_email, from_email, subject, template_key, status, reason, created_at,
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

/// One mail with its frozen content and the provider's bytes.
pub async fn send_raw(conn: &mut Conn, id: SendId) -> Result<Option<(SendRow, Option<Prepared>)>> {
    sqlx::query!(
        r#"SELECT id, to_email, from_email, subject, template_key, status, reason, created_at,
                  mail AS "mail: Json<Mail>", prepared_type, prepared
           FROM email_sends WHERE id = $1"#,
        id as SendId
    )
    .map(|row| {
        let prepared = row
            .prepared_type
            .zip(row.prepared)
            .map(|(content_type, body)| Prepared {
                content_type,
                body: body.into(),
            });
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
