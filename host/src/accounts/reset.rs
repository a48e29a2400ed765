//! Resetting a forgotten password by a link in a mail.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::user::{PasswordError, checked_password, forms, keep};
use super::{HashError, Passwords};
use crate::context::Context;
use crate::db::{self, Conn, Db, NewIdentity, Topic, Tx};
use crate::ingest;
use crate::mail;

/// How long the link is valid.
const LIFE: TimeDelta = TimeDelta::hours(1);
/// The minimum interval between two such mails.
const APART: TimeDelta = TimeDelta::minutes(1);
/// The template name of these mails in lists of mails.
const TEMPLATE: &str = "account.password-reset";

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Why a password was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    #[error("Invalid token")]
    Token,
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<HashError> for ResetError {
    fn from(error: HashError) -> Self {
        Self::Password(error.into())
    }
}

/// Sends a link to the administrator with this address, if there is one. `link` builds the link from a
/// token.
pub async fn send_reset(
    cx: &Context,
    email: &str,
    link: impl FnOnce(&str) -> String,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let forms = forms(email);
    if forms.iter().any(|form| form.contains('\0')) {
        return Ok(());
    }
    let random: [u8; 32] = rand::random();
    let token = URL_SAFE_NO_PAD.encode(random);
    let link = link(&token);
    let work = async |tx: Tx| write(cx, tx, &forms, (&token, &link), now).await;
    cx.db.transact(work).await
}

/// Queues the mail. If there is nothing to send, nothing is committed.
async fn write(
    cx: &Context,
    mut tx: Tx,
    forms: &[String; 2],
    (token, link): (&str, &str),
    now: DateTime<Utc>,
) -> db::Result<(Option<Tx>, ())> {
    let Some((user, _)) = db::user_by_email(&mut tx, forms).await? else {
        return Ok((None, ()));
    };
    let names = NewIdentity {
        external_id: None,
        email: Some(user.email.clone()),
        ..NewIdentity::default()
    };
    // Lock the contact first, as every transaction does.
    let Some(put) = ingest::put(&mut tx, &cx.catalog(), &names, Default::default(), now).await?
    else {
        return Ok((None, ()));
    };
    let times = (now - APART, now, now + LIFE);
    if !db::reset_insert(&mut tx, &hash(token), user.id, times).await? {
        return Ok((None, ()));
    }
    let text = [
        format!(
            "Someone, hopefully you, asked to reset the password for {}.",
            user.email
        ),
        format!("Choose a new password here within an hour: {link}"),
        "If it was not you, you do not need to do anything: your password is not changed."
            .to_owned(),
    ];
    let key = format!("reset-{}", hex::encode(hash(token)));
    let subject = "Reset your password";
    let send = mail::plain(cx, &put.contact, (TEMPLATE, key), (subject, &text), now);
    db::send_insert(&mut tx, &send, now).await?;
    keep(&mut tx, None, &user, "user.request_password_reset", now).await?;
    db::stir(Topic::Mails);
    Ok((Some(tx), ()))
}

/// Whether a link is still valid.
pub async fn reset_works(conn: &mut Conn, token: &str, now: DateTime<Utc>) -> db::Result<bool> {
    Ok(db::reset_find(conn, &hash(token), now).await?.is_some())
}

/// Changes the password of the link's user and ends all their sessions. The link works once.
pub async fn reset_password(
    db: &Db,
    passwords: &Passwords,
    token: &str,
    password: &str,
    now: DateTime<Utc>,
) -> Result<(), ResetError> {
    let password = checked_password(password)?;
    // Before hashing, so that an invalid link is cheap.
    if !reset_works(&mut *db.conn().await?, token, now).await? {
        return Err(ResetError::Token);
    }
    let hashed = passwords.hash(password).await?;
    let work = async |mut tx: Tx| {
        let Some(user) = db::reset_take(&mut tx, &hash(token), now).await? else {
            return Ok((None, false));
        };
        let Some((user, _)) = db::user_by_id(&mut tx, user).await? else {
            return Ok((None, false));
        };
        db::user_set_password(&mut tx, user.id, &hashed, now).await?;
        db::sessions_delete_of(&mut tx, user.id).await?;
        keep(&mut tx, None, &user, "user.reset_password", now).await?;
        db::Result::Ok((Some(tx), true))
    };
    let done = db.transact(work).await?;
    if done { Ok(()) } else { Err(ResetError::Token) }
}
