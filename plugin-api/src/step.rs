//! The journal: what code asked for, in order, and how each request ended.
//!
//! The host keeps these records; the SDK replays code against them. Field names are stored in
//! databases, so they only ever gain optional neighbours.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something the code now waits on, for the host to perform or to park.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The step's number: the order in which the code called for it, from 0.
    pub seq: u32,
    /// How many completions the code had seen when it called for the step.
    pub after: u32,
    /// What is asked: `sleep`, `send`, `http`, …
    pub kind: String,
    /// A name for people, where the author gave one.
    #[serde(default)]
    pub label: Option<String>,
    /// Hash of `kind` and `args`, 16 hex digits.
    pub print: String,
    /// The inputs, in the shape of the kind.
    pub args: Value,
}

/// A recorded step, as handed back for replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub seq: u32,
    pub after: u32,
    pub kind: String,
    #[serde(default)]
    pub label: Option<String>,
    pub print: String,
    pub state: StepState,
}

impl Step {
    /// The record of a command just accepted.
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
    /// Waited on.
    Open,
    /// Recorded only: the code never waits on it.
    Noted,
    /// Ended. `pos` orders completions within one run, from 1.
    Done {
        pos: u32,
        at: DateTime<Utc>,
        result: Result<Value, StepError>,
    },
    /// The code dropped it before it ended, as the loser of a race.
    Cancelled,
}

/// Why a step failed, after the host gave up retrying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct StepError {
    /// Stable and short, for code: `trigger_too_deep`, `template_unknown`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl StepError {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}
