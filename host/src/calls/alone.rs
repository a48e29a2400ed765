//! Work that workers ended in twice is done while this process does nothing else of its kind, so
//! that a third end hits nobody else.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Ends of a worker after which an item is worked on alone.
const ALONE_AFTER: i16 = 2;

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Alone(RwLock<()>);

/// Held for as long as an item is worked on.
pub enum Turn<'a> {
    Shared(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Alone {
    /// Waits until an item may be worked on that so many workers ended in.
    pub async fn turn(&self, deaths: i16) -> Turn<'_> {
        if deaths >= ALONE_AFTER {
            Turn::Alone(self.0.write().await)
        } else {
            Turn::Shared(self.0.read().await)
        }
    }
}
