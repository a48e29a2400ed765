//! The journal: the steps the code called, in order, and how each ended.
//!
//! The host stores these records and the SDK replays the code against them. The field names are in
//! databases: they must not change, and new fields must be optional.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

#[doc(hidden)]
pub use crate::print::draft as draft_print;

/// A new step, for the host to perform or to wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Command {
    /// The step's number: the order in which the code called for it, from 0.
    pub seq: u32,
    /// How many completions the code had seen when it called the step.
    pub after: u32,
    /// What the step does: `sleep`, `send`, `http`, … See [`journey::step`](crate::journey::step)
    /// and [`ask`](crate::ask).
    pub kind: String,
    /// A label for people, where the author gave one.
    #[serde(default)]
    pub label: Option<String>,
    /// Fingerprint: a hash of `kind` and `args` as 16 hex digits.
    pub print: String,
    /// The inputs; their shape depends on the kind.
    pub args: Value,
}

/// A recorded step, as the host passes it for replay. The fields are those of its [`Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// The step's number, from 0.
    pub seq: u32,
    /// How many completions the code had seen when it called the step.
    pub after: u32,
    /// What the step does.
    pub kind: String,
    /// A label for people.
    #[serde(default)]
    pub label: Option<String>,
    /// The fingerprint of kind and inputs.
    pub print: String,
    /// How far it has come.
    pub state: StepState,
}

impl Command {
    /// A step with its number, how many completions came before it, and its fingerprint.
    pub fn new(
        seq: u32,
        after: u32,
        kind: impl Into<String>,
        print: impl Into<String>,
        args: Value,
    ) -> Self {
        Self {
            seq,
            after,
            kind: kind.into(),
            label: None,
            print: print.into(),
            args,
        }
    }
}

impl Step {
    /// A recorded step.
    pub fn new(
        seq: u32,
        after: u32,
        kind: String,
        label: Option<String>,
        print: String,
        state: StepState,
    ) -> Self {
        Self {
            seq,
            after,
            kind,
            label,
            print,
            state,
        }
    }

    /// This step in another state.
    pub fn with_state(self, state: StepState) -> Self {
        Self { state, ..self }
    }

    /// The record of a command that the host has just accepted.
    pub fn issued(command: &Command) -> Self {
        Self {
            seq: command.seq,
            after: command.after,
            kind: command.kind.clone(),
            label: command.label.clone(),
            print: command.print.clone(),
            state: StepState::Open,
        }
    }
}

/// How far a recorded step has come. A state of a later version counts as [`StepState::Open`]: the code
/// waits on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepState {
    /// The code waits on it.
    Open,
    /// Recorded only: the code never waits on it.
    Noted,
    /// The step ended.
    #[non_exhaustive]
    Done {
        /// The position among the completions of the run, from 1.
        pos: u32,
        /// When it ended.
        at: DateTime<Utc>,
        /// The result; its shape depends on the kind.
        result: Result<Value, StepError>,
    },
    /// The code dropped it before it ended, for example because it lost a race.
    Cancelled,
}

impl StepState {
    /// The step ended, as this completion of the run (counted from 1).
    pub fn done(pos: u32, at: DateTime<Utc>, result: Result<Value, StepError>) -> Self {
        Self::Done { pos, at, result }
    }
}

#[derive(Deserialize)]
struct Done {
    pos: u32,
    at: DateTime<Utc>,
    result: Result<Value, StepError>,
}

/// By hand, because a journal has thousands of them.
impl<'de> Deserialize<'de> for StepState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct State;

        impl<'de> Visitor<'de> for State {
            type Value = StepState;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the state of a step")
            }

            fn visit_str<E>(self, name: &str) -> Result<StepState, E> {
                Ok(match name {
                    "noted" => StepState::Noted,
                    "cancelled" => StepState::Cancelled,
                    _ => StepState::Open,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StepState, A::Error> {
                let mut state = StepState::Open;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "done" {
                        let Done { pos, at, result } = map.next_value()?;
                        state = StepState::Done { pos, at, result };
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(state)
            }
        }

        deserializer.deserialize_any(State)
    }
}

/// Why a step failed, after the host's own retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
#[non_exhaustive]
pub struct StepError {
    /// Short and stable, for code: `trigger_too_deep`, `template_unknown`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl StepError {
    /// The code of a request or step that the host does not know.
    pub const NOT_SUPPORTED: &str = "not_supported";

    /// The error of a request or step of this kind that the host does not know.
    pub fn not_supported(kind: &str) -> Self {
        let kind: String = kind.chars().take(100).collect();
        Self::new(
            Self::NOT_SUPPORTED,
            format!("this host does not support '{kind}', which the plugin uses: update Hogsend"),
        )
    }

    /// Whether the host does not know the request or step. Hosts before 1.0.0 said so in other words.
    pub fn is_not_supported(&self) -> bool {
        [Self::NOT_SUPPORTED, "request_unknown", "step_unknown"].contains(&self.code.as_str())
    }

    /// An error with its code and message.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}
