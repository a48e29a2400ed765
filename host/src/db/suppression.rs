//! Addresses that get no mail.

use chrono::{DateTime, Utc};

use super::{Conn, Result};

/// Why an address gets no mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The keyed hash of the address.
    pub hash: Vec<u8>,
    /// None where the person was erased.
    pub email: Option<String>,
    /// `bounced`, `complained`, `manual` or `erased`.
    pub reason: String,
    pub provider: Option<String>,
    /// The provider's words.
    pub detail: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Suppresses an address. What a provider said outweighs an erasure and an administrator's word;
/// else the first reason stays.
pub async fn suppression_insert(conn: &mut Conn, new: &Suppression) -> Result<()> {
    sqlx::query!(
        "INSERT INTO suppressions AS s (address_hash, email, reason, provider, detail, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (address_hash) DO UPDATE SET reason = excluded.reason,
             email = excluded.email, provider = excluded.provider, detail = excluded.detail
         WHERE s.reason IN ('manual', 'erased') AND excluded.reason IN ('bounced', 'complained')
            OR s.reason = 'bounced' AND excluded.reason = 'complained'",
        new.hash,
        new.email,
        new.reason,
        new.provider,
        new.detail,
        new.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which of these addresses are suppressed.
pub async fn suppressions_of(conn: &mut Conn, hashes: &[Vec<u8>]) -> Result<Vec<Suppression>> {
    sqlx::query_as!(
        Suppression,
        "SELECT address_hash AS hash, email, reason, provider, detail, created_at
         FROM suppressions WHERE address_hash = ANY($1)",
        hashes
    )
    .fetch_all(conn)
    .await
}

/// Lifts a suppression. False where there was none.
pub async fn suppression_delete(conn: &mut Conn, hash: &[u8]) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM suppressions WHERE address_hash = $1", hash)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets the address itself and keeps its hash.
pub async fn suppression_forget(conn: &mut Conn, hash: &[u8]) -> Result<()> {
    sqlx::query!(
        "UPDATE suppressions SET email = NULL, detail = NULL WHERE address_hash = $1",
        hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Suppressed addresses, the latest first, and how many there are on all pages. Those of erased
/// people have no address.
pub async fn suppressions_list(
    conn: &mut Conn,
    reason: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Suppression>, i64)> {
    let rows = sqlx::query_as!(
        Suppression,
        "SELECT address_hash AS hash, email, reason, provider, detail, created_at
         FROM suppressions WHERE $1::text IS NULL OR reason = $1
         ORDER BY created_at DESC, address_hash LIMIT $2 OFFSET $3",
        reason,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM suppressions WHERE $1::text IS NULL OR reason = $1"#,
        reason
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}
