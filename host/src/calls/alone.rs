//! An item in whose plugin call workers died twice is processed exclusively, so that a third death
//! affects no other item.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Worker deaths after which an item is processed exclusively.
const ALONE_AFTER: i16 = 2;

/// Makes exclusive items wait for all others, and the others for them.
#[derive(Debug, Default)]
pub struct Alone(RwLock<()>);

/// Held while an item is processed.
pub enum Turn<'a> {
    Shared(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Alone {
    /// Waits until an item with this many worker deaths may be processed.
    pub async fn turn(&self, deaths: i16) -> Turn<'_> {
        if deaths >= ALONE_AFTER {
            Turn::Alone(self.0.write().await)
        } else {
            Turn::Shared(self.0.read().await)
        }
    }
}
