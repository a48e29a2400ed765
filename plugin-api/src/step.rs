//! The journal: the steps the code called, in order, and how each ended.
//!
//! The host stores these records and the SDK replays the code against them. The field names are in
//! databases: they must not change, and new fields must be optional.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A new step, for the host to perform or to wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Step {
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

/// How far a recorded step has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// The code waits on it.
    Open,
    /// Recorded only: the code never waits on it.
    Noted,
    /// The step ended.
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

/// Why a step failed, after the host's own retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct StepError {
    /// Short and stable, for code: `trigger_too_deep`, `template_unknown`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl StepError {
    /// An error with its code and message.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}
