//! Waiting.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::step;
use crate::replay::{Replay, StepHandle};

/// Inputs of a `sleep` step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SleepArgs {
    pub ms: u64,
}

/// A wait for a duration.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep(StepHandle);

impl Sleep {
    pub(super) fn new(replay: &Replay, duration: std::time::Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(replay.step(step::SLEEP, json!(SleepArgs { ms })))
    }

    /// Names the wait for people who look at the run.
    pub fn label(self, label: &str) -> Self {
        Self(self.0.label(label))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A wait has no way to fail; its result carries nothing.
        let _ = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(())
    }
}
