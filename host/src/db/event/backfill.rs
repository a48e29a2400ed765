//! Reading the past of event sources.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::Claim;

/// A backfill: what is read, and how far it is.
#[derive(Clone, Debug)]
pub struct BackfillRow {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub events: Vec<String>,
    pub cursor: Option<String>,
    pub tally: serde_json::Value,
    pub lease_until: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The source's backfill, finished or not.
pub async fn backfill_get(conn: &mut Conn, source: &str) -> Result<Option<BackfillRow>> {
    sqlx::query_as!(
        BackfillRow,
        "SELECT since, until, events, cursor, tally, lease_until, finished_at
         FROM backfills WHERE source = $1",
        source
    )
    .fetch_optional(conn)
    .await
}

/// Begins a backfill in the place of the source's last one, unless somebody has that. False where somebody
/// has: of two that race, the second waits for the first and then finds its lease.
pub async fn backfill_begin(
    conn: &mut Conn,
    source: &str,
    new: &BackfillRow,
    claim: Claim,
    now: DateTime<Utc>,
) -> Result<bool> {
    let begun = sqlx::query!(
        "INSERT INTO backfills AS b (source, since, until, events, claim, lease_until, started_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT (source) DO UPDATE SET
             since = $2, until = $3, events = $4, cursor = NULL, tally = '{}', claim = $5, lease_until = $6,
             started_at = $7, updated_at = $7, finished_at = NULL
         WHERE b.lease_until IS NULL OR b.lease_until <= $7",
        source,
        new.since,
        new.until,
        &new.events,
        claim as Claim,
        new.lease_until,
        now
    )
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() > 0)
}

/// Takes up an unfinished backfill whose lease has ended. False where somebody else did, or it is finished.
pub async fn backfill_take(
    conn: &mut Conn,
    source: &str,
    claim: Claim,
    lease_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let taken = sqlx::query!(
        "UPDATE backfills SET claim = $2, lease_until = $3, updated_at = $4
         WHERE source = $1 AND finished_at IS NULL AND (lease_until IS NULL OR lease_until <= $4)",
        source,
        claim as Claim,
        lease_until,
        now
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// Extends the holder's lease. False where somebody else took the backfill up; otherwise its row is locked
/// until the transaction ends.
pub async fn backfill_hold(
    conn: &mut Conn,
    source: &str,
    claim: Claim,
    lease_until: DateTime<Utc>,
) -> Result<bool> {
    let held = sqlx::query!(
        "UPDATE backfills SET lease_until = $3 WHERE source = $1 AND claim = $2",
        source,
        claim as Claim,
        lease_until
    )
    .execute(conn)
    .await?;
    Ok(held.rows_affected() > 0)
}

/// How far a backfill is.
pub struct BackfillProgress<'a> {
    pub cursor: Option<&'a str>,
    pub tally: serde_json::Value,
    /// Everything is read.
    pub finished: bool,
}

/// Writes the progress. The caller holds the backfill.
pub async fn backfill_progress(
    conn: &mut Conn,
    source: &str,
    new: &BackfillProgress<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE backfills SET cursor = $2, tally = $3, updated_at = $5::timestamptz,
             finished_at = CASE WHEN $4 THEN $5::timestamptz END,
             claim = CASE WHEN NOT $4 THEN claim END,
             lease_until = CASE WHEN NOT $4 THEN lease_until END
         WHERE source = $1",
        source,
        new.cursor,
        new.tally,
        new.finished,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives it back: anyone may take it up at once.
pub async fn backfill_release(conn: &mut Conn, source: &str, claim: Claim) -> Result<()> {
    sqlx::query!(
        "UPDATE backfills SET claim = NULL, lease_until = NULL WHERE source = $1 AND claim = $2",
        source,
        claim as Claim
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// From when on every event of the source that was received has its key: the oldest key, if the source has
/// older events, whose keys are deleted. None where no key is missing.
pub async fn keys_complete_since(conn: &mut Conn, source: &str) -> Result<Option<DateTime<Utc>>> {
    let oldest = sqlx::query!(
        "SELECT event_id, received_at FROM event_keys WHERE source = $1 ORDER BY event_id LIMIT 1",
        source
    )
    .fetch_optional(&mut *conn)
    .await?;
    // A key has the id of its event, and ids are given in the order of receipt.
    let before = oldest.as_ref().map(|key| key.event_id);
    let gone = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM user_events WHERE source = $1 AND ($2::uuid IS NULL OR id < $2))
           OR EXISTS (
               SELECT FROM anonymous_events WHERE source = $1 AND ($2::uuid IS NULL OR id < $2))
           AS "gone!""#,
        source,
        before
    )
    .fetch_one(&mut *conn)
    .await?;
    match (gone, oldest) {
        (false, _) => Ok(None),
        (true, Some(oldest)) => Ok(Some(oldest.received_at)),
        // Not one key is left of its events.
        (true, None) => event_last_received(conn, source).await,
    }
}

/// When the source's last event was received.
pub async fn event_last_received(conn: &mut Conn, source: &str) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT received_at FROM user_events WHERE source = $1 ORDER BY id DESC LIMIT 1",
        source
    )
    .fetch_optional(conn)
    .await
}
