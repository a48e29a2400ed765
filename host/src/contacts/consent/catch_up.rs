//! Brings rows of versions before mailbox consent up to date: opt-outs stored for contacts only, and
//! suppressions without the normalised address.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hogsend_semantics::address::comparable;

use crate::context::Context;
use crate::db::{self, ConsentDelta, Tx};

/// Rows of one transaction.
const BATCH: i64 = 500;

/// Updates one batch of old rows. Returns the number of rows in it.
pub async fn catch_up(cx: &Context) -> db::Result<usize> {
    Ok(opt_outs(cx).await? + suppressions(cx).await?)
}

/// Copies a batch of opt-outs of contacts to their mailboxes. A row applies before it is copied too,
/// because the preferences of contact and mailbox are always read together.
async fn opt_outs(cx: &Context) -> db::Result<usize> {
    let now = cx.clock.now();
    cx.db.transact(|tx| copy_opt_outs(cx, tx, now)).await
}

async fn copy_opt_outs(cx: &Context, mut tx: Tx, now: DateTime<Utc>) -> db::Result<(Tx, usize)> {
    let due = db::preferences_not_copied(&mut tx, BATCH).await?;
    if due.is_empty() {
        return Ok((tx, 0));
    }
    let mut mailboxes: BTreeMap<String, db::Preferences> = BTreeMap::new();
    for row in &due {
        let refused = row.wants.refusals();
        let Some(email) = &row.email else { continue };
        if refused == db::Preferences::default() {
            continue;
        }
        let known = mailboxes.entry(cx.addresses.mailbox(email).key());
        let known = known.or_default();
        *known = known.stricter(&refused);
    }
    let changes: Vec<(String, ConsentDelta)> = mailboxes
        .into_iter()
        .map(|(mailbox, wants)| {
            let delta = ConsentDelta {
                unsubscribed_all: wants.unsubscribed_all.then_some(true),
                set: wants.categories,
                unset: Vec::new(),
            };
            (mailbox, delta)
        })
        .collect();
    db::mailboxes_change(&mut tx, &changes, now).await?;
    tracing::debug!(
        rows = due.len(),
        "copied opt-outs of contacts to their mailboxes"
    );
    Ok((tx, due.len()))
}

/// Gives a batch of suppressions their normalised address. Until then they apply by their hashes.
async fn suppressions(cx: &Context) -> db::Result<usize> {
    cx.db.transact(address_suppressions).await
}

async fn address_suppressions(mut tx: Tx) -> db::Result<(Tx, usize)> {
    let due = db::suppressions_unaddressed(&mut tx, BATCH).await?;
    if due.is_empty() {
        return Ok((tx, 0));
    }
    let rows: Vec<_> = due
        .into_iter()
        .map(|(hash, email)| (hash, comparable(&email)))
        .collect();
    db::suppressions_address(&mut tx, &rows).await?;
    Ok((tx, rows.len()))
}
