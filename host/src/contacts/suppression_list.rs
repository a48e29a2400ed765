//! What administrators do to the suppression list.

use chrono::{DateTime, Utc};
use hogsend_semantics::address::normalise;
use serde_json::json;

use super::suppress::{lift, suppress, suppress_all, suppression_of};
use super::suppression_file::WORDS_MAX;
use crate::audit::{Actor, Change, Refused, audit};
use crate::context::Context;
use crate::db::{self, Conn, Suppression, Tx};
use crate::ids;
use crate::mailbox::Mailbox;

/// Addresses per transaction of an import.
const BATCH: usize = 1_000;

/// Adds an address, with an optional reason of at most [`WORDS_MAX`] characters. An address that is already
/// on the list keeps its first reason.
pub async fn add(
    cx: &Context,
    actor: &Actor,
    email: &str,
    reason: Option<&str>,
) -> Result<Suppression, Refused> {
    if normalise(email).is_none() {
        return Err(Refused::invalid("email", "must be an email address"));
    }
    if reason.is_some_and(|why| why.chars().count() > WORDS_MAX) {
        let message = format!("must have at most {WORDS_MAX} characters");
        return Err(Refused::invalid("reason", message));
    }
    let mailbox = cx.addresses.mailbox(email);
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        suppress(&mut tx, &mailbox, "manual", (None, reason), now).await?;
        let stored = suppression_of(&mut tx, &mailbox).await?;
        if let Some(stored) = &stored {
            let change = Change::created(json!({ "reason": stored.reason }));
            keep(&mut tx, actor, "suppression.create", stored, change, now).await?;
        }
        db::Result::Ok((tx, stored))
    };
    let stored = cx.db.transact(work).await?;
    stored.ok_or(Refused::Busy("The suppression was not stored"))
}

/// Removes an address, so that it gets mail again.
pub async fn remove(cx: &Context, actor: &Actor, email: &str) -> Result<(), Refused> {
    let mailbox = cx.addresses.mailbox(email);
    let now = cx.clock.now();
    let work = async |mut tx: Tx| {
        let was = lift(&mut tx, &mailbox).await?;
        let was = was.ok_or(Refused::NotFound("This address is not suppressed"))?;
        let change = Change::deleted(json!({ "reason": was.reason, "createdAt": was.created_at }));
        keep(&mut tx, actor, "suppression.delete", &was, change, now).await?;
        Ok::<_, Refused>((tx, ()))
    };
    cx.db.transact(work).await
}

/// Adds the mailboxes of a file, each with an optional reason. Returns how many were not suppressed before.
///
/// Each batch is a transaction with an audit row of its own, so an import that breaks off leaves rows for
/// what it did.
pub async fn import(
    cx: &Context,
    actor: &Actor,
    wanted: &[(Mailbox, Option<String>)],
) -> db::Result<usize> {
    let id = ids::at(cx.clock.now()).to_string();
    let mut added = 0;
    for batch in wanted.chunks(BATCH) {
        let now = cx.clock.now();
        let work = async |mut tx: Tx| {
            let added = suppress_all(&mut tx, batch, now).await?;
            let change = Change::created(json!({ "rows": batch.len(), "added": added }));
            let about = ("import", &*id);
            audit(&mut tx, actor, "suppression.import", about, change, now).await?;
            db::Result::Ok((tx, added))
        };
        added += cx.db.transact(work).await?;
    }
    Ok(added)
}

/// The audit log names a suppression by the hash of its address.
async fn keep(
    conn: &mut Conn,
    actor: &Actor,
    action: &str,
    suppression: &Suppression,
    change: Change,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let about = ("suppression", &*hex::encode(&suppression.hash));
    audit(conn, actor, action, about, change, now).await
}
