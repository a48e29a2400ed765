//! Brings consent, suppressions and addresses that a version before wrote up to date. Until then they
//! hold all the same, so nobody has to call this loop.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::Work;
use crate::app::App;
use crate::contacts::consent::catch_up;
use crate::contacts::fill_addresses;
use crate::db::{self, Topic};

/// How often it is looked for: a version before may still write during a deployment.
const EVERY: TimeDelta = TimeDelta::seconds(30);

pub(super) struct CatchUp {
    app: App,
    /// When to look again. None at first.
    next: Mutex<Option<DateTime<Utc>>>,
}

impl CatchUp {
    pub(super) fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            next: Mutex::default(),
        }
    }

    fn next(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for CatchUp {
    type Item = ();
    type Ticket = ();

    const NAME: &'static str = "consent";
    const TOPIC: Option<Topic> = None;
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        1
    }

    async fn claim(&self, _: usize) -> db::Result<Vec<()>> {
        let now = self.app.clock.now();
        let mut next = self.next();
        // A clock that was set back must not keep it waiting.
        if next.is_some_and(|next| now < next && next - now <= EVERY) {
            return Ok(Vec::new());
        }
        *next = Some(now + EVERY);
        Ok(vec![()])
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        Ok(*self.next())
    }

    /// One batch. Where there was one, there may be more.
    async fn perform(&self, (): (), _: &CancellationToken) -> db::Result<()> {
        if catch_up(&self.app).await? + fill_addresses(&self.app).await? > 0 {
            *self.next() = None;
        }
        Ok(())
    }

    fn ticket((): &()) {}

    async fn give_back(&self, _: Vec<()>) -> db::Result<()> {
        Ok(())
    }
}
