//! Password reset tokens, sent by mail.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::UserId;

/// Stores a new token in place of the administrator's earlier ones. False, and nothing changes,
/// where they were sent one after `since`.
///
/// Two requests racing: the second waits for the administrator's row, which the first holds.
pub async fn reset_insert(
    conn: &mut Conn,
    token_hash: &[u8; 32],
    user: UserId,
    (since, now, expires_at): (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
) -> Result<bool> {
    sqlx::query!(
        "SELECT id FROM users WHERE id = $1 FOR UPDATE",
        user as UserId
    )
    .fetch_optional(&mut *conn)
    .await?;
    let done = sqlx::query!(
        "INSERT INTO password_resets (token_hash, user_id, expires_at, created_at)
         SELECT $1, $2, $3, $4
         WHERE NOT EXISTS (SELECT 1 FROM password_resets WHERE user_id = $2 AND created_at > $5)",
        token_hash.as_slice(),
        user as UserId,
        expires_at,
        now,
        since
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "DELETE FROM password_resets WHERE (user_id = $1 AND token_hash <> $2) OR expires_at <= $3",
        user as UserId,
        token_hash.as_slice(),
        now
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// The administrator a valid token belongs to.
pub async fn reset_find(
    conn: &mut Conn,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<UserId>> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "id: UserId" FROM password_resets
           WHERE token_hash = $1 AND expires_at > $2"#,
        token_hash.as_slice(),
        now
    )
    .fetch_optional(conn)
    .await
}

/// Consumes a token. Of two requests that race with it one succeeds.
pub async fn reset_take(
    conn: &mut Conn,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<UserId>> {
    sqlx::query_scalar!(
        r#"DELETE FROM password_resets WHERE token_hash = $1 AND expires_at > $2
           RETURNING user_id AS "id: UserId""#,
        token_hash.as_slice(),
        now
    )
    .fetch_optional(conn)
    .await
}
