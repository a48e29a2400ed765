//! Administrators and their sessions.

use chrono::{DateTime, Utc};

use crate::db::{Conn, Result};
use crate::ids::{SessionId, UserId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: String,
    /// In lower case.
    pub email: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A session as stored: without its token.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub id: SessionId,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
    pub expires_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Makes transactions that add administrators take turns.
pub async fn users_lock(conn: &mut Conn) -> Result<()> {
    sqlx::query!("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether there is any administrator.
pub async fn user_any(conn: &mut Conn) -> Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM users) AS "any!""#)
        .fetch_one(conn)
        .await
}

pub async fn user_insert(conn: &mut Conn, user: &User, password_hash: &str) -> Result<()> {
    sqlx::query!(
        "INSERT INTO users (id, name, email, password_hash, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        user.id as UserId,
        user.name,
        user.email,
        password_hash,
        user.created_at,
        user.updated_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The administrator with this address, given in every form it may be stored in, and their password
/// hash.
pub async fn user_by_email(conn: &mut Conn, forms: &[String]) -> Result<Option<(User, String)>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: UserId", name, email, password_hash, created_at, updated_at
           FROM users WHERE lower(email) = ANY($1) ORDER BY id LIMIT 1"#,
        forms
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let user = User {
            id: row.id,
            name: row.name,
            email: row.email,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        (user, row.password_hash)
    }))
}

/// An administrator and their password hash.
pub async fn user_by_id(conn: &mut Conn, id: UserId) -> Result<Option<(User, String)>> {
    let row = sqlx::query!(
        "SELECT name, email, password_hash, created_at, updated_at FROM users WHERE id = $1",
        id as UserId
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let user = User {
            id,
            name: row.name,
            email: row.email,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        (user, row.password_hash)
    }))
}

pub async fn user_rename(
    conn: &mut Conn,
    id: UserId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE users SET name = $2, updated_at = $3 WHERE id = $1",
        id as UserId,
        name,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn user_set_password(
    conn: &mut Conn,
    id: UserId,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1",
        id as UserId,
        password_hash,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn session_insert(
    conn: &mut Conn,
    session: &SessionRow,
    user: UserId,
    token_hash: &[u8; 32],
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO sessions (id, user_id, token_hash, ip_address, user_agent, expires_at,
                               created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        session.id as SessionId,
        user as UserId,
        token_hash.as_slice(),
        session.ip_address,
        session.user_agent,
        session.expires_at,
        session.created_at,
        session.updated_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A session that has not expired, and its administrator.
pub async fn session_by_token(
    conn: &mut Conn,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Option<(SessionRow, User)>> {
    let row = sqlx::query!(
        r#"SELECT s.id AS "id: SessionId", s.ip_address, s.user_agent, s.expires_at, s.created_at,
                  s.updated_at, u.id AS "user_id: UserId", u.name, u.email,
                  u.created_at AS user_created_at, u.updated_at AS user_updated_at
           FROM sessions s JOIN users u ON u.id = s.user_id
           WHERE s.token_hash = $1 AND s.expires_at > $2"#,
        token_hash.as_slice(),
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let session = SessionRow {
            id: row.id,
            ip_address: row.ip_address,
            user_agent: row.user_agent,
            expires_at: row.expires_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        let user = User {
            id: row.user_id,
            name: row.name,
            email: row.email,
            created_at: row.user_created_at,
            updated_at: row.user_updated_at,
        };
        (session, user)
    }))
}

/// False where the session no longer exists.
pub async fn session_extend(
    conn: &mut Conn,
    id: SessionId,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE sessions SET expires_at = $2, updated_at = $3 WHERE id = $1",
        id as SessionId,
        expires_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn session_delete(conn: &mut Conn, token_hash: &[u8; 32]) -> Result<()> {
    sqlx::query!(
        "DELETE FROM sessions WHERE token_hash = $1",
        token_hash.as_slice()
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn sessions_delete_of(conn: &mut Conn, user: UserId) -> Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE user_id = $1", user as UserId)
        .execute(conn)
        .await?;
    Ok(())
}

/// An administrator's sessions that have not expired and began after `since`, newest first.
pub async fn sessions_of(
    conn: &mut Conn,
    user: UserId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<SessionRow>> {
    sqlx::query_as!(
        SessionRow,
        r#"SELECT id AS "id: SessionId", ip_address, user_agent, expires_at, created_at, updated_at
           FROM sessions WHERE user_id = $1 AND created_at > $2 AND expires_at > $3
           ORDER BY created_at DESC, id DESC LIMIT 1000"#,
        user as UserId,
        since,
        now
    )
    .fetch_all(conn)
    .await
}

pub async fn session_delete_one(conn: &mut Conn, user: UserId, id: SessionId) -> Result<()> {
    sqlx::query!(
        "DELETE FROM sessions WHERE user_id = $1 AND id = $2",
        user as UserId,
        id as SessionId
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn sessions_delete_others(conn: &mut Conn, user: UserId, keep: SessionId) -> Result<()> {
    sqlx::query!(
        "DELETE FROM sessions WHERE user_id = $1 AND id <> $2",
        user as UserId,
        keep as SessionId
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn sessions_delete_expired(conn: &mut Conn, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE expires_at <= $1", now)
        .execute(conn)
        .await?;
    Ok(())
}
