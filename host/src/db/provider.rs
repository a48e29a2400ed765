//! What every worker knows of a delivery provider: pauses, faults, and when the next request may
//! leave.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::transact::takes;
use super::{Conn, Level, Result};

/// A provider that takes no mail for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub until: DateTime<Utc>,
    pub reason: String,
}

/// How a provider stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderState {
    pub pause: Option<Pause>,
    /// Attempts that failed in a row for the provider's own sake.
    pub faults: i32,
}

/// How these providers stand at `now`.
pub async fn provider_states(
    conn: &mut Conn,
    providers: &[String],
    now: DateTime<Utc>,
) -> Result<HashMap<String, ProviderState>> {
    let rows = sqlx::query!(
        r#"SELECT n.provider AS "provider!", p.until AS "until?", p.reason AS "reason?",
                  coalesce(s.faults, 0) AS "faults!"
           FROM unnest($1::text[]) AS n (provider)
           LEFT JOIN provider_pauses p ON p.provider = n.provider AND p.until > $2
           LEFT JOIN provider_states s ON s.provider = n.provider"#,
        providers,
        now
    )
    .fetch_all(conn)
    .await?;
    let states = rows.into_iter().map(|row| {
        let pause = row
            .until
            .zip(row.reason)
            .map(|(until, reason)| Pause { until, reason });
        let faults = row.faults;
        (row.provider, ProviderState { pause, faults })
    });
    Ok(states.collect())
}

/// Pauses a provider; a longer pause already in force stays.
pub async fn provider_pause(
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

/// Lets one caller try a provider that failed, and keeps the others away until `until`. False
/// where another got in first: of two racing updates the second sees the first one's pause.
pub async fn provider_probe(
    conn: &mut Conn,
    provider: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let won = sqlx::query!(
        "INSERT INTO provider_pauses (provider, until, reason, updated_at)
         VALUES ($1, $2, 'it failed, and one mail tries whether it works again', $3)
         ON CONFLICT (provider) DO UPDATE SET until = excluded.until, reason = excluded.reason,
             updated_at = excluded.updated_at
         WHERE provider_pauses.until <= $3",
        provider,
        until,
        now
    )
    .execute(conn)
    .await?;
    Ok(won.rows_affected() == 1)
}

/// Counts a failure for the provider's own sake and returns how many there were in a row.
pub async fn provider_fault(conn: &mut Conn, provider: &str, now: DateTime<Utc>) -> Result<i32> {
    sqlx::query_scalar!(
        "INSERT INTO provider_states (provider, faults, updated_at) VALUES ($1, 1, $2)
         ON CONFLICT (provider) DO UPDATE SET faults = provider_states.faults + 1, updated_at = $2
         RETURNING faults",
        provider,
        now
    )
    .fetch_one(conn)
    .await
}

/// The provider answered as it should: ends the pause its failures led to.
pub async fn provider_sound(conn: &mut Conn, provider: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "WITH sound AS (
             UPDATE provider_states SET faults = 0, updated_at = $2
             WHERE provider = $1 AND faults > 0 RETURNING provider)
         DELETE FROM provider_pauses p USING sound WHERE p.provider = sound.provider",
        provider,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reserves the moment at which a request may leave, so that all workers together keep the
/// provider's rate. `slot_us` is the distance of two requests in microseconds to begin with.
///
/// Two workers racing take turns on the provider's row, and get one moment each.
pub async fn provider_slot(
    conn: &mut Conn,
    provider: &str,
    slot_us: Option<i64>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>> {
    takes(Level::Provider);
    let row = sqlx::query!(
        "INSERT INTO provider_states AS s (provider, next_slot_at, slot_us, updated_at)
         VALUES ($1, $3::timestamptz + coalesce($2::bigint, 0) * interval '1 microsecond', $2, $3)
         ON CONFLICT (provider) DO UPDATE SET slot_us = coalesce(s.slot_us, excluded.slot_us),
             next_slot_at = greatest(s.next_slot_at, $3)
                 + coalesce(s.slot_us, excluded.slot_us, 0) * interval '1 microsecond'
         RETURNING next_slot_at, slot_us",
        provider,
        slot_us,
        now
    )
    .fetch_one(conn)
    .await?;
    let own = chrono::TimeDelta::microseconds(row.slot_us.unwrap_or(0));
    Ok(row.next_slot_at.map_or(now, |next| next - own).max(now))
}

/// Takes over the rate the provider told of.
pub async fn provider_rate(
    conn: &mut Conn,
    provider: &str,
    slot_us: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO provider_states AS s (provider, slot_us, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (provider) DO UPDATE SET slot_us = excluded.slot_us,
             updated_at = excluded.updated_at
         WHERE s.slot_us IS DISTINCT FROM excluded.slot_us",
        provider,
        slot_us,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
