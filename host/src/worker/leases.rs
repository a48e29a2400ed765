//! Makes runs due whose lease comes from a clock ahead of this one: the machine's clock was set
//! back, and the worker that held them is gone. The claim of mails does the same for mails.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::periodic::{Left, Pass};
use crate::app::App;
use crate::db::{self, Tx};

pub(super) struct Leases {
    app: App,
    /// The last time seen. None at first: the clock may have been set back before this process
    /// began.
    seen: Mutex<Option<DateTime<Utc>>>,
}

impl Leases {
    pub(super) fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass for Leases {
    const NAME: &'static str = "leases";
    const EVERY: TimeDelta = TimeDelta::seconds(10);

    fn app(&self) -> &App {
        &self.app
    }

    /// Scans the runs only when the clock went back, because millions may be asleep.
    async fn pass(&self, _: &CancellationToken) -> db::Result<Left> {
        let now = self.app.clock.now();
        let went_on = self.seen().is_some_and(|seen| seen <= now);
        if !went_on {
            // Other workers may be configured with longer leases, but not this much longer.
            let longest = now + self.app.config.lease * 2;
            let work = async |mut tx: Tx| {
                let runs = db::states_after_clock_change(&mut tx, longest, now).await?;
                db::Result::Ok((tx, runs))
            };
            let runs = self.app.db.transact(work).await?;
            if runs > 0 {
                tracing::warn!(
                    runs,
                    "the clock was set back: runs claimed earlier are due again"
                );
            }
        }
        *self.seen() = Some(now);
        Ok(Left::Nothing)
    }
}
