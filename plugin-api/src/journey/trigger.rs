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
pub struct TriggerArgs {
    pub event: String,
    /// The product's id of somebody else; the person of the run where it is left out.
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    pub properties: Properties,
}

/// An event on its way in. Fails with `trigger_too_deep` at the 16th journey of a chain that
/// trigger each other.
#[must_use = "an event is not triggered until the trigger is awaited"]
pub struct Trigger(StepHandle);

impl Trigger {
    pub(super) fn new(replay: &Replay, event: &str) -> Self {
        Self(replay.step(step::TRIGGER, json!({ "event": event })))
    }

    /// An event property.
    #[track_caller]
    pub fn prop(self, name: &str, value: impl Into<Value>) -> Self {
        Self(self.0.edit(|args| args["properties"][name] = value.into()))
    }

    /// Somebody else, by the product's id; made a contact where nobody has it.
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
