//! Several mails in one request, frozen together.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Mail;
use sqlx::types::Json;

use super::claim::StoredSend;
use crate::db::calls_died;
use crate::db::{ClaimedSend, Conn, Deaths, Result};
use crate::ids::{BatchId, Claim};

/// A batch a worker holds. Its id is its idempotency key.
#[derive(Clone, Debug)]
pub struct ClaimedBatch {
    pub id: BatchId,
    pub provider: String,
    /// How many mails it had at the start.
    pub size: i32,
    pub attempts: i32,
    pub first_attempt_at: DateTime<Utc>,
    pub claim: Claim,
    /// How often a worker died in a plugin call for it.
    pub deaths: Deaths,
}

pub async fn batch_insert(
    conn: &mut Conn,
    batch: &ClaimedBatch,
    lease_until: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO email_batches (id, provider, size, attempts, first_attempt_at,
             next_attempt_at, claim, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $5, $5)",
        batch.id as BatchId,
        batch.provider,
        batch.size,
        batch.attempts,
        batch.first_attempt_at,
        lease_until,
        batch.claim as Claim
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Claims one undecided batch that is due for a retry.
///
/// Two workers racing: the second skips the row the first has locked, and after the commit the row
/// is no longer due. The death of a worker in a plugin call for it is counted ([`calls_died`]).
pub async fn batch_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<Option<ClaimedBatch>> {
    let found = sqlx::query!(
        r#"WITH due AS (
               SELECT id FROM email_batches WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           UPDATE email_batches b SET claim = $2, next_attempt_at = $3 FROM due WHERE b.id = due.id
           RETURNING b.id AS "id: BatchId", b.provider, b.size, b.attempts, b.first_attempt_at,
               b.claim AS "claim!: Claim""#,
        now,
        Claim::new(now) as Claim,
        lease_until
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let id = row.id.into();
    Ok(Some(ClaimedBatch {
        id: row.id,
        provider: row.provider,
        size: row.size,
        attempts: row.attempts,
        first_attempt_at: row.first_attempt_at,
        claim: row.claim,
        deaths: calls_died(conn, &[id])
            .await?
            .remove(&id)
            .unwrap_or_default(),
    }))
}

/// Releases a batch without an attempt; it is due at once.
pub async fn batch_give_back(
    conn: &mut Conn,
    id: BatchId,
    claim: Claim,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE email_batches SET claim = NULL, next_attempt_at = $3 WHERE id = $1 AND claim = $2",
        id as BatchId,
        claim as Claim,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The mails of a batch in order, including those already decided.
pub async fn batch_members(conn: &mut Conn, batch: BatchId) -> Result<Vec<ClaimedSend>> {
    sqlx::query_as!(
        StoredSend,
        r#"SELECT id, contact_id, journey_state_id, step_seq, template_key, category, transactional,
               mail AS "mail!: Json<Mail>", provider, prepared_type, prepared, idempotency_key,
               attempts, first_attempt_at, in_doubt, alone, created_at, NULL::uuid AS claim,
               not_after, not_after_given, sender_given, traceparent
           FROM email_sends WHERE batch_id = $1 ORDER BY batch_pos"#,
        batch as BatchId
    )
    .map(ClaimedSend::from)
    .fetch_all(conn)
    .await
}

/// Extends the lease of a batch whose request is under way, where the caller still holds it.
pub async fn batch_renew(
    conn: &mut Conn,
    batch: &ClaimedBatch,
    lease_until: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE email_batches SET next_attempt_at = $3 WHERE id = $1 AND claim = $2",
        batch.id as BatchId,
        batch.claim as Claim,
        lease_until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks a batch and counts another attempt. False where the claim was lost.
pub async fn batch_attempt(
    conn: &mut Conn,
    batch: &ClaimedBatch,
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let held = sqlx::query!(
        "UPDATE email_batches SET attempts = attempts + 1, updated_at = $3, next_attempt_at = $4
         WHERE id = $1 AND claim = $2",
        batch.id as BatchId,
        batch.claim as Claim,
        now,
        lease_until
    )
    .execute(conn)
    .await?;
    Ok(held.rows_affected() == 1)
}

/// Releases a batch: with an outcome it is over, otherwise it is due again at `retry_at`. False
/// where the claim was lost.
pub async fn batch_end(
    conn: &mut Conn,
    batch: &ClaimedBatch,
    outcome: Option<&str>,
    retry_at: Option<DateTime<Utc>>,
    counted: bool,
    now: DateTime<Utc>,
) -> Result<bool> {
    let held = sqlx::query!(
        "UPDATE email_batches SET outcome = $3, next_attempt_at = $4, claim = NULL, updated_at = $6,
             attempts = CASE WHEN $5 THEN attempts ELSE greatest(attempts - 1, 0) END
         WHERE id = $1 AND claim = $2",
        batch.id as BatchId,
        batch.claim as Claim,
        outcome,
        retry_at,
        counted,
        now
    )
    .execute(conn)
    .await?;
    Ok(held.rows_affected() == 1)
}
