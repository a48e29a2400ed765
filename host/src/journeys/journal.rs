//! A run's journal in memory, while it is being advanced.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{DigestArgs, SleepArgs, SleepUntilArgs, WaitForArgs, step};
use hogsend_plugin_api::{Command, Step, StepError, StepState};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::db::StepRow;
use crate::foreign::{self, REASON_MAX};

/// The steps of one run, by number, and which of them changed.
#[derive(Clone)]
pub struct Journal {
    rows: Vec<StepRow>,
    changed: Vec<bool>,
    completions: u32,
}

impl Journal {
    pub fn new(rows: Vec<StepRow>, completions: i32) -> Self {
        Self {
            changed: vec![false; rows.len()],
            completions: completions as u32,
            rows,
        }
    }

    /// The steps as the plugin sees them.
    pub fn steps(&self) -> Vec<Step> {
        self.rows.iter().map(|row| row.step.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn completions(&self) -> i32 {
        self.completions as i32
    }

    /// Records a new step.
    pub fn issue(&mut self, command: Command, now: DateTime<Utc>) {
        let mut row = StepRow::issued(command, now);
        match row.step.kind.as_str() {
            step::CHECKPOINT | step::PATCHED => row.step.state = StepState::Noted,
            step::SLEEP_UNTIL => {
                row.due_at = read(&row).map(|args: SleepUntilArgs| args.at.min(end_of_time()));
            }
            step::SLEEP => row.due_at = read(&row).map(|args: SleepArgs| later(now, args.ms)),
            step::DIGEST => {
                row.due_at = read(&row).map(|args: DigestArgs| later(now, args.window_ms));
            }
            step::WAIT_FOR => {
                row.due_at = read(&row).map(|args: WaitForArgs| later(now, args.timeout_ms));
            }
            _ => {}
        }
        self.rows.push(row);
        self.changed.push(true);
    }

    /// Records that the code dropped a step.
    pub fn cancel(&mut self, seq: u32) {
        if let Some(row) = self.rows.get_mut(seq as usize).filter(|row| row.is_open()) {
            row.step.state = StepState::Cancelled;
            self.changed[seq as usize] = true;
        }
    }

    /// Records how a step ended.
    pub fn complete(&mut self, seq: u32, mut result: Result<Value, StepError>, at: DateTime<Utc>) {
        match &mut result {
            Ok(value) => foreign::clean(value),
            Err(error) => {
                error.message = foreign::text(&error.message, REASON_MAX);
                error.code = foreign::text(&error.code, REASON_MAX);
            }
        }
        if let Some(row) = self.rows.get_mut(seq as usize).filter(|row| row.is_open()) {
            self.completions += 1;
            row.step.state = StepState::Done {
                pos: self.completions,
                at,
                result,
            };
            self.changed[seq as usize] = true;
        }
    }

    /// Records that a step failed for now.
    pub fn retry(&mut self, seq: u32, at: DateTime<Utc>) {
        if let Some(row) = self.rows.get_mut(seq as usize).filter(|row| row.is_open()) {
            row.attempts += 1;
            row.due_at = Some(at);
            self.changed[seq as usize] = true;
        }
    }

    /// The step that was the `pos`th to end, with when and how; none for 0.
    pub fn completed(
        &self,
        wanted: u32,
    ) -> Option<(&StepRow, DateTime<Utc>, &Result<Value, StepError>)> {
        self.rows.iter().find_map(|row| match &row.step.state {
            StepState::Done { pos, at, result } if *pos == wanted => Some((row, *at, result)),
            _ => None,
        })
    }

    /// The steps the code waits on.
    pub fn open(&self) -> impl Iterator<Item = &StepRow> {
        self.rows.iter().filter(|row| row.is_open())
    }

    /// Steps whose time has come, earliest first.
    pub fn due(&self, now: DateTime<Utc>) -> Vec<u32> {
        let mut due: Vec<_> = self
            .open()
            .filter_map(|row| Some((row.due_at.filter(|at| *at <= now)?, row.step.seq)))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, seq)| seq).collect()
    }

    /// When the next wait is over.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.open().filter_map(|row| row.due_at).min()
    }

    /// Where the run stands, for people: its newest step.
    pub fn node(&self) -> Option<String> {
        let row = self.rows.last()?;
        let detail = match row.step.kind.as_str() {
            step::SEND => row.args["template"].as_str(),
            step::CHECKPOINT => return row.args["label"].as_str().map(str::to_owned),
            step::TRIGGER | step::HAS_EVENT | step::WAIT_FOR | step::CAPTURE => {
                row.args["event"].as_str()
            }
            _ => None,
        };
        let detail = row.step.label.as_deref().or(detail);
        Some(detail.map_or_else(
            || row.step.kind.clone(),
            |detail| format!("{}:{detail}", row.step.kind),
        ))
    }

    pub fn changed(&self) -> Vec<&StepRow> {
        let marked = self.rows.iter().zip(&self.changed);
        marked
            .filter(|(_, changed)| **changed)
            .map(|(row, _)| row)
            .collect()
    }
}

/// The inputs of a step. One that cannot be read fails when it is performed.
fn read<T: DeserializeOwned>(row: &StepRow) -> Option<T> {
    T::deserialize(&row.args).ok()
}

/// `ms` after `now`; a wait beyond the calendar ends at its end.
fn later(now: DateTime<Utc>, ms: u64) -> DateTime<Utc> {
    i64::try_from(ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|wait| now.checked_add_signed(wait))
        .map_or_else(end_of_time, |due| due.min(end_of_time()))
}

/// Postgres' calendar ends in 294276; this is in 255169.
fn end_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(8_000_000_000_000, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
