//! A run's journal in memory, while it is being advanced.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{DigestArgs, SleepArgs, SleepUntilArgs, WaitForArgs, step};
use hogsend_plugin_api::{Command, Properties, Step, StepError, StepState, Trust, limits};
use hogsend_semantics::strangers;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::db::StepRow;
use crate::foreign::{self, REASON_MAX};

/// The steps of one run, by number, and which of them this advance changed.
#[derive(Clone)]
pub struct Journal {
    rows: Vec<StepRow>,
    changed: Vec<bool>,
    completions: u32,
    /// Size of inputs and results, as JSON.
    bytes: usize,
}

impl Journal {
    pub fn new(rows: Vec<StepRow>, completions: i32) -> Self {
        let bytes = rows.iter().map(|row| {
            let result = match &row.step.state {
                StepState::Done { result, .. } => result.as_ref().map_or(0, limits::size),
                _ => 0,
            };
            limits::size(&row.args) + result
        });
        Self {
            bytes: bytes.sum(),
            changed: vec![false; rows.len()],
            completions: completions as u32,
            rows,
        }
    }

    /// The limit that the commands of one call exceed, if any.
    pub fn exceeds(&self, commands: &[Command]) -> Option<String> {
        let mut call = limits::Call::default();
        let passed = commands.iter().find_map(|new| call.take(new).err());
        let steps = self.rows.len() + commands.len();
        passed.or_else(|| (steps > limits::STEPS_MAX).then(limits::too_many_steps))
    }

    /// Whether inputs and results are larger than a run may hold.
    pub fn is_full(&self) -> bool {
        self.bytes > limits::RUN_MAX
    }

    /// The steps as the plugin sees them.
    pub fn steps(&self) -> Vec<Step> {
        self.rows.iter().map(|row| row.step.clone()).collect()
    }

    /// Properties of the events that the run has read and that strangers may have sent.
    pub fn strangers(&self) -> impl Iterator<Item = &Properties> {
        strangers::gathered(self.rows.iter().map(|row| &row.step))
    }

    /// The trust of events that the run triggers now, where its first event has the trust `began`.
    pub fn trust(&self, began: Trust) -> Trust {
        strangers::trust(began, self.rows.iter().map(|row| &row.step))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn completions(&self) -> i32 {
        self.completions as i32
    }

    /// Records a new step.
    pub fn issue(&mut self, command: Command, now: DateTime<Utc>) {
        self.bytes += limits::size(&command.args);
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
    pub fn complete(&mut self, seq: u32, result: Result<Value, StepError>, at: DateTime<Utc>) {
        let mut result = limits::bounded(result);
        match &mut result {
            Ok(value) => foreign::clean(value),
            Err(error) => {
                error.message = foreign::text(&error.message, REASON_MAX);
                error.code = foreign::text(&error.code, REASON_MAX);
            }
        }
        if let Some(row) = self.rows.get_mut(seq as usize).filter(|row| row.is_open()) {
            self.completions += 1;
            self.bytes += result.as_ref().map_or(0, limits::size);
            row.step.state = StepState::done(self.completions, at, result);
            self.changed[seq as usize] = true;
        }
    }

    /// Records that an attempt failed and when the worker retries it.
    pub fn retry(&mut self, seq: u32, at: DateTime<Utc>) {
        if let Some(row) = self.rows.get_mut(seq as usize).filter(|row| row.is_open()) {
            row.attempts += 1;
            row.due_at = Some(at);
            self.changed[seq as usize] = true;
        }
    }

    /// The step that ended as the `wanted`th, with the time and the result; none for 0.
    pub fn completed(
        &self,
        wanted: u32,
    ) -> Option<(&StepRow, DateTime<Utc>, &Result<Value, StepError>)> {
        self.rows.iter().find_map(|row| match &row.step.state {
            StepState::Done {
                pos, at, result, ..
            } if *pos == wanted => Some((row, *at, result)),
            _ => None,
        })
    }

    /// The steps that the code waits for.
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

    /// When the next step is due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.open().filter_map(|row| row.due_at).min()
    }

    /// Where the run is, to be shown: its newest step.
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

/// The inputs of a step. A step whose inputs cannot be read fails when it is performed.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(seq: usize, text: &str) -> Command {
        let seq = u32::try_from(seq).unwrap();
        Command::new(seq, 0, step::TRIGGER, "", json!({ "text": text }))
    }

    #[test]
    fn a_plugin_made_without_the_sdk_meets_the_same_limits() {
        let mut journal = Journal::new(Vec::new(), 0);
        let now = DateTime::UNIX_EPOCH;
        let fits: Vec<_> = (0..limits::STEPS_MAX).map(|seq| command(seq, "")).collect();
        assert_eq!(journal.exceeds(&fits), None);
        for one in fits {
            journal.issue(one, now);
        }
        let more = journal.exceeds(&[command(limits::STEPS_MAX, "")]);
        assert!(more.unwrap().contains("2000 steps"));
        // The numbers that the plugin gives its steps make no difference.
        assert!(journal.exceeds(&[command(0, "")]).is_some());
        let large = command(0, &"x".repeat(limits::INPUT_MAX));
        let large = Journal::new(Vec::new(), 0).exceeds(&[large]);
        assert!(large.unwrap().contains("inputs of step 0"));
    }

    #[test]
    fn inputs_and_results_of_a_run_count_together() {
        let half = "x".repeat(limits::OUTPUT_MAX / 2);
        let mut journal = Journal::new(Vec::new(), 0);
        let now = DateTime::UNIX_EPOCH;
        let steps = (0..100).take_while(|seq| {
            journal.issue(command(*seq, &half), now);
            journal.complete(u32::try_from(*seq).unwrap(), Ok(json!(half)), now);
            !journal.is_full()
        });
        assert_eq!(steps.count(), 15);
        // As it is read from the database.
        let again = Journal::new(journal.rows.clone(), journal.completions());
        assert_eq!(again.bytes, journal.bytes);
        assert!(again.is_full());
    }

    #[test]
    fn a_result_that_is_too_large_is_an_error() {
        let mut journal = Journal::new(Vec::new(), 0);
        journal.issue(command(0, ""), DateTime::UNIX_EPOCH);
        let large = Ok(json!("x".repeat(limits::OUTPUT_MAX)));
        journal.complete(0, large, DateTime::UNIX_EPOCH);
        let StepState::Done { result, .. } = &journal.rows[0].step.state else {
            panic!("open")
        };
        assert_eq!(result.as_ref().unwrap_err().code, "result_too_large");
    }
}
