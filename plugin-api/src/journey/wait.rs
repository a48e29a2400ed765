//! Waiting for an event.

use std::marker::PhantomData;
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
use crate::step::StepError;

/// Inputs of a `wait_for` step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitForArgs {
    /// The event's name.
    pub event: String,
    /// What the event must satisfy.
    #[serde(default, rename = "where")]
    pub condition: Option<Condition>,
    /// How long to wait, in milliseconds.
    pub timeout_ms: u64,
    /// Events from this many milliseconds before the wait count as well.
    #[serde(default)]
    pub lookback_ms: u64,
}

/// An event of this person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Occurrence {
    /// The event's name.
    pub name: String,
    /// The event's properties.
    #[serde(default)]
    pub properties: Properties,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The host's own id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Whether its source is trusted; not serialized where it is.
    #[serde(default, skip_serializing_if = "is_trusted")]
    pub trust: Trust,
}

fn is_trusted(trust: &Trust) -> bool {
    trust.is_trusted()
}

impl Occurrence {
    /// An event of a trusted source, without an id.
    pub fn new(
        name: impl Into<String>,
        properties: Properties,
        occurred_at: DateTime<Utc>,
    ) -> Self {
        Self {
            name: name.into(),
            properties,
            occurred_at,
            id: None,
            trust: Trust::Trusted,
        }
    }

    /// A property, where it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// How a wait ended; the result of a `wait_for` step. There will be no third way, so that a journey can
/// match both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waited {
    /// This event arrived.
    Event(Occurrence),
    /// The timeout passed without the event.
    TimedOut,
}

impl Waited {
    /// The event, where one arrived.
    pub fn event(self) -> Option<Occurrence> {
        match self {
            Self::Event(event) => Some(event),
            Self::TimedOut => None,
        }
    }
}

/// A wait without a timeout. It cannot be awaited before [`timeout`](WaitFor::timeout) is called.
///
/// This does not compile, and the error says what is missing:
///
/// ```compile_fail,E0277
/// # use hogsend_plugin_api::journey::{self, Ctx, User};
/// async fn endless(_: User, ctx: Ctx) -> journey::Result {
///     ctx.wait_for("subscription.created").await;
///     Ok(())
/// }
/// ```
#[must_use = "say how long: `.timeout(days(4))`"]
pub struct WaitFor<L = Unlimited>(StepHandle, PhantomData<L>);

/// The wait has no timeout yet.
pub struct Unlimited;

/// A wait that can be awaited. Nothing implements it: [`WaitFor::timeout`] makes a [`Wait`].
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this wait has no limit: say how long, `.timeout(days(4))`",
    label = "waits without a limit",
    note = "an event that never comes would keep the run, and the person in the journey, for ever"
)]
pub trait Limited {}

/// Only for the error message of a wait without a limit.
impl<L: Limited + Unpin> Future for WaitFor<L> {
    type Output = Waited;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited> {
        Poll::Ready(waited(ready!(Pin::new(&mut self.0).poll(cx))))
    }
}

impl WaitFor {
    pub(super) fn new(replay: &Replay, event: &str) -> Self {
        let step = replay.step(step::WAIT_FOR, json!({ "event": event }));
        Self(step, PhantomData)
    }

    /// A condition the event must satisfy.
    #[track_caller]
    pub fn where_(self, condition: Condition) -> Self {
        Self(self.0.set("where", json!(condition)), PhantomData)
    }

    /// Events from before the wait count as well, if they are at most this old.
    #[track_caller]
    pub fn lookback(self, age: Duration) -> Self {
        Self(self.0.set("lookback_ms", millis(age)), PhantomData)
    }

    /// How long to wait at most.
    #[track_caller]
    pub fn timeout(self, limit: Duration) -> Wait {
        Wait(self.0.set("timeout_ms", millis(limit)))
    }
}

/// A wait for an event of this person. Resolves to [`Waited`]. Events count from the start of the
/// wait, or from the lookback before it.
#[must_use = "a wait does nothing until it is awaited"]
pub struct Wait(StepHandle);

impl Wait {
    /// A condition the event must satisfy.
    #[track_caller]
    pub fn where_(self, condition: Condition) -> Self {
        Self(self.0.set("where", json!(condition)))
    }

    /// Events from before the wait count as well, if they are at most this old.
    #[track_caller]
    pub fn lookback(self, age: Duration) -> Self {
        Self(self.0.set("lookback_ms", millis(age)))
    }

    /// Labels the wait for people who look at the run.
    pub fn label(self, label: &str) -> Self {
        Self(self.0.label(label))
    }
}

impl Future for Wait {
    type Output = Waited;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(waited(ready!(Pin::new(&mut self.0).poll(cx))))
    }
}

/// Only an event ends a wait before its timeout.
fn waited(result: Result<Value, StepError>) -> Waited {
    let value = result.unwrap_or(Value::Null);
    serde_json::from_value(value).unwrap_or(Waited::TimedOut)
}
