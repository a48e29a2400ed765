//! Choosing another password without the old one, by a link in a mail.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::user::{PasswordError, checked_password, forms, keep};
use super::{HashError, Passwords};
use crate::context::Context;
use crate::db::{self, Conn, Db, NewIdentity, Topic, Tx};
use crate::ingest;
use crate::mail;

/// How long the link works.
const LIFE: TimeDelta = TimeDelta::hours(1);
/// How long after one such mail the next goes out.
const APART: TimeDelta = TimeDelta::minutes(1);
/// What these mails are called in lists of mails.
const TEMPLATE: &str = "account.password-reset";

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Why no other password was chosen.
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

/// Sends the administrator of this address a link, where there is one. `link` makes the link of a
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

/// Writes the mail. Where there is nothing to send, nothing is committed.
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
    // People first, as everywhere.
    let Some(put) = ingest::put(&mut tx, &cx.catalog, &names, Default::default(), now).await?
    else {
        return Ok((None, ()));
    };
    let times = (now - APART, now, now + LIFE);
    if !db::reset_insert(&mut tx, &hash(token), user.id, times).await? {
        return Ok((None, ()));
    }
    let text = [
        format!(
            "Somebody, hopefully you, asked for another password for {}.",
            user.email
        ),
        format!("Choose it here within an hour: {link}"),
        "If it was not you, there is nothing to do: your password stays as it is.".to_owned(),
    ];
    let key = format!("reset-{}", hex::encode(hash(token)));
    let subject = "Choose another password";
    let send = mail::plain(cx, &put.contact, (TEMPLATE, key), (subject, &text), now);
    db::send_insert(&mut tx, &send, now).await?;
    keep(&mut tx, &user, "user.request_password_reset", None, now).await?;
    db::stir(Topic::Mails);
    Ok((Some(tx), ()))
}

/// Whether a link still works.
pub async fn reset_works(conn: &mut Conn, token: &str, now: DateTime<Utc>) -> db::Result<bool> {
    Ok(db::reset_find(conn, &hash(token), now).await?.is_some())
}

/// Gives the person of a link another password, and ends all their sessions. The link works once.
pub async fn reset_password(
    db: &Db,
    passwords: &Passwords,
    token: &str,
    password: &str,
    now: DateTime<Utc>,
) -> Result<(), ResetError> {
    let password = checked_password(password)?;
    // Before the hash: a wrong link costs little.
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
        keep(&mut tx, &user, "user.reset_password", None, now).await?;
        db::Result::Ok((Some(tx), true))
    };
    let done = db.transact(work).await?;
    if done { Ok(()) } else { Err(ResetError::Token) }
}
