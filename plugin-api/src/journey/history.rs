//! Queries about a person's past.

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

/// Queries about this person's past events, runs and mails.
pub struct History(pub(super) Replay);

impl History {
    /// Whether this event happened, and how often.
    pub fn has_event(&self, name: &str) -> HasEvent {
        HasEvent(self.0.step(step::HAS_EVENT, json!({ "event": name })))
    }

    /// The person's events with this name: the newest 100, newest first.
    pub fn events(&self, name: &str) -> Events {
        Events(self.0.step(step::EVENTS, json!({ "event": name })))
    }

    /// This person's runs of a journey.
    pub fn journey(&self, id: &str) -> Asked<JourneyPast> {
        Asked::new(&self.0, step::JOURNEY, json!({ "journey": id }))
    }

    /// The mails of a template to this person.
    pub fn email(&self, template: &str) -> Asked<EmailPast> {
        Asked::new(&self.0, step::EMAIL, json!({ "template": template }))
    }
}

/// Inputs of the steps `history.has_event` and `history.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HasEventArgs {
    /// The event's name.
    pub event: String,
    /// Only events at most this many milliseconds old count.
    #[serde(default)]
    pub within_ms: Option<u64>,
}

/// Inputs of a `history.journey` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JourneyPastArgs {
    /// The journey's id.
    pub journey: String,
}

/// Inputs of a `history.email` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmailPastArgs {
    /// The template's key.
    pub template: String,
}

/// How often an event happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Occurrences {
    /// Whether it happened at all.
    pub found: bool,
    /// How often it happened.
    pub count: u64,
    /// When it last happened.
    #[serde(default)]
    pub last_at: Option<DateTime<Utc>>,
}

impl Occurrences {
    /// It happened so often, and last at this time.
    pub fn new(count: u64, last_at: Option<DateTime<Utc>>) -> Self {
        Self {
            found: count > 0,
            count,
            last_at,
        }
    }
}

/// A person's runs of one journey. They include the run that asks, if it is of this journey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JourneyPast {
    /// How often the person entered.
    pub entered: u64,
    /// How many runs completed.
    pub completed: u64,
    /// Whether a run is active.
    pub active: bool,
    /// When the person last entered.
    #[serde(default)]
    pub last_entered_at: Option<DateTime<Utc>>,
}

/// The mails of one template to one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmailPast {
    /// How many a provider accepted.
    pub sent: u64,
    /// When a provider last accepted one.
    #[serde(default)]
    pub last_sent_at: Option<DateTime<Utc>>,
    /// Whether the person opened one. Opens by programs do not count where they are recognized.
    pub opened: bool,
    /// Whether the person followed a link in one. The same rule applies.
    pub clicked: bool,
}

/// A query for whether an event happened. Resolves to [`Occurrences`].
#[must_use = "a query does not run until it is awaited"]
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

/// A query for the events that happened. Resolves to [`Occurrence`]s, newest first.
#[must_use = "a query does not run until it is awaited"]
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
