//! State of a delivery provider that all workers share: holds, failures, and when the next request
//! may start.

use chrono::{DateTime, TimeDelta, Utc};
use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::db::transact::takes;
use crate::db::{Conn, Level, Result};

/// Time between two probes of a hold that does not expire.
pub const PROBE_EVERY: TimeDelta = TimeDelta::seconds(30);

/// Why a provider is on hold.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum HoldKind {
    /// A rate limit; it expires.
    Limit,
    /// Several failures in a row. One mail at a time probes whether the provider works again.
    Rest,
    /// An operator has to act. One mail at a time probes whether they did.
    Block,
}

impl HoldKind {
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn parse(name: &str) -> Self {
        name.parse().unwrap_or(Self::Block)
    }
}

/// A hold: mail that a provider accepts none of for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub provider: String,
    /// The sender's bare address; empty for all mail.
    pub sender: String,
    pub kind: HoldKind,
    pub reason: String,
    pub since: DateTime<Utc>,
    /// The end of a limit, or the time of the next probe.
    pub until: DateTime<Utc>,
    /// Fingerprint of the provider's settings.
    pub print: String,
}

/// Every hold, oldest first.
///
/// An end further ahead than this host would set it comes from a clock that was set back since;
/// such a hold is over.
pub async fn provider_holds(conn: &mut Conn, now: DateTime<Utc>) -> Result<Vec<Hold>> {
    let rows = sqlx::query!(
        "SELECT provider, sender, kind, reason, since, until, print, updated_at
         FROM provider_holds ORDER BY since, provider, sender"
    )
    .fetch_all(conn)
    .await?;
    let holds = rows.into_iter().map(|row| {
        let kind = HoldKind::parse(&row.kind);
        let ahead = match kind {
            HoldKind::Limit => row.updated_at > now + TimeDelta::seconds(5),
            HoldKind::Rest | HoldKind::Block => row.until > now + PROBE_EVERY,
        };
        Hold {
            provider: row.provider,
            sender: row.sender,
            kind,
            reason: row.reason,
            since: row.since,
            until: if ahead { now } else { row.until },
            print: row.print,
        }
    });
    Ok(holds.collect())
}

/// Begins a hold, or updates the reason of one in force: a limit keeps its latest end, other kinds
/// keep the time of their next probe. True where it began.
pub async fn provider_hold(conn: &mut Conn, hold: &Hold, now: DateTime<Utc>) -> Result<bool> {
    let began = sqlx::query_scalar!(
        r#"INSERT INTO provider_holds AS h
               (provider, sender, kind, reason, since, until, print, updated_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $5)
           ON CONFLICT (provider, sender, kind) DO UPDATE SET reason = excluded.reason,
               print = excluded.print, updated_at = excluded.updated_at,
               until = CASE
                   WHEN h.updated_at > excluded.updated_at THEN excluded.until
                   WHEN h.kind = 'limit' THEN greatest(h.until, excluded.until)
                   WHEN h.until > excluded.updated_at THEN least(h.until, excluded.until)
                   ELSE excluded.until END
           RETURNING since = $5 AS "began!""#,
        hold.provider,
        hold.sender,
        hold.kind.name(),
        hold.reason,
        now,
        hold.until,
        hold.print
    )
    .fetch_one(conn)
    .await?;
    Ok(began)
}

/// Gives one caller the right to probe, and none to the others until the next interval. False where
/// another caller was first: of two racing updates the second sees what the first one wrote.
pub async fn provider_probe(conn: &mut Conn, hold: &Hold, now: DateTime<Utc>) -> Result<bool> {
    let won = sqlx::query!(
        "UPDATE provider_holds SET until = $4, updated_at = $5
         WHERE provider = $1 AND sender = $2 AND kind = $3 AND (until <= $5 OR until > $4)",
        hold.provider,
        hold.sender,
        hold.kind.name(),
        now + PROBE_EVERY,
        now
    )
    .execute(conn)
    .await?;
    Ok(won.rows_affected() == 1)
}

/// Returns an unused right to probe: the next caller gets it.
pub async fn provider_untry(conn: &mut Conn, hold: &Hold, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE provider_holds SET until = $4
         WHERE provider = $1 AND sender = $2 AND kind = $3 AND until > $4",
        hold.provider,
        hold.sender,
        hold.kind.name(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a provider's holds of these kinds: those on all its mail, and those on `sender`. Returns
/// how many there were.
pub async fn provider_release(
    conn: &mut Conn,
    provider: &str,
    sender: Option<&str>,
    kinds: &[HoldKind],
) -> Result<u64> {
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
    let done = sqlx::query!(
        "DELETE FROM provider_holds
         WHERE provider = $1 AND (sender = '' OR sender = $2) AND kind = ANY($3)",
        provider,
        sender,
        &kinds
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Ends every hold of a provider that began under other settings. Returns how many there were.
pub async fn provider_cured(conn: &mut Conn, provider: &str, print: &str) -> Result<u64> {
    let done = sqlx::query!(
        "WITH known AS (UPDATE provider_states SET faults = 0 WHERE provider = $1)
         DELETE FROM provider_holds WHERE provider = $1 AND print <> $2",
        provider,
        print
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Counts a failure of the provider and returns how many there were in a row. None for an attempt
/// that began before the provider last worked, which is no news.
pub async fn provider_fault(
    conn: &mut Conn,
    provider: &str,
    began: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<i32>> {
    sqlx::query_scalar!(
        "INSERT INTO provider_states (provider, faults, updated_at) VALUES ($1, 1, $2)
         ON CONFLICT (provider) DO UPDATE SET faults = provider_states.faults + 1, updated_at = $2
         WHERE provider_states.sound_at IS NULL OR provider_states.sound_at <= $3
            OR provider_states.sound_at > $2
         RETURNING faults",
        provider,
        now,
        began
    )
    .fetch_optional(conn)
    .await
}

/// Records that the provider works.
pub async fn provider_sound(conn: &mut Conn, provider: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE provider_states SET faults = 0, sound_at = $2, updated_at = $2
         WHERE provider = $1 AND faults > 0",
        provider,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reserves the moment at which a request may start, so that all workers together keep the
/// provider's rate. `slot_us` is the initial interval between two requests in microseconds, `reach`
/// how far ahead a worker reserves: a reservation beyond that comes from a clock that was set back
/// since, and is dropped.
///
/// Two workers racing take turns on the provider's row, and get one moment each.
pub async fn provider_slot(
    conn: &mut Conn,
    provider: &str,
    slot_us: Option<i64>,
    reach: TimeDelta,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>> {
    takes(Level::Provider);
    let row = sqlx::query!(
        "INSERT INTO provider_states AS s (provider, next_slot_at, slot_us, updated_at)
         VALUES ($1, $3::timestamptz + coalesce($2::bigint, 0) * interval '1 microsecond', $2, $3)
         ON CONFLICT (provider) DO UPDATE SET slot_us = coalesce(s.slot_us, excluded.slot_us),
             next_slot_at = CASE
                     WHEN s.next_slot_at > $3::timestamptz + ($4::bigint
                          + 2 * coalesce(s.slot_us, excluded.slot_us, 0)) * interval '1 microsecond'
                     THEN $3
                     ELSE greatest(s.next_slot_at, $3) END
                 + coalesce(s.slot_us, excluded.slot_us, 0) * interval '1 microsecond'
         RETURNING next_slot_at, slot_us",
        provider,
        slot_us,
        now,
        reach.num_microseconds().unwrap_or(i64::MAX / 4)
    )
    .fetch_one(conn)
    .await?;
    let own = chrono::TimeDelta::microseconds(row.slot_us.unwrap_or(0));
    Ok(row.next_slot_at.map_or(now, |next| next - own).max(now))
}

/// Stores the rate limit the provider reported.
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
