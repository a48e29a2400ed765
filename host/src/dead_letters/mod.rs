//! Dead letters: runs, mails, webhook deliveries and captures that failed for good. An administrator
//! retries or dismisses them.

use serde_json::json;
use uuid::Uuid;

use crate::audit::{Actor, Change, audit};
use crate::context::Context;
use crate::db::{self, Conn, DeadLetter, Failure, Topic, Tx};
use crate::ids::{SendId, StateId};
use crate::mail;
use crate::runs::decide::{self, AdminError};
use crate::states::{DeadLetterKind, DeadLetterState};

/// Why a dead letter was not changed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// There is no such dead letter, or it was retried or dismissed before.
    #[error("there is no dead letter {0}")]
    NotFound(Uuid),
    /// It cannot be changed now; the text says why.
    #[error("{0}")]
    Conflict(String),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Failure for DeadLetterError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

impl From<AdminError> for DeadLetterError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound(run) => Self::NotFound(run.0),
            AdminError::Conflict(why) => Self::Conflict(why),
            AdminError::Database(error) => Self::Database(error),
        }
    }
}

type Result<T = ()> = std::result::Result<T, DeadLetterError>;

/// Retries a dead letter: continues the run, sends the mail again as a new one, or queues the delivery
/// or capture again under its id. Returns the id of the new mail, if it is a mail.
pub async fn retry(cx: &Context, actor: &Actor, id: Uuid) -> Result<Option<SendId>> {
    let work = async |mut tx: Tx| {
        let new_mail = retry_in(cx, &mut tx, actor, id).await?;
        Ok((tx, new_mail))
    };
    cx.db.transact(work).await
}

async fn retry_in(cx: &Context, tx: &mut Tx, actor: &Actor, id: Uuid) -> Result<Option<SendId>> {
    let now = cx.clock.now();
    let letter = find(tx, id).await?;
    let mut new_mail = None;
    let topic = match letter.kind {
        DeadLetterKind::Email => {
            new_mail = Some(send_again(cx, tx, id).await?);
            Topic::Mails
        }
        DeadLetterKind::Webhook => {
            require(id, db::delivery_retry(tx, id, now).await?)?;
            Topic::Webhooks
        }
        DeadLetterKind::Analytics => {
            require(id, db::capture_again(tx, id, now).await?)?;
            Topic::Captures
        }
        DeadLetterKind::Journey => {
            match letter.status {
                DeadLetterState::Stuck => decide::resume_in(cx, tx, StateId(id)).await?,
                _ => decide::retry_in(cx, tx, StateId(id)).await?,
            }
            Topic::Runs
        }
    };
    let change = Change::created(json!({ "type": letter.kind, "emailSendId": new_mail }));
    let about = ("dead_letter", &*id.to_string());
    audit(tx, actor, "dead_letter.retry", about, change, now).await?;
    db::stir(topic);
    Ok(new_mail)
}

/// Dismisses a dead letter: it leaves the list and keeps its status.
pub async fn dismiss(cx: &Context, actor: &Actor, id: Uuid) -> Result {
    let work = async |mut tx: Tx| {
        dismiss_in(cx, &mut tx, actor, id).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

async fn dismiss_in(cx: &Context, tx: &mut Tx, actor: &Actor, id: Uuid) -> Result {
    let now = cx.clock.now();
    let letter = find(tx, id).await?;
    match letter.kind {
        DeadLetterKind::Email => require(id, db::send_dismiss(tx, SendId(id), now).await?)?,
        DeadLetterKind::Webhook => require(id, db::delivery_dismiss(tx, id, now).await?)?,
        DeadLetterKind::Analytics => require(id, db::capture_dismiss(tx, id).await?)?,
        DeadLetterKind::Journey => decide::dismiss_in(cx, tx, StateId(id)).await?,
    }
    let change = Change::deleted(json!({ "type": letter.kind, "status": letter.status }));
    let about = ("dead_letter", &*id.to_string());
    audit(tx, actor, "dead_letter.dismiss", about, change, now).await?;
    Ok(())
}

/// Sends a mail again as a new one, and dismisses the old one.
async fn send_again(cx: &Context, tx: &mut Tx, id: Uuid) -> Result<SendId> {
    let now = cx.clock.now();
    require(id, db::send_dismiss(tx, SendId(id), now).await?)?;
    let story = db::send_story(tx, SendId(id)).await?;
    let story = story.ok_or(DeadLetterError::NotFound(id))?;
    let new_mail = mail::send_again(tx, (&cx.links, &cx.addresses), &story, now).await?;
    new_mail
        .ok_or_else(|| DeadLetterError::Conflict("The content of this mail was deleted".to_owned()))
}

async fn find(conn: &mut Conn, id: Uuid) -> Result<DeadLetter> {
    let letters = db::dead_letters(conn, None, Some(id), 1, 0).await?;
    let letter = letters.into_iter().next();
    letter.ok_or(DeadLetterError::NotFound(id))
}

/// `changed` is false if a concurrent request retried or dismissed the letter first.
fn require(id: Uuid, changed: bool) -> Result {
    if changed {
        Ok(())
    } else {
        Err(DeadLetterError::NotFound(id))
    }
}
