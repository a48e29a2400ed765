//! Waiting for a time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::step;
use crate::replay::{Replay, StepHandle};

/// Inputs of a `sleep` step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SleepArgs {
    /// How long to wait, in milliseconds.
    pub ms: u64,
}

/// Inputs of a `sleep_until` step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SleepUntilArgs {
    /// When the wait ends.
    pub at: DateTime<Utc>,
}

/// A wait for a duration, or until an instant.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep(StepHandle);

impl Sleep {
    pub(super) fn new(replay: &Replay, duration: std::time::Duration) -> Self {
        let ms = millis(duration);
        Self(replay.step(step::SLEEP, json!(SleepArgs { ms })))
    }

    pub(super) fn until(replay: &Replay, at: DateTime<Utc>) -> Self {
        Self(replay.step(step::SLEEP_UNTIL, json!(SleepUntilArgs { at })))
    }

    /// Labels the wait for people who look at the run.
    pub fn label(self, label: &str) -> Self {
        Self(self.0.label(label))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A sleep cannot fail, and its result holds nothing.
        let _ = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(())
    }
}

/// Whole milliseconds, capped at `u64::MAX` (half a billion years).
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
