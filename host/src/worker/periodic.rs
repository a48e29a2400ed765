//! Periodic work, without a queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::Work;
use crate::app::App;
use crate::db::{self, Topic};

/// Work done at an interval.
pub(super) trait Pass: Send + Sync + 'static {
    /// Its name in the log and in health.
    const NAME: &'static str;
    /// From the start of one pass to the start of the next.
    const EVERY: TimeDelta;

    fn app(&self) -> &App;

    /// Makes one pass.
    fn pass(&self, stop: &CancellationToken) -> impl Future<Output = db::Result<Left>> + Send;
}

/// Result of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// There may be more, so the next pass starts at once.
    Perhaps,
}

/// Runs a [`Pass`] as [`Work`] of the polling loop.
pub(super) struct Periodic<P> {
    pass: P,
    /// When the last pass started. None where the next one is due.
    last: Mutex<Option<DateTime<Utc>>>,
}

impl<P: Pass> Periodic<P> {
    pub(super) fn new(pass: P) -> Self {
        Self {
            pass,
            last: Mutex::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a pass is due. A clock that was set back must not delay it.
fn is_due(last: Option<DateTime<Utc>>, every: TimeDelta, now: DateTime<Utc>) -> bool {
    last.is_none_or(|last| now < last || now >= last + every)
}

impl<P: Pass> Work for Periodic<P> {
    type Item = ();
    type Ticket = ();

    const NAME: &'static str = P::NAME;
    const TOPIC: Option<Topic> = None;
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        self.pass.app()
    }

    fn places(&self) -> usize {
        1
    }

    async fn claim(&self, _: usize) -> db::Result<Vec<()>> {
        let now = self.app().clock.now();
        let mut last = self.last();
        if !is_due(*last, P::EVERY, now) {
            return Ok(Vec::new());
        }
        *last = Some(now);
        Ok(vec![()])
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        Ok(self.last().map(|last| last + P::EVERY))
    }

    async fn perform(&self, (): (), stop: &CancellationToken) -> db::Result<()> {
        if self.pass.pass(stop).await? == Left::Perhaps {
            *self.last() = None;
        }
        Ok(())
    }

    fn ticket((): &()) {}

    async fn give_back(&self, _: Vec<()>) -> db::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::is_due;

    #[test]
    fn a_pass_is_due_after_its_interval_and_when_the_clock_was_set_back() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let every = TimeDelta::seconds(30);
        assert!(is_due(None, every, at(100)));
        let due = |second| is_due(Some(at(100)), every, at(second));
        assert_eq!(
            [99, 100, 129, 130].map(due),
            [true, false, false, true],
            "from 100 on, every 30 seconds"
        );
    }
}
