//! Waiting for an event.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::sleep::millis;
use super::{Condition, step};
use crate::Properties;
use crate::Trust;
use crate::replay::{Replay, StepHandle};

/// Inputs of a `wait_for` step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitForArgs {
    pub event: String,
    #[serde(default, rename = "where")]
    pub condition: Option<Condition>,
    /// Milliseconds.
    pub timeout_ms: u64,
    /// Milliseconds before the wait began that count too.
    #[serde(default)]
    pub lookback_ms: u64,
}

/// Something this person did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    pub name: String,
    #[serde(default)]
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
    /// The host's own id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Whether its source is believed; absent where it is.
    #[serde(default, skip_serializing_if = "is_believed")]
    pub trust: Trust,
}

fn is_believed(trust: &Trust) -> bool {
    trust.is_trusted()
}

impl Occurrence {
    /// A text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// How a wait ended; the result of a `wait_for` step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waited {
    Event(Occurrence),
    TimedOut,
}

impl Waited {
    /// The event, where one came.
    pub fn event(self) -> Option<Occurrence> {
        match self {
            Self::Event(event) => Some(event),
            Self::TimedOut => None,
        }
    }
}

/// A wait that has no time limit yet, and so cannot be awaited.
///
/// ```compile_fail,E0277
/// # use hogsend_plugin_api::journey::{self, Ctx, User};
/// async fn endless(_: User, ctx: Ctx) -> journey::Result {
///     ctx.wait_for("subscription.created").await;
///     Ok(())
/// }
/// ```
#[must_use = "say how long: `.timeout(days(4))`"]
pub struct WaitFor(StepHandle);

impl WaitFor {
    pub(super) fn new(replay: &Replay, event: &str) -> Self {
        Self(replay.step(step::WAIT_FOR, json!({ "event": event })))
    }

    /// What the event has to satisfy.
    #[track_caller]
    pub fn where_(self, condition: Condition) -> Self {
        Self(self.0.set("where", json!(condition)))
    }

    /// Events from before the wait count too, where they are at most this old.
    #[track_caller]
    pub fn lookback(self, age: Duration) -> Self {
        Self(self.0.set("lookback_ms", millis(age)))
    }

    /// How long to wait.
    #[track_caller]
    pub fn timeout(self, limit: Duration) -> Wait {
        Wait(self.0.set("timeout_ms", millis(limit)))
    }
}

/// A wait for an event of this person, from now on or from the lookback on.
#[must_use = "a wait does nothing until it is awaited"]
pub struct Wait(StepHandle);

impl Wait {
    /// What the event has to satisfy.
    #[track_caller]
    pub fn where_(self, condition: Condition) -> Self {
        Self(self.0.set("where", json!(condition)))
    }

    /// Events from before the wait count too, where they are at most this old.
    #[track_caller]
    pub fn lookback(self, age: Duration) -> Self {
        Self(self.0.set("lookback_ms", millis(age)))
    }

    /// Names the wait for people who look at the run.
    pub fn label(self, label: &str) -> Self {
        Self(self.0.label(label))
    }
}

impl Future for Wait {
    type Output = Waited;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or(Value::Null);
        // Nothing but an event ends a wait early.
        Poll::Ready(serde_json::from_value(value).unwrap_or(Waited::TimedOut))
    }
}
