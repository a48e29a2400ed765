//! Changes that administrators make to their own account: name, password, sessions.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::session::{MAX_LIFE, Session, begin};
use super::user::{PasswordError, checked_password, keep};
use super::{HashError, Passwords};
use crate::db::{self, Db, SessionRow, Tx};
use crate::ids::SessionId;

/// The prefix of references to other sessions, whose tokens are not stored.
const REFERENCE: &str = "session_";

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("Invalid password")]
    Wrong,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<HashError> for ChangeError {
    fn from(error: HashError) -> Self {
        Self::Password(error.into())
    }
}

/// Changes the password of the session's user. With `alone`, all their sessions end and a new one
/// replaces this one.
pub async fn change_password(
    db: &Db,
    passwords: &Passwords,
    session: &Session,
    (current, new): (&str, &str),
    alone: bool,
    now: DateTime<Utc>,
) -> Result<Option<Session>, ChangeError> {
    let new = checked_password(new)?;
    let found = db::user_by_id(&mut *db.conn().await?, session.user.id).await?;
    let hash = found.map(|(_, hash)| hash);
    if !passwords.check(current, hash).await? {
        return Err(ChangeError::Wrong);
    }
    let hashed = passwords.hash(new).await?;
    let work = async |mut tx: Tx| {
        db::user_set_password(&mut tx, session.user.id, &hashed, now).await?;
        keep(&mut tx, None, &session.user, "user.change_password", now).await?;
        let mut fresh = None;
        if alone {
            db::sessions_delete_of(&mut tx, session.user.id).await?;
            let (user, client) = (session.user.clone(), session.client.clone());
            fresh = Some(begin(&mut tx, user, client, session.remembered(), now).await?);
        }
        db::Result::Ok((tx, fresh))
    };
    Ok(db.transact(work).await?)
}

/// Changes the name of the session's user.
pub async fn rename(db: &Db, session: &Session, name: &str, now: DateTime<Utc>) -> db::Result<()> {
    let mut user = session.user.clone();
    user.name = name.replace('\0', "");
    let work = async |mut tx: Tx| {
        db::user_rename(&mut tx, user.id, &user.name, now).await?;
        keep(&mut tx, None, &user, "user.update", now).await?;
        db::Result::Ok((tx, ()))
    };
    db.transact(work).await
}

/// The sessions of the session's user, newest first. Only this session has its real token; those of
/// the others are references that cannot be used to sign in.
pub async fn sessions(db: &Db, session: &Session, now: DateTime<Utc>) -> db::Result<Vec<Session>> {
    let mut conn = db.conn().await?;
    let rows = db::sessions_of(&mut conn, session.user.id, now - MAX_LIFE, now).await?;
    let listed = |row: SessionRow| {
        let token = if row.id == session.id {
            session.token.clone()
        } else {
            format!("{REFERENCE}{}", row.id)
        };
        Session::of(row, session.user.clone(), token)
    };
    Ok(rows.into_iter().map(listed).collect())
}

/// Ends one session of the session's user, by its token or reference. True if it is this session.
pub async fn revoke(db: &Db, session: &Session, named: &str) -> db::Result<bool> {
    let reference = named.strip_prefix(REFERENCE);
    let id = match reference.and_then(|id| Uuid::parse_str(id).ok()) {
        Some(id) => SessionId(id),
        None if named == session.token => session.id,
        None => return Ok(false),
    };
    let mut conn = db.conn().await?;
    db::session_delete_one(&mut conn, session.user.id, id).await?;
    Ok(id == session.id)
}

/// Ends all sessions of the session's user, or all except this one.
pub async fn revoke_all(db: &Db, session: &Session, including_this: bool) -> db::Result<()> {
    let mut conn = db.conn().await?;
    if including_this {
        return db::sessions_delete_of(&mut conn, session.user.id).await;
    }
    db::sessions_delete_others(&mut conn, session.user.id, session.id).await
}
