//! Looking back at what a person did.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::step;
use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// Questions about this person's past.
pub struct History(Replay);

impl History {
    pub(super) fn new(replay: &Replay) -> Self {
        Self(replay.clone())
    }

    pub(super) fn replay(&self) -> &Replay {
        &self.0
    }
}

/// Inputs of a `history.has_event` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HasEventArgs {
    pub event: String,
    /// Only events at most this many milliseconds old count.
    #[serde(default)]
    pub within_ms: Option<u64>,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrences {
    pub found: bool,
    pub count: u64,
    /// When it last happened.
    #[serde(default)]
    pub last_at: Option<DateTime<Utc>>,
}

/// A question whether an event happened.
#[must_use = "a question is not asked until it is awaited"]
pub struct HasEvent(StepHandle);

impl HasEvent {
    pub(super) fn new(replay: &Replay, name: &str) -> Self {
        Self(replay.step(step::HAS_EVENT, json!({ "event": name })))
    }

    /// Only events at most this old count.
    #[track_caller]
    pub fn within(self, age: std::time::Duration) -> Self {
        let ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.set("within_ms", ms))
    }
}

impl Future for HasEvent {
    type Output = Result<Occurrences, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(value.and_then(super::advance::typed))
    }
}
