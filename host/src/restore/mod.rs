//! A database that was restored from a backup, copied or moved is noticed, and nothing is sent from it until an
//! operator has accepted it.
//!
//! A restored ledger does not know the mails of the time since the backup, and would send them again; a copy
//! for tests would mail people who are not its own. So the first worker in production keeps its address and
//! the identity of the database server in the row of the installation. A worker that starts with another
//! address, on another server, or with a ledger that is behind what it remembers or what providers report,
//! begins a pause of everything, during which no loop of any worker claims anything (`pauses/halt.rs`).
//!
//! In development nothing is kept, so nothing is compared until a database comes from production.

mod accept;
mod check;
mod doubt;
mod memory;
mod reports;

pub use accept::accept;
pub use check::{Standing, beat, examine, learn};
pub use memory::Memory;
pub use reports::{Ahead, ahead, reported};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The mark in the ids of this installation's mails since it was accepted last. Never 0.
fn mark_of(id: Uuid, epoch: i32) -> u32 {
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update(epoch.to_be_bytes());
    let digest = hash.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]).max(1)
}
