//! Runs of journeys.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::AdvanceIn;
use hogsend_plugin_api::{Command, StepError, StepState};
use serde::Serialize;
use serde_json::Value;

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Entered, before its first step.
    Active,
    /// It waits for a step.
    Waiting,
    /// The code returned `Ok`.
    Completed,
    /// An exit condition was met, or the code ended the run early.
    Exited,
    /// The code returned an error or panicked.
    Failed,
    /// Only an administrator can continue it: the code does not match the journal, awaits something
    /// that is not a step, or gives no answer.
    Stuck,
}

impl Status {
    /// Whether the run can no longer continue by itself.
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

/// One person's pass through one journey.
#[derive(Debug)]
pub struct Run {
    /// The id of the journey.
    pub journey: Rc<str>,
    /// The person's name in the timeline.
    pub person: Rc<str>,
    /// Its status.
    pub status: Status,
    /// Why it ended; for a failure the message and the place in the source.
    pub reason: Option<String>,
    /// When it began.
    pub entered_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The labels of the checkpoints passed.
    pub checkpoints: Vec<String>,
    pub(super) place: Place,
    pub(super) input: AdvanceIn,
    pub(super) open: BTreeMap<u32, Open>,
    pub(super) completions: u32,
    /// How many completions the code has seen.
    pub(super) seen: u32,
    /// The ticks at which steps ended, in order.
    pub(super) ended: Vec<u64>,
}

/// The journey and the person of a run, by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub journey: usize,
    pub person: usize,
    pub depth: i16,
    /// The tick of the event that began it.
    pub tick: u64,
}

/// A step the code waits on.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub kind: String,
    pub label: Option<String>,
    pub args: Rc<Value>,
    pub issued_at: DateTime<Utc>,
    /// The tick at which the previous step ended.
    pub since: u64,
    /// When it ends without an event.
    pub due: Option<DateTime<Utc>>,
    /// Something else ends it; it must not be performed again.
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
    /// The steps the run waits on: kind, label, and when each ends without an event.
    pub fn waits(&self) -> impl Iterator<Item = (&str, Option<&str>, Option<DateTime<Utc>>)> {
        let open = self.open.values();
        open.map(|step| (step.kind.as_str(), step.label.as_deref(), step.due))
    }

    /// Records how a step ended, and returns the step; `None` where it is not open.
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
        self.input.steps[seq as usize].state = StepState::done(self.completions, at, result);
        Some(open)
    }

    /// The steps that are due, earliest first.
    pub(super) fn due(&self, now: DateTime<Utc>) -> Vec<u32> {
        let open = self.open.iter();
        let mut due: Vec<_> = open
            .filter_map(|(seq, open)| Some((open.due.filter(|due| *due <= now)?, *seq)))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, seq)| seq).collect()
    }

    /// Ends the run and frees its journal.
    pub(super) fn end(&mut self, status: Status, reason: Option<String>, at: DateTime<Utc>) {
        self.status = status;
        self.reason = reason;
        self.ended_at = Some(at);
        self.open = BTreeMap::new();
        self.input.steps = Vec::new();
        self.ended = Vec::new();
    }
}
