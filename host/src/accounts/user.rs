//! Creating administrators and signing them in.

use chrono::{DateTime, Utc};
use hogsend_semantics::address;
use serde_json::json;

use super::password::normalised;
use super::session::{Client, Session, begin};
use super::{HashError, Passwords};
use crate::audit::{Actor, Change, audit};
use crate::db::{self, Db, Tx, User};
use crate::ids::UserId;

/// The length of a password in characters.
const PASSWORD_MIN: usize = 8;
const PASSWORD_MAX: usize = 128;
/// The maximum length of a password in bytes, in any Unicode form.
const PASSWORD_BYTES: usize = PASSWORD_MAX * 16;

/// The data of a new administrator.
pub struct NewAccount {
    pub name: String,
    pub email: String,
    pub password: String,
}

/// Why a sign-up failed.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    #[error("Email and password sign up is not enabled")]
    Closed,
    #[error("Invalid email")]
    Email,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("User already exists. Use another email.")]
    Taken,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Why a new password was refused.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("Password too short")]
    Short,
    #[error("Password too long")]
    Long,
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl From<HashError> for SignUpError {
    fn from(error: HashError) -> Self {
        Self::Password(error.into())
    }
}

/// Why a sign-in failed. A wrong address and a wrong password are both `Wrong`.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("Invalid email or password")]
    Wrong,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl NewAccount {
    fn check(&mut self) -> Result<(), SignUpError> {
        self.email = address::normalise(&self.email).ok_or(SignUpError::Email)?;
        self.name.retain(|c| c != '\0');
        self.password = checked_password(&self.password)?;
        Ok(())
    }
}

/// The forms in which an administrator's address may be stored: the current one, and that of older
/// versions.
pub(super) fn forms(email: &str) -> [String; 2] {
    [address::comparable(email), email.trim().to_lowercase()]
}

/// A new password in NFKC. Its length is checked in that form.
pub(super) fn checked_password(password: &str) -> Result<String, PasswordError> {
    if password.len() > PASSWORD_BYTES {
        return Err(PasswordError::Long);
    }
    let password = normalised(password);
    match password.chars().count() {
        ..PASSWORD_MIN => Err(PasswordError::Short),
        PASSWORD_MIN..=PASSWORD_MAX => Ok(password),
        _ => Err(PasswordError::Long),
    }
}

/// Makes the first person to sign up the administrator and signs them in. For everyone else sign-up is
/// closed.
pub async fn first_sign_up(
    db: &Db,
    passwords: &Passwords,
    mut account: NewAccount,
    (client, remember): (Client, bool),
    now: DateTime<Utc>,
) -> Result<Session, SignUpError> {
    // Before hashing, so that a closed sign-up is cheap.
    if db::user_any(&mut *db.conn().await?).await? {
        return Err(SignUpError::Closed);
    }
    account.check()?;
    let hash = passwords.hash(account.password.clone()).await?;
    let work = async |mut tx: Tx| {
        // Of two concurrent first sign-ups, one waits here and then sees the other.
        db::users_lock(&mut tx).await?;
        if db::user_any(&mut tx).await? {
            return Ok((tx, None));
        }
        let user = insert(&mut tx, &account, &hash, None, now).await?;
        let session = begin(&mut tx, user, client.clone(), remember, now).await?;
        db::Result::Ok((tx, Some(session)))
    };
    db.transact(work).await?.ok_or(SignUpError::Closed)
}

/// Creates an administrator.
pub async fn create(
    db: &Db,
    passwords: &Passwords,
    actor: &Actor,
    mut account: NewAccount,
    now: DateTime<Utc>,
) -> Result<User, SignUpError> {
    account.check()?;
    let hash = passwords.hash(account.password.clone()).await?;
    let work = async |mut tx: Tx| {
        db::users_lock(&mut tx).await?;
        let known = db::user_by_email(&mut tx, &forms(&account.email)).await?;
        if known.is_some() {
            return Ok((tx, None));
        }
        let user = insert(&mut tx, &account, &hash, Some(actor), now).await?;
        db::Result::Ok((tx, Some(user)))
    };
    db.transact(work).await?.ok_or(SignUpError::Taken)
}

/// Changes an administrator's password and ends all their sessions. False if there is no such
/// administrator.
pub async fn set_password(
    db: &Db,
    passwords: &Passwords,
    actor: &Actor,
    (email, password): (&str, String),
    now: DateTime<Utc>,
) -> Result<bool, SignUpError> {
    let password = checked_password(&password)?;
    let hash = passwords.hash(password).await?;
    let work = async |mut tx: Tx| {
        let Some((user, _)) = db::user_by_email(&mut tx, &forms(email)).await? else {
            return Ok((tx, false));
        };
        db::user_set_password(&mut tx, user.id, &hash, now).await?;
        db::sessions_delete_of(&mut tx, user.id).await?;
        keep(&mut tx, Some(actor), &user, "user.set_password", now).await?;
        db::Result::Ok((tx, true))
    };
    Ok(db.transact(work).await?)
}

/// Removes an administrator and ends their sessions. Returns how many administrators are left, or
/// `None` if none has this address.
pub async fn remove(
    db: &Db,
    actor: &Actor,
    email: &str,
    now: DateTime<Utc>,
) -> db::Result<Option<usize>> {
    let work = |mut tx: Tx| async move {
        db::users_lock(&mut tx).await?;
        let Some((user, _)) = db::user_by_email(&mut tx, &forms(email)).await? else {
            return Ok((tx, None));
        };
        db::user_delete(&mut tx, user.id).await?;
        keep(&mut tx, Some(actor), &user, "user.delete", now).await?;
        let left = db::users_list(&mut tx).await?.len();
        Ok((tx, Some(left)))
    };
    db.transact(work).await
}

async fn insert(
    tx: &mut Tx,
    account: &NewAccount,
    hash: &str,
    actor: Option<&Actor>,
    now: DateTime<Utc>,
) -> db::Result<User> {
    let user = User {
        id: UserId::new(now),
        name: account.name.clone(),
        email: account.email.clone(),
        created_at: now,
        updated_at: now,
    };
    db::user_insert(tx, &user, hash).await?;
    keep(tx, actor, &user, "user.create", now).await?;
    Ok(user)
}

/// Records a change of a user in the audit log. `actor` is None for users who change their own account.
pub(super) async fn keep(
    tx: &mut Tx,
    actor: Option<&Actor>,
    user: &User,
    action: &str,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let id = user.id.to_string();
    let own = Actor::User {
        id: user.id,
        email: user.email.clone(),
    };
    let told = json!({ "name": user.name, "email": user.email });
    let change = match action {
        "user.delete" => Change::deleted(told),
        _ => Change::created(told),
    };
    audit(
        tx,
        actor.unwrap_or(&own),
        action,
        ("user", &id),
        change,
        now,
    )
    .await
}

/// Starts a session if the password is right. Takes the same time whether or not the user exists.
pub async fn sign_in(
    db: &Db,
    passwords: &Passwords,
    (email, password): (&str, String),
    (client, remember): (Client, bool),
    now: DateTime<Utc>,
) -> Result<Session, SignInError> {
    let email = forms(email);
    // Longer passwords are not hashed, since hashing them costs work.
    let short = password.len() <= PASSWORD_BYTES;
    let password = if short { password } else { String::new() };
    let possible = short && !email.iter().any(|form| form.contains('\0'));
    let found = if possible {
        db::user_by_email(&mut *db.conn().await?, &email).await?
    } else {
        None
    };
    let (user, hash) = found.unzip();
    let right = passwords.check(&password, hash).await?;
    let user = user.filter(|_| right).ok_or(SignInError::Wrong)?;
    let work = async |mut tx: Tx| {
        let session = begin(&mut tx, user.clone(), client.clone(), remember, now).await?;
        db::Result::Ok((tx, session))
    };
    Ok(db.transact(work).await?)
}
