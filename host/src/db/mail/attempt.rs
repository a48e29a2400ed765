//! Delivery attempts: their start, which freezes a mail, and their end.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Prepared;

use crate::db::transact::moved;
use crate::db::{ClaimedSend, Conn, Contact, Result, SendStatus, contact_lock};
use crate::ids::{BatchId, Claim, ContactId, SendId, StateId};

/// A mail whose attempt is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    pub send: &'a ClaimedSend,
    pub prepared: &'a Prepared,
    pub number: i32,
    /// The sender, where it changed since the mail was stored.
    pub from: Option<&'a str>,
}

/// Freezes the prepared requests of mails the caller holds and records that an attempt begins: from
/// here on the provider may have them. Members of a batch become due through the batch alone, a
/// single mail at the end of the lease.
pub async fn attempts_begin(
    conn: &mut Conn,
    provider: &str,
    batch: Option<BatchId>,
    mails: &[Beginning<'_>],
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<SendId> = mails.iter().map(|mail| mail.send.id).collect();
    let numbers: Vec<i32> = mails.iter().map(|mail| mail.number).collect();
    let kinds: Vec<String> = mails
        .iter()
        .map(|mail| mail.prepared.content_type.clone())
        .collect();
    let bodies: Vec<Vec<u8>> = mails
        .iter()
        .map(|mail| mail.prepared.body.as_slice().to_vec())
        .collect();
    let senders: Vec<Option<String>> = mails
        .iter()
        .map(|mail| mail.from.map(str::to_owned))
        .collect();
    sqlx::query!(
        "UPDATE email_sends s SET status = 'sending', provider = $5, prepared_type = m.kind,
             prepared = m.body, attempts = m.number,
             first_attempt_at = coalesce(s.first_attempt_at, $7), in_doubt = true, updated_at = $7,
             batch_id = $6, batch_pos = CASE WHEN $6::uuid IS NOT NULL THEN m.pos END,
             claim = CASE WHEN $6::uuid IS NULL THEN s.claim END,
             next_attempt_at = CASE WHEN $6::uuid IS NULL THEN $8::timestamptz END,
             from_email = coalesce(m.sender, s.from_email),
             mail = CASE WHEN m.sender IS NULL THEN s.mail
                         ELSE jsonb_set(s.mail, '{from}', to_jsonb(m.sender)) END
         FROM unnest($1::uuid[], $2::int[], $3::text[], $4::bytea[], $9::text[])
              WITH ORDINALITY AS m (id, number, kind, body, sender, pos)
         WHERE s.id = m.id",
        &ids as &[SendId],
        &numbers,
        &kinds,
        &bodies,
        provider,
        batch as Option<BatchId>,
        now,
        lease_until,
        &senders as &[Option<String>]
    )
    .execute(&mut *conn)
    .await?;
    attempts_insert(conn, provider, batch, &ids, &numbers, now).await
}

/// Records that another attempt begins for the undecided mails of a batch.
pub async fn attempts_repeat(
    conn: &mut Conn,
    provider: &str,
    batch: BatchId,
    mails: &[&ClaimedSend],
    now: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<SendId> = mails.iter().map(|mail| mail.id).collect();
    let numbers: Vec<i32> = mails.iter().map(|mail| mail.attempts + 1).collect();
    sqlx::query!(
        "UPDATE email_sends s SET status = 'sending', attempts = m.number, updated_at = $3
         FROM unnest($1::uuid[], $2::int[]) AS m (id, number) WHERE s.id = m.id",
        &ids as &[SendId],
        &numbers,
        now
    )
    .execute(&mut *conn)
    .await?;
    attempts_insert(conn, provider, Some(batch), &ids, &numbers, now).await
}

async fn attempts_insert(
    conn: &mut Conn,
    provider: &str,
    batch: Option<BatchId>,
    ids: &[SendId],
    numbers: &[i32],
    now: DateTime<Utc>,
) -> Result<()> {
    // An attempt that paused the provider is not counted, so its number repeats.
    sqlx::query!(
        "INSERT INTO email_attempts (send_id, number, provider, batch_id, started_at)
         SELECT id, number, $3, $4, $5 FROM unnest($1::uuid[], $2::int[]) AS a (id, number)
         ON CONFLICT (send_id, number) DO UPDATE SET provider = excluded.provider,
             batch_id = excluded.batch_id, started_at = excluded.started_at, ended_at = NULL,
             outcome = NULL, reason = NULL",
        ids as &[SendId],
        numbers,
        provider,
        batch as Option<BatchId>,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The state of a mail after an attempt, or after a decision without one. Built only by
/// `mail/fate`.
#[derive(Clone, Debug)]
pub struct SendEnd {
    pub id: SendId,
    /// The caller's claim on the mail; None for a member of a batch it holds.
    pub claim: Option<Claim>,
    /// The attempt and its outcome as stored; None where there was no attempt.
    pub attempt: Option<(i32, &'static str)>,
    /// The new status; `Queued` where another attempt follows.
    pub status: SendStatus,
    pub reason: Option<String>,
    pub message_id: Option<String>,
    pub bounce_type: Option<&'static str>,
    /// When to retry; None where the batch decides or nothing follows. The mail is due at its
    /// expiry at the latest.
    pub retry_at: Option<DateTime<Utc>>,
    /// The provider may still have the mail.
    pub in_doubt: bool,
    /// The attempt used up one of the tries.
    pub counted: bool,
    /// It leaves the batch it was in.
    pub leaves_batch: bool,
    /// From now on it is sent in no batch.
    pub alone: bool,
}

/// A mail that the caller still held, as it is now: its contact may have been merged into another
/// one since the claim.
#[derive(Clone, Copy, Debug)]
pub struct EndedSend {
    pub id: SendId,
    pub contact_id: ContactId,
    pub state_id: Option<StateId>,
    pub step_seq: Option<i32>,
}

/// Writes the states of mails and releases the claims. Returns those that were still held: a mail
/// that a webhook settled meanwhile stays unchanged.
pub async fn sends_end(
    conn: &mut Conn,
    batch: Option<BatchId>,
    ends: &[SendEnd],
    now: DateTime<Utc>,
) -> Result<Vec<EndedSend>> {
    let ids: Vec<SendId> = ends.iter().map(|end| end.id).collect();
    let claims: Vec<Option<Claim>> = ends.iter().map(|end| end.claim).collect();
    let statuses: Vec<String> = ends
        .iter()
        .map(|end| end.status.name().to_owned())
        .collect();
    let reasons: Vec<Option<String>> = ends.iter().map(|end| end.reason.clone()).collect();
    let messages: Vec<Option<String>> = ends.iter().map(|end| end.message_id.clone()).collect();
    let bounces: Vec<Option<String>> = ends
        .iter()
        .map(|end| end.bounce_type.map(str::to_owned))
        .collect();
    let retries: Vec<Option<DateTime<Utc>>> = ends.iter().map(|end| end.retry_at).collect();
    let doubts: Vec<bool> = ends.iter().map(|end| end.in_doubt).collect();
    let counted: Vec<bool> = ends.iter().map(|end| end.counted).collect();
    let leaving: Vec<bool> = ends.iter().map(|end| end.leaves_batch).collect();
    let alone: Vec<bool> = ends.iter().map(|end| end.alone).collect();
    let numbers: Vec<Option<i32>> = ends.iter().map(|end| Some(end.attempt?.0)).collect();
    let outcomes: Vec<Option<String>> = ends
        .iter()
        .map(|end| Some(end.attempt?.1.to_owned()))
        .collect();
    sqlx::query!(
        "UPDATE email_attempts a SET ended_at = $5, outcome = e.outcome, reason = e.reason
         FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS e (id, number, outcome, reason)
         WHERE a.send_id = e.id AND a.number = e.number",
        &ids as &[SendId],
        &numbers as &[Option<i32>],
        &outcomes as &[Option<String>],
        &reasons as &[Option<String>],
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_as!(
        EndedSend,
        r#"UPDATE email_sends s SET status = e.status, reason = e.reason,
             message_id = coalesce(e.message_id, s.message_id),
             next_attempt_at = e.retry_at,
             in_doubt = e.in_doubt, held = NULL,
             attempts = CASE WHEN e.counted THEN s.attempts ELSE greatest(s.attempts - 1, 0) END,
             -- Where the provider surely has nothing, its window starts with the next attempt.
             first_attempt_at =
                 CASE WHEN e.in_doubt OR e.status <> 'queued' THEN s.first_attempt_at END,
             -- A bounce in the answer to the attempt counts among what was sent.
             sent_at = CASE WHEN e.status IN ('sent', 'bounced') THEN $11 ELSE s.sent_at END,
             bounced_at = CASE WHEN e.status = 'bounced' THEN $11 ELSE s.bounced_at END,
             bounce_type = coalesce(e.bounce, s.bounce_type),
             claim = NULL, alone = s.alone OR e.alone,
             batch_id = CASE WHEN e.leaves THEN NULL ELSE s.batch_id END,
             batch_pos = CASE WHEN e.leaves THEN NULL ELSE s.batch_pos END,
             updated_at = $11
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                     $7::bool[], $8::bool[], $9::bool[], $10::bool[], $13::text[])
              AS e (id, claim, status, reason, message_id, retry_at, in_doubt, counted, leaves, alone,
                    bounce)
         WHERE s.id = e.id AND CASE WHEN $12::uuid IS NULL THEN s.claim = e.claim
                                    ELSE s.batch_id = $12 AND s.in_doubt END
         RETURNING s.id AS "id: SendId", s.contact_id AS "contact_id: ContactId",
             s.journey_state_id AS "state_id: StateId", s.step_seq"#,
        &ids as &[SendId],
        &claims as &[Option<Claim>],
        &statuses,
        &reasons as &[Option<String>],
        &messages as &[Option<String>],
        &retries as &[Option<DateTime<Utc>>],
        &doubts,
        &counted,
        &leaving,
        &alone,
        now,
        batch as Option<BatchId>,
        &bounces as &[Option<String>]
    )
    .fetch_all(conn)
    .await
}

/// The contacts these mails belong to now, locked until the transaction ends. They may have been
/// merged into others since the mails were claimed.
///
/// # Errors
/// A transient one where a contact was merged into another while its lock was awaited.
pub async fn sends_owners_lock(conn: &mut Conn, ids: &[SendId]) -> Result<Vec<Contact>> {
    let owners = sends_owners(conn, ids).await?;
    let contacts = contact_lock(conn, &owners).await?;
    if sends_owners(conn, ids).await? != owners {
        return Err(moved());
    }
    Ok(contacts)
}

async fn sends_owners(conn: &mut Conn, ids: &[SendId]) -> Result<Vec<ContactId>> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT contact_id AS "id: ContactId" FROM email_sends WHERE id = ANY($1)
           ORDER BY 1"#,
        ids as &[SendId]
    )
    .fetch_all(conn)
    .await
}

/// Extends the lease of mails whose attempt is under way, where the caller still holds them.
pub async fn sends_renew(
    conn: &mut Conn,
    sends: &[(SendId, Option<Claim>)],
    lease_until: DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<SendId> = sends.iter().map(|send| send.0).collect();
    let claims: Vec<Option<Claim>> = sends.iter().map(|send| send.1).collect();
    sqlx::query!(
        "UPDATE email_sends s SET next_attempt_at = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS h (id, claim)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[SendId],
        &claims as &[Option<Claim>],
        lease_until
    )
    .execute(conn)
    .await?;
    Ok(())
}
