//! Pauses a provider asked for, obeyed by every worker.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub until: DateTime<Utc>,
    pub reason: String,
}

/// The pause in force at `now`.
pub async fn provider_pause_active(
    conn: &mut Conn,
    provider: &str,
    now: DateTime<Utc>,
) -> Result<Option<Pause>> {
    sqlx::query_as!(
        Pause,
        "SELECT until, reason FROM provider_pauses WHERE provider = $1 AND until > $2",
        provider,
        now
    )
    .fetch_optional(conn)
    .await
}

/// Pauses a provider; a longer pause already in force stays.
pub async fn provider_pause_set(
    conn: &mut Conn,
    provider: &str,
    until: DateTime<Utc>,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO provider_pauses (provider, until, reason, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (provider) DO UPDATE SET
             reason = CASE WHEN excluded.until > provider_pauses.until THEN excluded.reason
                           ELSE provider_pauses.reason END,
             until = greatest(excluded.until, provider_pauses.until),
             updated_at = excluded.updated_at",
        provider,
        until,
        reason,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
