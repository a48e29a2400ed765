//! What a journey works with.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{HasEvent, History, Send, Sleep, Trigger};
use crate::Properties;
use crate::replay::Replay;

/// Kinds of journey steps, as they stand in [`Command::kind`](crate::Command::kind).
pub mod step {
    /// [`SleepArgs`](super::super::SleepArgs) → null, when the time has come.
    pub const SLEEP: &str = "sleep";
    /// [`SendArgs`](super::super::SendArgs) → [`Sent`](super::super::Sent).
    pub const SEND: &str = "send";
    /// [`TriggerArgs`](super::super::TriggerArgs) → null.
    pub const TRIGGER: &str = "trigger";
    /// [`HasEventArgs`](super::super::HasEventArgs) → [`Occurrences`](super::super::Occurrences).
    pub const HAS_EVENT: &str = "history.has_event";
    /// `{label}`; noted, never waited on.
    pub const CHECKPOINT: &str = "checkpoint";
}

/// The person, as they were when they entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The contact.
    pub id: Uuid,
    /// The product's id of the person.
    #[serde(default)]
    pub external_id: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub properties: Properties,
}

impl User {
    /// A text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// The event that made the person enter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerEvent {
    pub name: String,
    #[serde(default)]
    pub properties: Properties,
}

impl TriggerEvent {
    /// A text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// The steps a journey can take. Each is recorded; a replay sees what the first pass saw.
#[derive(Clone)]
pub struct Ctx {
    replay: Replay,
    event: Rc<TriggerEvent>,
}

impl Ctx {
    pub(super) fn new(replay: Replay, event: TriggerEvent) -> Self {
        Self {
            replay,
            event: Rc::new(event),
        }
    }

    /// The event that made the person enter.
    pub fn event(&self) -> &TriggerEvent {
        &self.event
    }

    /// Waits. There is no limit to how long, and a waiting run uses no memory.
    pub fn sleep(&self, duration: std::time::Duration) -> Sleep {
        Sleep::new(&self.replay, duration)
    }

    /// Sends a mail by the key of its template and waits until its fate is known.
    pub fn send(&self, template: &str) -> Send {
        Send::new(&self.replay, template)
    }

    /// Ingests an event for this person, as if the product had sent it.
    pub fn trigger(&self, event: &str) -> Trigger {
        Trigger::new(&self.replay, event)
    }

    /// What this person did before.
    pub fn history(&self) -> History {
        History::new(&self.replay)
    }

    /// Marks how far the run has come, for people who look at it.
    pub fn checkpoint(&self, label: &str) {
        self.replay
            .note(step::CHECKPOINT, json!({ "label": label }));
    }

    /// The time of the last completed step, or of entry. Never the wall clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.replay.now()
    }
}

/// Shorthand used by [`History`].
impl History {
    /// Whether the person did this, and how often.
    pub fn has_event(&self, name: &str) -> HasEvent {
        HasEvent::new(self.replay(), name)
    }
}
