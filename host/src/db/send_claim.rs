//! Mails in the hands of a worker.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Mail, Prepared};
use sqlx::types::Json;

use super::transact::takes;
use super::{Conn, Level, Result};
use crate::ids::{Claim, ContactId, SendId, StateId};

/// A mail a worker holds, by itself or as a member of a batch it holds.
#[derive(Clone, Debug)]
pub struct ClaimedSend {
    pub id: SendId,
    pub contact_id: ContactId,
    pub state_id: Option<StateId>,
    pub step_seq: Option<i32>,
    pub template_key: String,
    pub category: String,
    pub transactional: bool,
    pub mail: Mail,
    pub provider: Option<String>,
    pub prepared: Option<Prepared>,
    pub idempotency_key: String,
    pub attempts: i32,
    pub first_attempt_at: Option<DateTime<Utc>>,
    pub in_doubt: bool,
    /// It travels in no batch.
    pub alone: bool,
    pub created_at: DateTime<Utc>,
    /// None for a member of a batch, which the batch's own claim holds.
    pub claim: Option<Claim>,
}

/// As it is stored.
pub(super) struct StoredSend {
    pub id: uuid::Uuid,
    pub contact_id: uuid::Uuid,
    pub journey_state_id: Option<uuid::Uuid>,
    pub step_seq: Option<i32>,
    pub template_key: String,
    pub category: String,
    pub transactional: bool,
    pub mail: Json<Mail>,
    pub provider: Option<String>,
    pub prepared_type: Option<String>,
    pub prepared: Option<Vec<u8>>,
    pub idempotency_key: String,
    pub attempts: i32,
    pub first_attempt_at: Option<DateTime<Utc>>,
    pub in_doubt: bool,
    pub alone: bool,
    pub created_at: DateTime<Utc>,
    pub claim: Option<uuid::Uuid>,
}

impl From<StoredSend> for ClaimedSend {
    fn from(row: StoredSend) -> Self {
        Self {
            id: row.id.into(),
            contact_id: row.contact_id.into(),
            state_id: row.journey_state_id.map(StateId),
            step_seq: row.step_seq,
            template_key: row.template_key,
            category: row.category,
            transactional: row.transactional,
            mail: row.mail.0,
            provider: row.provider,
            prepared: prepared(row.prepared_type, row.prepared),
            idempotency_key: row.idempotency_key,
            attempts: row.attempts,
            first_attempt_at: row.first_attempt_at,
            in_doubt: row.in_doubt,
            alone: row.alone,
            created_at: row.created_at,
            claim: row.claim.map(Claim),
        }
    }
}

pub(super) fn prepared(content_type: Option<String>, body: Option<Vec<u8>>) -> Option<Prepared> {
    let (content_type, body) = content_type.zip(body)?;
    Some(Prepared {
        content_type,
        body: body.into(),
    })
}

/// Claims due mails until `lease_until`, at most `limit`, the longest due first.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due. A worker that dies leaves its mails due again at the end of the lease.
pub async fn send_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ClaimedSend>> {
    let mut sends: Vec<ClaimedSend> = sqlx::query_as!(
        StoredSend,
        r#"WITH due AS (
               SELECT id FROM email_sends WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED)
           UPDATE email_sends s SET claim = $2, next_attempt_at = $3 FROM due WHERE s.id = due.id
           RETURNING s.id, s.contact_id, s.journey_state_id, s.step_seq, s.template_key, s.category,
               s.transactional, s.mail AS "mail!: Json<Mail>", s.provider, s.prepared_type,
               s.prepared, s.idempotency_key, s.attempts, s.first_attempt_at, s.in_doubt, s.alone,
               s.created_at, s.claim"#,
        now,
        Claim::new(now) as Claim,
        lease_until,
        limit
    )
    .map(ClaimedSend::from)
    .fetch_all(conn)
    .await?;
    sends.sort_unstable_by_key(|send| send.id);
    Ok(sends)
}

/// Which of these mails the caller still holds; those stay locked until the transaction ends.
pub async fn sends_hold(conn: &mut Conn, sends: &[&ClaimedSend]) -> Result<HashSet<SendId>> {
    takes(Level::Runs);
    let ids: Vec<SendId> = sends.iter().map(|send| send.id).collect();
    let claims: Vec<Option<Claim>> = sends.iter().map(|send| send.claim).collect();
    let held = sqlx::query_scalar!(
        r#"SELECT s.id AS "id: SendId" FROM email_sends s
           JOIN unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
             ON s.id = h.id AND s.claim = h.claim
           ORDER BY s.id FOR UPDATE OF s"#,
        &ids as &[SendId],
        &claims as &[Option<Claim>]
    )
    .fetch_all(conn)
    .await?;
    Ok(held.into_iter().collect())
}

/// Gives mails back untried: they are due again at `until`.
pub async fn sends_postpone(
    conn: &mut Conn,
    sends: &[&ClaimedSend],
    until: DateTime<Utc>,
    reason: &str,
) -> Result<()> {
    let ids: Vec<SendId> = sends.iter().map(|send| send.id).collect();
    let claims: Vec<Option<Claim>> = sends.iter().map(|send| send.claim).collect();
    sqlx::query!(
        "UPDATE email_sends s SET claim = NULL, next_attempt_at = $3, reason = $4
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[SendId],
        &claims as &[Option<Claim>],
        until,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives mails back untried; they are due at once.
pub async fn sends_give_back(
    conn: &mut Conn,
    claims: &[(SendId, Claim)],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<SendId> = claims.iter().map(|one| one.0).collect();
    let claims: Vec<Claim> = claims.iter().map(|one| one.1).collect();
    sqlx::query!(
        "UPDATE email_sends s SET claim = NULL, next_attempt_at = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[SendId],
        &claims as &[Claim],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next mail or batch is due.
pub async fn send_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT least(
             (SELECT min(next_attempt_at) FROM email_sends WHERE next_attempt_at IS NOT NULL),
             (SELECT min(next_attempt_at) FROM email_batches WHERE next_attempt_at IS NOT NULL))"
    )
    .fetch_one(conn)
    .await
}
