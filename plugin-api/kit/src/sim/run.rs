//! Runs of journeys.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::AdvanceIn;
use hogsend_plugin_api::{Command, StepError, StepState};
use serde::Serialize;
use serde_json::Value;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Entered, its first step not yet taken.
    Active,
    Waiting,
    Completed,
    /// An exit condition was met, or the code ended the run early.
    Exited,
    /// The code returned an error or panicked.
    Failed,
    /// Nobody but an administrator can help: the code does not fit the journal, awaits what is no
    /// step, or gives no answer.
    Stuck,
}

impl Status {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Active | Self::Waiting)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Exited => "exited",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
        })
    }
}

/// One person's way through one journey.
#[derive(Debug)]
pub struct Run {
    pub journey: Rc<str>,
    pub person: Rc<str>,
    pub status: Status,
    /// Why it ended as it did; of a failure the message and the place in the source.
    pub reason: Option<String>,
    pub entered_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// The labels of the checkpoints passed.
    pub checkpoints: Vec<String>,
    pub(super) place: Place,
    pub(super) input: AdvanceIn,
    pub(super) open: BTreeMap<u32, Open>,
    pub(super) completions: u32,
    /// How many completions the code has seen.
    pub(super) seen: u32,
    /// When steps ended, in that order, among all that happens.
    pub(super) ended: Vec<u64>,
}

/// Where a run belongs, by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub journey: usize,
    pub person: usize,
    pub depth: i16,
    /// Of the event that began it.
    pub tick: u64,
}

/// A step the code waits on.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub kind: String,
    pub label: Option<String>,
    pub args: Rc<Value>,
    pub issued_at: DateTime<Utc>,
    /// When the step before it ended.
    pub since: u64,
    /// When it ends by itself.
    pub due: Option<DateTime<Utc>>,
    /// Something else ends it; it is not to be performed again.
    pub parked: bool,
}

impl Open {
    pub fn of(command: Command, now: DateTime<Utc>, since: u64) -> Self {
        Self {
            kind: command.kind,
            label: command.label,
            args: Rc::new(command.args),
            issued_at: now,
            since,
            due: None,
            parked: false,
        }
    }
}

impl Run {
    /// What the run waits on: kind, label and when it ends by itself.
    pub fn waits(&self) -> impl Iterator<Item = (&str, Option<&str>, Option<DateTime<Utc>>)> {
        let open = self.open.values();
        open.map(|step| (step.kind.as_str(), step.label.as_deref(), step.due))
    }

    /// Records how a step ended, and gives back what it was; nothing where it is not open.
    pub(super) fn complete(
        &mut self,
        seq: u32,
        (at, tick): (DateTime<Utc>, u64),
        result: Result<Value, StepError>,
    ) -> Option<Open> {
        if self.status.is_over() {
            return None;
        }
        let open = self.open.remove(&seq)?;
        self.completions += 1;
        self.ended.push(tick);
        self.input.steps[seq as usize].state = StepState::Done {
            pos: self.completions,
            at,
            result,
        };
        Some(open)
    }

    /// Waits that are over, earliest first.
    pub(super) fn due(&self, now: DateTime<Utc>) -> Vec<u32> {
        let open = self.open.iter();
        let mut due: Vec<_> = open
            .filter_map(|(seq, open)| Some((open.due.filter(|due| *due <= now)?, *seq)))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Ends the run and lets go of its journal.
    pub(super) fn end(&mut self, status: Status, reason: Option<String>, at: DateTime<Utc>) {
        self.status = status;
        self.reason = reason;
        self.ended_at = Some(at);
        self.open = BTreeMap::new();
        self.input.steps = Vec::new();
        self.ended = Vec::new();
    }
}
