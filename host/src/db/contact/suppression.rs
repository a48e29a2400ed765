//! The suppression list.

use chrono::{DateTime, Utc};

use super::list::pattern;
use crate::db::{Conn, Result};

/// An entry of the suppression list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The keyed hash of the address.
    pub hash: Vec<u8>,
    /// None where the contact was erased.
    pub email: Option<String>,
    /// Normalised. None where the contact was erased, and where an older version wrote the row and
    /// the catch-up has not filled it in yet.
    pub address: Option<String>,
    /// `bounced`, `complained`, `manual` or `erased`.
    pub reason: String,
    pub provider: Option<String>,
    /// The provider's or an administrator's words.
    pub detail: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A suppression to store.
pub struct NewSuppression<'a> {
    pub hash: &'a [u8],
    /// Normalised; not stored for an erasure.
    pub address: Option<&'a str>,
    pub reason: &'a str,
    pub provider: Option<&'a str>,
    pub detail: Option<&'a str>,
}

/// Suppresses an address. `complained` outranks `bounced`, then come `manual` and `erased`; a
/// reason of the same or lower rank changes nothing. The address of an erased contact is not stored
/// again.
pub async fn suppression_insert(
    conn: &mut Conn,
    new: &NewSuppression<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let address = new.address.filter(|_| new.reason != "erased");
    sqlx::query!(
        "INSERT INTO suppressions AS s (address_hash, email, address, reason, provider, detail,
                                        created_at)
         VALUES ($1, $2, $2, $3, $4, $5, $6)
         ON CONFLICT (address_hash) DO UPDATE SET reason = excluded.reason,
             email = CASE WHEN s.reason <> 'erased' THEN excluded.email END,
             address = CASE WHEN s.reason <> 'erased' THEN excluded.address END,
             detail = CASE WHEN s.reason <> 'erased' THEN excluded.detail END,
             provider = excluded.provider
         WHERE s.reason IN ('manual', 'erased') AND excluded.reason IN ('bounced', 'complained')
            OR s.reason = 'bounced' AND excluded.reason = 'complained'
            OR s.reason = 'erased' AND excluded.reason = 'manual'",
        new.hash,
        address,
        new.reason,
        new.provider,
        new.detail,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores suppressions; an address that is suppressed already keeps its row. Rows are inserted in
/// hash order, so two transactions that race cannot deadlock.
pub async fn suppressions_insert(
    conn: &mut Conn,
    new: &[NewSuppression<'_>],
    now: DateTime<Utc>,
) -> Result<()> {
    let mut new: Vec<_> = new.iter().collect();
    new.sort_by_key(|one| one.hash);
    let hashes: Vec<Vec<u8>> = new.iter().map(|one| one.hash.to_vec()).collect();
    let addresses: Vec<Option<&str>> = new.iter().map(|one| one.address).collect();
    let reasons: Vec<&str> = new.iter().map(|one| one.reason).collect();
    let details: Vec<Option<&str>> = new.iter().map(|one| one.detail).collect();
    sqlx::query!(
        "INSERT INTO suppressions (address_hash, email, address, reason, detail, created_at)
         SELECT hash, address, address, reason, detail, $5
         FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[])
             AS n (hash, address, reason, detail)
         ON CONFLICT DO NOTHING",
        &hashes,
        &addresses as &[Option<&str>],
        &reasons as &[&str],
        &details as &[Option<&str>],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves a suppression from an older hash of the address to the current one. Nothing changes where
/// the current hash has one already.
pub async fn suppression_rekey(
    conn: &mut Conn,
    hashes: &[Vec<u8>],
    address: Option<&str>,
    today: &[u8],
) -> Result<()> {
    sqlx::query!(
        "UPDATE suppressions SET address_hash = $3 WHERE address_hash = (
             SELECT address_hash FROM suppressions
             WHERE (address_hash = ANY($1) OR address = $2) AND address_hash <> $3
               AND NOT EXISTS (SELECT FROM suppressions WHERE address_hash = $3)
             ORDER BY created_at LIMIT 1)",
        hashes,
        address,
        today
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which addresses are suppressed, matched by any of their hashes or by the address itself.
pub async fn suppressions_of(
    conn: &mut Conn,
    hashes: &[Vec<u8>],
    addresses: &[String],
) -> Result<Vec<Suppression>> {
    sqlx::query_as!(
        Suppression,
        "SELECT address_hash AS hash, email, address, reason, provider, detail, created_at
         FROM suppressions WHERE address_hash = ANY($1) OR address = ANY($2)",
        hashes,
        addresses
    )
    .fetch_all(conn)
    .await
}

/// Lifts the suppressions of an address.
pub async fn suppression_delete(
    conn: &mut Conn,
    hashes: &[Vec<u8>],
    address: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "DELETE FROM suppressions WHERE address_hash = ANY($1) OR address = $2",
        hashes,
        address
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the address itself and keeps its hash.
pub async fn suppression_forget(conn: &mut Conn, hashes: &[Vec<u8>]) -> Result<()> {
    sqlx::query!(
        "UPDATE suppressions SET email = NULL, address = NULL, detail = NULL
         WHERE address_hash = ANY($1)",
        hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Suppressions that an older version stored without the normalised address.
pub async fn suppressions_unaddressed(
    conn: &mut Conn,
    limit: i64,
) -> Result<Vec<(Vec<u8>, String)>> {
    let rows = sqlx::query!(
        r#"SELECT address_hash, email AS "email!" FROM suppressions
           WHERE address IS NULL AND email IS NOT NULL LIMIT $1 FOR UPDATE SKIP LOCKED"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| (row.address_hash, row.email));
    Ok(rows.collect())
}

/// Fills in the normalised address of suppressions.
pub async fn suppressions_address(conn: &mut Conn, rows: &[(Vec<u8>, String)]) -> Result<()> {
    let hashes: Vec<Vec<u8>> = rows.iter().map(|(hash, _)| hash.clone()).collect();
    let addresses: Vec<String> = rows.iter().map(|(_, address)| address.clone()).collect();
    sqlx::query!(
        "UPDATE suppressions s SET address = n.address
         FROM unnest($1::bytea[], $2::text[]) AS n (hash, address) WHERE s.address_hash = n.hash",
        &hashes,
        &addresses
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of suppressed addresses that contain `search`, latest first, and the total count. Those
/// of erased contacts have no address.
pub async fn suppressions_list(
    conn: &mut Conn,
    reason: Option<&str>,
    search: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Suppression>, i64)> {
    let search = search.map(pattern);
    let search = search.as_deref();
    let rows = sqlx::query_as!(
        Suppression,
        "SELECT address_hash AS hash, email, address, reason, provider, detail, created_at
         FROM suppressions
         WHERE ($1::text IS NULL OR reason = $1) AND ($4::text IS NULL OR (email || '') ILIKE $4)
         ORDER BY created_at DESC, address_hash LIMIT $2 OFFSET $3",
        reason,
        limit,
        offset,
        search
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM suppressions
           WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR (email || '') ILIKE $2)"#,
        reason,
        search
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}
