//! API keys.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::ApiKeyId;

/// An API key as stored: the hash and the visible prefix, never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    pub hash: [u8; 32],
    pub prefix: String,
    /// In today's terms: see [`Row::ingest_is_events`].
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

struct Row {
    id: ApiKeyId,
    name: String,
    key_hash: Vec<u8>,
    key_prefix: String,
    scopes: Vec<String>,
    /// Older versions do not know the scope `events`: a key they created with `ingest` (also while
    /// a deployment is under way) means `events`. The row keeps the old word so that they still
    /// accept the key.
    ingest_is_events: bool,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for ApiKey {
    fn from(mut row: Row) -> Self {
        if row.ingest_is_events {
            for scope in &mut row.scopes {
                if scope == "ingest" {
                    *scope = "events".into();
                }
            }
        }
        Self {
            id: row.id,
            name: row.name,
            // Always 32 bytes; another length matches no key.
            hash: row.key_hash.try_into().unwrap_or_default(),
            prefix: row.key_prefix,
            scopes: row.scopes,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
        }
    }
}

pub async fn api_key_insert(conn: &mut Conn, key: &ApiKey) -> Result<()> {
    sqlx::query!(
        "INSERT INTO api_keys (id, name, key_hash, key_prefix, scopes, ingest_is_events, expires_at,
                               created_at)
         VALUES ($1, $2, $3, $4, $5, false, $6, $7)",
        key.id as ApiKeyId,
        key.name,
        key.hash.as_slice(),
        key.prefix,
        &key.scopes,
        key.expires_at,
        key.created_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn api_key_by_hash(conn: &mut Conn, hash: &[u8; 32]) -> Result<Option<ApiKey>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ApiKeyId", name, key_hash, key_prefix, scopes, ingest_is_events,
                  expires_at, last_used_at, created_at
           FROM api_keys WHERE key_hash = $1"#,
        hash.as_slice()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(ApiKey::from))
}

/// Whether there is any key.
pub async fn api_key_any(conn: &mut Conn) -> Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM api_keys) AS "any!""#)
        .fetch_one(conn)
        .await
}

/// Records that a key was used, at most once a minute.
pub async fn api_key_used(conn: &mut Conn, id: ApiKeyId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "UPDATE api_keys SET last_used_at = $2
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $2::timestamptz - interval '1 minute')",
        id as ApiKeyId,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of keys, newest first, and the total count.
pub async fn api_keys_list(conn: &mut Conn, limit: i64, offset: i64) -> Result<(Vec<ApiKey>, i64)> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: ApiKeyId", name, key_hash, key_prefix, scopes, ingest_is_events,
                  expires_at, last_used_at, created_at
           FROM api_keys ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2"#,
        limit,
        offset
    )
    .map(ApiKey::from)
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(r#"SELECT count(*) AS "total!" FROM api_keys"#)
        .fetch_one(conn)
        .await?;
    Ok((rows, total))
}

/// Deletes a key and returns what it was.
pub async fn api_key_delete(conn: &mut Conn, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let row = sqlx::query_as!(
        Row,
        r#"DELETE FROM api_keys WHERE id = $1
           RETURNING id AS "id: ApiKeyId", name, key_hash, key_prefix, scopes, ingest_is_events,
                     expires_at, last_used_at, created_at"#,
        id as ApiKeyId
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(ApiKey::from))
}
