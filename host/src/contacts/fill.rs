//! Addresses that a version before wrote, brought into their normal form. Until then they are found by
//! lower case.

use crate::context::Context;
use crate::db::{self, Tx};

/// Rows of one transaction.
const BATCH: i64 = 500;

/// Fills a batch in. Returns how many contacts there were.
pub async fn fill_addresses(cx: &Context) -> db::Result<usize> {
    let (rows, shared) = cx.db.transact(fill).await?;
    if shared > 0 {
        tracing::warn!(
            addresses = shared,
            "several contacts without an id of the product have one address: the next event that \
             names it makes one contact of them"
        );
    }
    cx.loops.shared_addresses(shared);
    Ok(rows)
}

async fn fill(mut tx: Tx) -> db::Result<(Tx, (usize, i64))> {
    let due = db::contacts_not_addressed(&mut tx, BATCH).await?;
    if due.is_empty() {
        return Ok((tx, (0, 0)));
    }
    let shared = db::contacts_address(&mut tx, &due).await?;
    Ok((tx, (due.len(), shared)))
}
