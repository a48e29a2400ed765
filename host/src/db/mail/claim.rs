//! Mails a worker has claimed.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Mail, Prepared};
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::calls_died;
use crate::db::transact::takes;
use crate::db::{Conn, Deaths, Level, Result};
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
    /// It is sent in no batch.
    pub alone: bool,
    pub created_at: DateTime<Utc>,
    /// None for a member of a batch, which the batch's own claim holds.
    pub claim: Option<Claim>,
    /// Expiry: past this moment it is not sent; None in rows of older versions.
    pub not_after: Option<DateTime<Utc>>,
    /// The expiry was given with the mail: a pause does not move it.
    pub not_after_given: bool,
    /// Whether the sender was given for this one mail; None in rows of older versions.
    pub sender_given: Option<bool>,
    /// How often a worker died in a plugin call for this mail.
    pub deaths: Deaths,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// A [`ClaimedSend`] as stored.
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
    pub not_after: Option<DateTime<Utc>>,
    pub not_after_given: Option<bool>,
    pub sender_given: Option<bool>,
    pub traceparent: Option<String>,
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
            not_after: row.not_after,
            not_after_given: row.not_after_given == Some(true),
            sender_given: row.sender_given,
            deaths: Deaths::default(),
            traceparent: row.traceparent,
        }
    }
}

pub(super) fn prepared(content_type: Option<String>, body: Option<Vec<u8>>) -> Option<Prepared> {
    let (content_type, body) = content_type.zip(body)?;
    Some(Prepared::new(&content_type, body))
}

/// Claims at most `limit` due mails until `lease_until`: transactional ones first, then the others
/// unless `urgent` is set; the longest due first.
///
/// Two workers racing: each skips the rows the other has locked, and after the commit the rows are
/// no longer due. Where a worker dies, its mails are due again at the end of the lease; those it
/// was calling a plugin for are counted ([`calls_died`]).
pub async fn send_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
    urgent: bool,
) -> Result<Vec<ClaimedSend>> {
    let mut sends: Vec<ClaimedSend> = sqlx::query_as!(
        StoredSend,
        r#"WITH urgent AS MATERIALIZED (
               SELECT id FROM email_sends
               WHERE transactional AND next_attempt_at IS NOT NULL AND next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED),
           others AS MATERIALIZED (
               SELECT id FROM email_sends
               WHERE NOT $5 AND NOT transactional AND next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT greatest($4 - (SELECT count(*) FROM urgent), 0)
               FOR UPDATE SKIP LOCKED),
           due AS (SELECT id FROM urgent UNION ALL SELECT id FROM others)
           UPDATE email_sends s SET claim = $2, next_attempt_at = $3, held = NULL,
               paused = NULL
           FROM due WHERE s.id = due.id
           RETURNING s.id, s.contact_id, s.journey_state_id, s.step_seq, s.template_key, s.category,
               s.transactional, s.mail AS "mail!: Json<Mail>", s.provider, s.prepared_type,
               s.prepared, s.idempotency_key, s.attempts, s.first_attempt_at, s.in_doubt, s.alone,
               s.created_at, s.claim, s.not_after, s.not_after_given, s.sender_given,
               s.traceparent"#,
        now,
        Claim::new(now) as Claim,
        lease_until,
        limit,
        urgent
    )
    .map(ClaimedSend::from)
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<Uuid> = sends.iter().map(|send| send.id.into()).collect();
    let mut deaths = calls_died(conn, &ids).await?;
    for send in &mut sends {
        send.deaths = deaths.remove(&send.id.into()).unwrap_or_default();
    }
    sends.sort_unstable_by_key(|send| (!send.transactional, send.id));
    Ok(sends)
}

/// Which of these mails the caller still holds; they stay locked until the transaction ends.
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

/// Releases mails without an attempt: they are due again at `until`, or at their expiry.
pub async fn sends_postpone(
    conn: &mut Conn,
    sends: &[&ClaimedSend],
    until: DateTime<Utc>,
    reason: &str,
) -> Result<()> {
    let ids: Vec<SendId> = sends.iter().map(|send| send.id).collect();
    let claims: Vec<Option<Claim>> = sends.iter().map(|send| send.claim).collect();
    sqlx::query!(
        "UPDATE email_sends s SET claim = NULL, next_attempt_at = h.until, reason = $4
         FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS h (id, claim, until)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[SendId],
        &claims as &[Option<Claim>],
        &by_expiry(sends, until),
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// For each mail that moment, or its expiry if that comes first.
fn by_expiry(sends: &[&ClaimedSend], until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let sends = sends.iter();
    sends
        .map(|send| send.not_after.map_or(until, |end| end.min(until)))
        .collect()
}

/// Releases mails without an attempt; they are due at once.
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

/// Keeps mails that no provider accepts for now: they are due again when one is picked as a probe
/// ([`sends_summon`]), when a provider accepts mail again ([`sends_release`]), or at their expiry.
/// So a provider outage of a day costs one update per mail.
pub async fn sends_keep(
    conn: &mut Conn,
    sends: &[&ClaimedSend],
    sender: &str,
    until: DateTime<Utc>,
    reason: &str,
) -> Result<()> {
    let ids: Vec<SendId> = sends.iter().map(|send| send.id).collect();
    let claims: Vec<Option<Claim>> = sends.iter().map(|send| send.claim).collect();
    sqlx::query!(
        "UPDATE email_sends s SET claim = NULL, next_attempt_at = h.until, reason = $4,
             held = $5
         FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS h (id, claim, until)
         WHERE s.id = h.id AND s.claim = h.claim",
        &ids as &[SendId],
        &claims as &[Option<Claim>],
        &by_expiry(sends, until),
        reason,
        sender
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes one kept mail due: of this sender or of any, and transactional, other or any (by its tags, as
/// `Mail::is_transactional` has it). False where none is kept.
pub async fn sends_summon(
    conn: &mut Conn,
    sender: Option<&str>,
    transactional: Option<bool>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let found = sqlx::query!(
        r#"UPDATE email_sends SET next_attempt_at = $2, held = NULL WHERE id = (
             SELECT id FROM email_sends
             WHERE next_attempt_at > $2 AND held IS NOT NULL AND ($1::text IS NULL OR held = $1)
               AND ($3::boolean IS NULL
                    OR $3 = (mail->'tags' @> '[["category", "transactional"]]'::jsonb))
             ORDER BY transactional DESC, next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)"#,
        sender,
        now,
        transactional
    )
    .execute(conn)
    .await?;
    Ok(found.rows_affected() == 1)
}

/// Makes every kept mail due. Returns how many there were.
pub async fn sends_release(conn: &mut Conn, now: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE email_sends SET next_attempt_at = $1, held = NULL
         WHERE next_attempt_at > $1 AND held IS NOT NULL",
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Makes mails due that were scheduled by a clock ahead of this one: leases longer than any worker
/// takes, and mails kept since a moment in the future. Returns how many there were.
pub async fn sends_after_clock_change(
    conn: &mut Conn,
    longest_lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query!(
        "WITH batches AS (
             UPDATE email_batches SET next_attempt_at = $2
             WHERE claim IS NOT NULL AND next_attempt_at > $1)
         UPDATE email_sends SET next_attempt_at = $2
         WHERE next_attempt_at > $2 AND (claim IS NOT NULL AND next_attempt_at > $1
                                         OR created_at > $2 AND attempts = 0 AND claim IS NULL
                                            AND held IS NULL)",
        longest_lease,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// How many mails are due, counted up to `limit`.
pub async fn sends_due(
    conn: &mut Conn,
    urgent: bool,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT FROM email_sends WHERE next_attempt_at <= $1 AND (transactional OR NOT $2)
               LIMIT $3) q"#,
        now,
        urgent,
        limit
    )
    .fetch_one(conn)
    .await
}

/// When the next mail or batch is due, or the next probe of a provider that mails wait for; with
/// `urgent`, only when the next transactional mail is due.
pub async fn send_next_due(conn: &mut Conn, urgent: bool) -> Result<Option<DateTime<Utc>>> {
    if urgent {
        return sqlx::query_scalar!(
            "SELECT min(next_attempt_at) FROM email_sends
             WHERE transactional AND next_attempt_at IS NOT NULL"
        )
        .fetch_one(conn)
        .await;
    }
    sqlx::query_scalar!(
        "SELECT least(
             (SELECT min(next_attempt_at) FROM email_sends WHERE next_attempt_at IS NOT NULL),
             (SELECT min(next_attempt_at) FROM email_batches WHERE next_attempt_at IS NOT NULL),
             (SELECT min(until) FROM provider_holds WHERE kind <> 'limit' AND EXISTS (
                  SELECT FROM email_sends WHERE next_attempt_at IS NOT NULL AND held IS NOT NULL)))"
    )
    .fetch_one(conn)
    .await
}
