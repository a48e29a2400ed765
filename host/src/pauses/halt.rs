//! Whether all background work stands still, because the database was restored or copied.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::db::{self, Db};

/// How long an answer counts, so that busy loops do not ask for each claim.
const COUNTS: Duration = Duration::from_secs(1);

/// What every loop asks before it claims anything.
#[derive(Debug, Default)]
pub struct Halt {
    seen: Mutex<Option<(Instant, bool)>>,
}

impl Halt {
    /// Whether nothing may be claimed, as of a second ago at most.
    pub async fn lasts(&self, db: &Db) -> db::Result<bool> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Some((at, lasts)) if at.elapsed() < COUNTS => Ok(lasts),
            _ => self.look(db).await,
        }
    }

    /// The same, as of now.
    pub async fn look(&self, db: &Db) -> db::Result<bool> {
        let lasts = db::pause_restored_lasts(&mut *db.conn().await?).await?;
        let now = Some((Instant::now(), lasts));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(lasts)
    }
}
