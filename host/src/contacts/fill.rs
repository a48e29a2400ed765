//! Fills in the normalised address of contacts that an earlier version wrote. Until then they are found
//! by the lower-case address.

use crate::context::Context;
use crate::db::{self, Tx};

/// Rows of one transaction.
const BATCH: i64 = 500;

/// Fills in one batch. Returns the number of contacts in it.
pub async fn fill_addresses(cx: &Context) -> db::Result<usize> {
    let (rows, shared) = cx.db.transact(fill).await?;
    if shared > 0 {
        tracing::warn!(
            addresses = shared,
            "several contacts without a product id share an address: the next event with that \
             address merges them"
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
