//! Looking back at what a person did.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sleep::millis;
use super::{Asked, Occurrence, step};
use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// Questions about this person's past.
pub struct History(pub(super) Replay);

impl History {
    /// Whether the person did this, and how often.
    pub fn has_event(&self, name: &str) -> HasEvent {
        HasEvent(self.0.step(step::HAS_EVENT, json!({ "event": name })))
    }

    /// What the person did under this name, newest first, at most 100 events.
    pub fn events(&self, name: &str) -> Events {
        Events(self.0.step(step::EVENTS, json!({ "event": name })))
    }

    /// How this person fared in a journey.
    pub fn journey(&self, id: &str) -> Asked<JourneyPast> {
        Asked::new(&self.0, step::JOURNEY, json!({ "journey": id }))
    }

    /// What became of the mails of a template to this person.
    pub fn email(&self, template: &str) -> Asked<EmailPast> {
        Asked::new(&self.0, step::EMAIL, json!({ "template": template }))
    }
}

/// Inputs of the steps `history.has_event` and `history.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HasEventArgs {
    pub event: String,
    /// Only events at most this many milliseconds old count.
    #[serde(default)]
    pub within_ms: Option<u64>,
}

/// Inputs of a `history.journey` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JourneyPastArgs {
    pub journey: String,
}

/// Inputs of a `history.email` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailPastArgs {
    pub template: String,
}

/// How often something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrences {
    pub found: bool,
    pub count: u64,
    /// When it last happened.
    #[serde(default)]
    pub last_at: Option<DateTime<Utc>>,
}

/// A person's runs of one journey. The run that asks counts, where it is of this journey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JourneyPast {
    /// How often the person entered.
    pub entered: u64,
    pub completed: u64,
    /// Whether a run is under way.
    pub active: bool,
    #[serde(default)]
    pub last_entered_at: Option<DateTime<Utc>>,
}

/// The mails of one template to one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailPast {
    /// How many a provider has taken.
    pub sent: u64,
    #[serde(default)]
    pub last_sent_at: Option<DateTime<Utc>>,
    /// Whether one was opened by a person, as far as can be told.
    pub opened: bool,
    pub clicked: bool,
}

/// A question whether an event happened.
#[must_use = "a question is not asked until it is awaited"]
pub struct HasEvent(StepHandle);

impl HasEvent {
    /// Only events at most this old count.
    #[track_caller]
    pub fn within(self, age: Duration) -> Self {
        Self(self.0.set("within_ms", millis(age)))
    }
}

impl Future for HasEvent {
    type Output = Result<Occurrences, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(value.and_then(super::advance::typed))
    }
}

/// A question which events happened.
#[must_use = "a question is not asked until it is awaited"]
pub struct Events(StepHandle);

impl Events {
    /// Only events at most this old count.
    #[track_caller]
    pub fn within(self, age: Duration) -> Self {
        Self(self.0.set("within_ms", millis(age)))
    }
}

impl Future for Events {
    type Output = Result<Vec<Occurrence>, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(value.and_then(super::advance::typed))
    }
}
