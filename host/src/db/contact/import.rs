//! Imports of contacts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::db::transact::stir;
use crate::db::{Conn, Result, Topic};
use crate::ids::{Claim, ContactId, ImportId};
use crate::states::ImportState;

/// What is wrong with a row; row 0 is the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RowError {
    /// From 1, not counting the header line.
    pub row: i32,
    /// The line of the file it begins on, for CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i32>,
    pub message: String,
}

/// An import and its progress.
pub struct ImportRow {
    pub id: ImportId,
    pub status: ImportState,
    pub file_name: Option<String>,
    pub unused: Vec<String>,
    pub total: i32,
    pub processed: i32,
    pub failed: i32,
    pub errors: Vec<RowError>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// An import a worker continues.
pub struct ClaimedImport {
    pub id: ImportId,
    pub format: String,
    pub body: Vec<u8>,
    pub processed: i32,
    pub failed: i32,
    /// How many errors are stored so far.
    pub errors: usize,
    /// Claims since the last chunk, including this one.
    pub attempts: i32,
    pub claim: Claim,
}

/// Progress of an import after a chunk.
pub struct ImportProgress<'a> {
    pub id: ImportId,
    pub processed: i32,
    pub failed: i32,
    /// The errors of this chunk.
    pub errors: &'a [RowError],
    /// None where the import is over.
    pub lease_until: Option<DateTime<Utc>>,
}

/// A file to import.
pub struct NewImport<'a> {
    pub id: ImportId,
    pub format: &'a str,
    pub body: &'a [u8],
    pub file_name: Option<&'a str>,
    /// Names of unused columns.
    pub unused: &'a [String],
    pub total: i32,
}

pub async fn import_insert(conn: &mut Conn, new: &NewImport<'_>, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO import_jobs (id, status, format, body, total_rows, file_name, unused,
                                  next_attempt_at, created_at, updated_at)
         VALUES ($1, 'pending', $2, $3, $4, $5, $6, $7, $7, $7)",
        new.id as ImportId,
        new.format,
        new.body,
        new.total,
        new.file_name,
        new.unused,
        now
    )
    .execute(conn)
    .await?;
    stir(Topic::Imports);
    Ok(())
}

pub async fn import_get(conn: &mut Conn, id: ImportId) -> Result<Option<ImportRow>> {
    sqlx::query!(
        r#"SELECT id AS "id: ImportId", status AS "status: ImportState", file_name, unused,
                  total_rows, processed_rows, failed_rows, errors AS "errors: Json<Vec<RowError>>", created_at, updated_at
           FROM import_jobs WHERE id = $1"#,
        id as ImportId
    )
    .map(|row| ImportRow {
        id: row.id,
        status: row.status,
        file_name: row.file_name,
        unused: row.unused,
        total: row.total_rows,
        processed: row.processed_rows,
        failed: row.failed_rows,
        errors: row.errors.0,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
    .fetch_optional(conn)
    .await
}

/// Claims the longest due import until `lease_until`. Workers that race get different ones.
pub async fn import_claim(
    conn: &mut Conn,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<Option<ClaimedImport>> {
    let claim = Claim::new(now);
    sqlx::query!(
        r#"UPDATE import_jobs SET status = 'running', next_attempt_at = $2, claim = $3,
               attempts = attempts + 1, updated_at = $1
           WHERE id = (SELECT id FROM import_jobs WHERE next_attempt_at <= $1
                       ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING id AS "id: ImportId", format, coalesce(body, '') AS "body!", processed_rows,
                     failed_rows, jsonb_array_length(errors) AS "errors!", attempts"#,
        now,
        lease_until,
        claim as Claim
    )
    .map(|row| ClaimedImport {
        id: row.id,
        format: row.format,
        body: row.body,
        processed: row.processed_rows,
        failed: row.failed_rows,
        errors: usize::try_from(row.errors).unwrap_or_default(),
        attempts: row.attempts,
        claim,
    })
    .fetch_optional(conn)
    .await
}

/// Whether the import is still the holder's; it is locked until the transaction ends.
pub async fn import_hold(conn: &mut Conn, id: ImportId, claim: Claim) -> Result<bool> {
    let held = sqlx::query_scalar!(
        r#"SELECT claim = $2 AS "held!" FROM import_jobs
           WHERE id = $1 AND claim IS NOT NULL FOR UPDATE"#,
        id as ImportId,
        claim as Claim
    )
    .fetch_optional(conn)
    .await?;
    Ok(held == Some(true))
}

/// Writes its progress. The caller holds it.
pub async fn import_progress(
    conn: &mut Conn,
    new: &ImportProgress<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE import_jobs SET processed_rows = $2, failed_rows = $3, errors = errors || $4,
             next_attempt_at = $5::timestamptz, attempts = 0, updated_at = $6,
             status = CASE WHEN $5::timestamptz IS NULL THEN 'completed' ELSE status END,
             body = CASE WHEN $5::timestamptz IS NULL THEN NULL ELSE body END,
             claim = CASE WHEN $5::timestamptz IS NULL THEN NULL ELSE claim END
         WHERE id = $1",
        new.id as ImportId,
        new.processed,
        new.failed,
        Json(new.errors) as Json<&[RowError]>,
        new.lease_until as Option<DateTime<Utc>>,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases it; another worker may claim it at once.
pub async fn import_release(
    conn: &mut Conn,
    (id, claim): (ImportId, Claim),
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE import_jobs SET next_attempt_at = $3, claim = NULL WHERE id = $1 AND claim = $2",
        id as ImportId,
        claim as Claim,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Fails it with the reason.
pub async fn import_fail(
    conn: &mut Conn,
    import: &ClaimedImport,
    error: &RowError,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE import_jobs SET status = 'failed', errors = errors || $3, next_attempt_at = NULL,
             body = NULL, claim = NULL, updated_at = $4
         WHERE id = $1 AND claim = $2",
        import.id as ImportId,
        import.claim as Claim,
        Json([error]) as Json<[&RowError; 1]>,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next import is due.
pub async fn import_next_due(conn: &mut Conn) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT min(next_attempt_at) FROM import_jobs WHERE next_attempt_at IS NOT NULL"
    )
    .fetch_one(conn)
    .await
}

/// Moves the contacts' `first_seen_at` back to these times, where that is earlier. The caller holds
/// their locks.
pub async fn contacts_first_seen(
    conn: &mut Conn,
    seen: &[(ContactId, DateTime<Utc>)],
) -> Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    let ids: Vec<ContactId> = seen.iter().map(|(id, _)| *id).collect();
    let times: Vec<DateTime<Utc>> = seen.iter().map(|(_, at)| *at).collect();
    sqlx::query!(
        "UPDATE contacts c SET first_seen_at = n.at
         FROM (SELECT id, min(at) AS at FROM unnest($1::uuid[], $2::timestamptz[]) AS t (id, at)
               GROUP BY id) AS n
         WHERE c.id = n.id AND n.at < c.first_seen_at",
        &ids as &[ContactId],
        &times
    )
    .execute(conn)
    .await?;
    Ok(())
}
