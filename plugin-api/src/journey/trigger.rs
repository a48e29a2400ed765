//! Ingesting an event from inside a journey.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::step;
use crate::Properties;
use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// Inputs of a `trigger` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TriggerArgs {
    /// The event's name.
    pub event: String,
    /// The product's own id of another person; `None` for the person of the run.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The event's properties.
    #[serde(default)]
    pub properties: Properties,
}

/// An event to ingest. Awaiting it fails with `trigger_too_deep` at the 16th journey of a chain of
/// journeys that trigger each other.
#[must_use = "an event is not triggered until the trigger is awaited"]
pub struct Trigger(StepHandle);

impl Trigger {
    pub(super) fn new(replay: &Replay, event: &str) -> Self {
        Self(replay.step(step::TRIGGER, json!({ "event": event })))
    }

    /// Sets a property of the event.
    #[track_caller]
    pub fn prop(self, name: &str, value: impl Into<Value>) -> Self {
        Self(self.0.edit(|args| args["properties"][name] = value.into()))
    }

    /// Ingests the event for another person, by the product's own id. The host creates a contact
    /// where none has this id.
    #[track_caller]
    pub fn for_user(self, user_id: &str) -> Self {
        Self(self.0.set("user_id", user_id))
    }
}

impl Future for Trigger {
    type Output = Result<(), StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).map(|_| ()))
    }
}
