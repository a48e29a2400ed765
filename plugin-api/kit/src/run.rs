//! One run of a journey, advanced step by step.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::call::{decode, encode, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::journey::{
    AdvanceIn, AdvanceOut, RunStatus, SleepArgs, SleepUntilArgs, TriggerEvent, User, step,
};
use hogsend_plugin_api::{Command, Step, StepError, StepState};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::beginning;
use super::call::repeat;

/// How often each replay is repeated. Code with one random yes-or-no decision passes with a
/// probability of one in 500,000.
const REPLAYS: usize = 20;

/// A person to run a journey for.
pub fn user() -> User {
    let (id, email) = ("user-1".into(), "ada@example.com".into());
    User::new(Uuid::from_u128(1), Some(id), Some(email))
}

/// A run, its journal, and a clock that only the test moves.
pub struct Run<'a> {
    plugin: &'a dyn Instance,
    input: AdvanceIn,
    /// Every command of the run with the time it was issued, by number.
    commands: Vec<(Command, DateTime<Utc>)>,
    completions: u32,
    now: DateTime<Utc>,
    status: RunStatus,
}

impl<'a> Run<'a> {
    /// Enrols a person and advances the run to its first wait.
    ///
    /// # Panics
    ///
    /// Like every method here: the plugin gives no answer, or two different ones.
    pub fn begin(plugin: &'a dyn Instance, journey: &str, user: User, event: TriggerEvent) -> Self {
        let mut run = Self {
            plugin,
            input: AdvanceIn::new(journey, Uuid::from_u128(2), beginning(), user, event),
            commands: Vec::new(),
            completions: 0,
            now: beginning(),
            status: RunStatus::Waiting,
        };
        run.advance();
        run
    }

    /// The status after the last advance.
    pub fn status(&self) -> &RunStatus {
        &self.status
    }

    /// The time of the run's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The steps the run waits on, by number.
    pub fn open(&self) -> Vec<&Command> {
        let commands = self.commands.iter().map(|(command, _)| command);
        commands
            .filter(|command| self.is_open(command.seq))
            .collect()
    }

    /// The labels of the checkpoints passed so far.
    pub fn checkpoints(&self) -> Vec<&str> {
        let commands = self.commands.iter().map(|(command, _)| command);
        commands
            .filter(|command| command.kind == step::CHECKPOINT)
            .filter_map(|command| command.args["label"].as_str())
            .collect()
    }

    /// The journal, as the host would store it.
    pub fn journal(&self) -> &[Step] {
        &self.input.steps
    }

    /// Ends the first open step of this kind and advances the run.
    pub fn answer(&mut self, kind: &str, result: Result<Value, StepError>) -> &mut Self {
        let open = self.open();
        let Some(found) = open.iter().find(|command| command.kind == kind) else {
            let waits: Vec<_> = open.iter().map(|command| command.kind.as_str()).collect();
            panic!(
                "the run waits on no '{kind}' but on {waits:?} ({:?})",
                self.status
            );
        };
        let seq = found.seq;
        self.complete(seq, result)
    }

    /// Ends an open step by its number and advances the run.
    pub fn complete(&mut self, seq: u32, result: Result<Value, StepError>) -> &mut Self {
        self.record(seq, result);
        self.advance();
        self
    }

    /// Ends open steps in this order before the code sees any of them, as after a worker's downtime.
    pub fn complete_all(&mut self, ends: Vec<(u32, Result<Value, StepError>)>) -> &mut Self {
        for (seq, result) in ends {
            self.record(seq, result);
        }
        self.advance();
        self
    }

    /// Moves the clock forward. Sleeps that become due end in order, each at its own time.
    pub fn pass(&mut self, duration: Duration) -> &mut Self {
        let until = later(self.now, duration);
        while let Some((due, seq)) = self.next_due().filter(|(due, _)| *due <= until) {
            self.now = due;
            self.complete(seq, Ok(Value::Null));
        }
        self.now = until;
        self
    }

    /// Continues with the code of another journey of this plugin, as after a release that changed
    /// the code under a waiting run.
    pub fn switch(&mut self, journey: &str) -> &mut Self {
        self.input.journey = journey.into();
        self.advance();
        self
    }

    fn is_open(&self, seq: u32) -> bool {
        self.status == RunStatus::Waiting && self.input.steps[seq as usize].state == StepState::Open
    }

    fn next_due(&self) -> Option<(DateTime<Utc>, u32)> {
        let open = self.commands.iter();
        open.filter(|(command, _)| self.is_open(command.seq))
            .filter_map(|(command, at)| Some((ends(command, *at)?, command.seq)))
            .min()
    }

    fn record(&mut self, seq: u32, result: Result<Value, StepError>) {
        assert!(
            self.input.steps.len() > seq as usize && self.is_open(seq),
            "step {seq} is not open ({:?})",
            self.status
        );
        self.completions += 1;
        self.input.steps[seq as usize].state = StepState::done(self.completions, self.now, result);
    }

    fn advance(&mut self) {
        let input = encode(&self.input).expect("a journal is JSON");
        let answer = repeat(self.plugin, method::JOURNEYS_ADVANCE, &input, REPLAYS);
        let out: AdvanceOut = answer
            .and_then(|bytes| decode(&bytes))
            .unwrap_or_else(|error| panic!("the plugin gave no answer: {error}"));
        self.status = out.status;
        if matches!(self.status, RunStatus::Diverged(_)) {
            // Steps of code that does not match the journal must not be performed.
            return;
        }
        for command in out.commands {
            assert_eq!(
                command.seq as usize,
                self.input.steps.len(),
                "steps have no gaps"
            );
            let mut record = Step::issued(&command);
            if matches!(command.kind.as_str(), step::CHECKPOINT | step::PATCHED) {
                record.state = StepState::Noted;
            }
            self.input.steps.push(record);
            self.commands.push((command, self.now));
        }
        for seq in out.cancels {
            let step = &mut self.input.steps[seq as usize];
            assert_eq!(
                step.state,
                StepState::Open,
                "only an open step can be cancelled"
            );
            step.state = StepState::Cancelled;
        }
    }
}

/// When a sleep ends.
fn ends(command: &Command, began: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match command.kind.as_str() {
        step::SLEEP => {
            let ms = SleepArgs::deserialize(&command.args).map_or(0, |args| args.ms);
            Some(later(began, Duration::from_millis(ms)))
        }
        step::SLEEP_UNTIL => {
            let args = SleepUntilArgs::deserialize(&command.args);
            Some(args.map_or(began, |args| args.at.max(began)))
        }
        _ => None,
    }
}

fn later(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| at.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
