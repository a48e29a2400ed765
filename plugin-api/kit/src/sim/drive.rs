//! Advances a run as far as it gets without waiting.

use hogsend_plugin_api::journey::{RunStatus, step};
use hogsend_plugin_api::{Command, Properties, Step, StepError, StepState, limits};
use serde_json::json;

use super::ingest::Incoming;
use super::run::{Open, Status};
use super::step::Performed;
use super::{Due, Sim, What};

/// Result of performing the open steps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// A step ended: the code can continue.
    Progressed,
    Waiting,
    /// A step must see the effects the run has just caused.
    AfterEffects,
}

impl Sim<'_> {
    pub(super) fn drive(&mut self, index: usize) {
        let run = &mut self.runs[index];
        if run.status.is_over() {
            return;
        }
        if run.input.steps.is_empty() {
            // Only before the first step: a replay must see the same person.
            for (name, value) in &self.people[run.place.person].analytics {
                let own = run.input.user.properties.entry(name.clone());
                own.or_insert_with(|| value.clone());
            }
        }
        let mut effects = Vec::new();
        // Steps complete in the order they became due; then the queries that waited for effects.
        for seq in run.due(self.now) {
            self.perform_one(index, seq, &mut effects);
        }
        let mut asks_again = self.perform_open(index, &mut effects) == Round::AfterEffects;
        let run = &mut self.runs[index];
        if run.status == Status::Waiting && run.seen == run.completions {
            // Woken for a wait that has already ended.
            self.ingest(effects);
            return;
        }

        let status = loop {
            let run = &mut self.runs[index];
            run.seen = run.completions;
            let source = self.journeys[self.runs[index].place.journey].source;
            let out = match self.sources[source].advance(&self.runs[index].input) {
                Ok(out) => out,
                Err(error) => {
                    let message = format!("the plugin gave no answer: {error}");
                    break RunStatus::stuck(message);
                }
            };
            if matches!(out.status, RunStatus::Diverged(_)) {
                // Steps of code that does not match the journal must not be performed.
                break out.status;
            }
            for command in out.commands {
                self.issue(index, command);
            }
            for seq in out.cancels {
                self.cancel(index, seq);
            }
            if out.status != RunStatus::Waiting {
                break out.status;
            }
            if self.runs[index].input.steps.len() > limits::STEPS_MAX {
                break RunStatus::failed(limits::too_many_steps(), Some(self.location_of(index)));
            }
            match self.perform_open(index, &mut effects) {
                Round::Progressed => {}
                Round::Waiting => break RunStatus::Waiting,
                Round::AfterEffects => {
                    asks_again = true;
                    break RunStatus::Waiting;
                }
            }
        };
        self.ingest(effects);
        // One of its own events may have ended the run; that status is final.
        if !self.runs[index].status.is_over() {
            self.conclude(index, status);
            if asks_again {
                self.wake(self.now, Due::Run(index));
            }
        }
    }

    fn location_of(&self, index: usize) -> String {
        let journey = self.runs[index].place.journey;
        self.journeys[journey].definition.location.clone()
    }

    /// Records a new step.
    fn issue(&mut self, index: usize, command: Command) {
        let mut record = Step::issued(&command);
        let noted = matches!(command.kind.as_str(), step::CHECKPOINT | step::PATCHED);
        let run = &mut self.runs[index];
        if !noted {
            let before = (command.after as usize).checked_sub(1);
            let since = before.and_then(|before| run.ended.get(before));
            let since = since.copied().unwrap_or(run.place.tick);
            let open = Open::of(command, self.now, since);
            run.open.insert(record.seq, open);
            run.input.steps.push(record);
            return;
        }
        record.state = StepState::Noted;
        run.input.steps.push(record);
        if let Some(label) = command.args["label"].as_str() {
            run.checkpoints.push(label.to_owned());
            let label = label.to_owned();
            self.note(
                self.runs[index].place.person,
                Some(index),
                What::Checkpoint { label },
            );
        }
    }

    /// Records that the code dropped a step.
    fn cancel(&mut self, index: usize, seq: u32) {
        let run = &mut self.runs[index];
        if run.open.remove(&seq).is_some() {
            run.input.steps[seq as usize].state = StepState::Cancelled;
        }
    }

    /// Records how a step ended.
    pub(super) fn complete(
        &mut self,
        index: usize,
        seq: u32,
        result: Result<serde_json::Value, StepError>,
    ) {
        let tick = self.next_tick();
        self.complete_at(index, seq, result, tick);
    }

    /// Like [`complete`](Self::complete), with a given tick.
    pub(super) fn complete_at(
        &mut self,
        index: usize,
        seq: u32,
        result: Result<serde_json::Value, StepError>,
        tick: u64,
    ) {
        let result = limits::bounded(result);
        let (ok, text) = match &result {
            Ok(_) if !self.is_watched() => (true, String::new()),
            Ok(value) => (true, value.to_string()),
            Err(error) => (false, error.to_string()),
        };
        let Some(open) = self.runs[index].complete(seq, (self.now, tick), result) else {
            return;
        };
        let person = self.runs[index].place.person;
        // The outcome of a mail is already on the timeline.
        if open.kind != step::SEND || !ok {
            let what = What::Step {
                step: seq,
                kind: open.kind,
                label: open.label,
                ok,
                result: text,
            };
            self.note(person, Some(index), what);
        }
    }

    /// Performs the open steps.
    fn perform_open(&mut self, index: usize, effects: &mut Vec<Incoming>) -> Round {
        let open = self.runs[index].open.iter();
        let open: Vec<u32> = open
            .filter(|(_, open)| !open.parked)
            .map(|(seq, _)| *seq)
            .collect();
        let mut round = Round::Waiting;
        for seq in open {
            match self.perform_one(index, seq, effects) {
                Performed::Done(()) => round = Round::Progressed,
                Performed::Open => {}
                Performed::AfterEffects => return Round::AfterEffects,
            }
        }
        round
    }

    fn perform_one(
        &mut self,
        index: usize,
        seq: u32,
        effects: &mut Vec<Incoming>,
    ) -> Performed<()> {
        match self.perform(index, seq, effects) {
            Performed::Done(result) => {
                self.complete(index, seq, result);
                Performed::Done(())
            }
            Performed::Open => {
                let person = self.runs[index].place.person;
                if let Some(open) = self.runs[index].open.get_mut(&seq) {
                    open.parked = true;
                    let (kind, label, until) = (open.kind.clone(), open.label.clone(), open.due);
                    if let Some(due) = until {
                        self.wake(due, Due::Run(index));
                        let what = What::Waits {
                            step: seq,
                            kind,
                            label,
                            until,
                        };
                        self.note(person, Some(index), what);
                    }
                }
                Performed::Open
            }
            Performed::AfterEffects => Performed::AfterEffects,
        }
    }

    /// Applies the status after an advance.
    fn conclude(&mut self, index: usize, status: RunStatus) {
        let (status, reason) = match status {
            RunStatus::Waiting => {
                self.runs[index].status = Status::Waiting;
                return;
            }
            RunStatus::Completed => (Status::Completed, None),
            RunStatus::Exited { reason, .. } => (Status::Exited, Some(reason)),
            RunStatus::Failed {
                message, location, ..
            } => {
                let place = location.map(|place| format!(" at {place}"));
                let reason = format!("{message}{}", place.unwrap_or_default());
                (Status::Failed, Some(reason))
            }
            RunStatus::Diverged(differs) => {
                let reason = format!(
                    "the journey's code changed under this run: step {} was {}, the code now asks for {}",
                    differs.seq, differs.recorded, differs.code
                );
                (Status::Stuck, Some(reason))
            }
            RunStatus::Stuck { message, .. } => (Status::Stuck, Some(message)),
            other => (Status::Stuck, Some(format!("{other:?}"))),
        };
        self.end(index, status, reason.clone());
        let (name, reason_field) = match status {
            Status::Completed => ("journey.completed", "error"),
            Status::Failed => ("journey.failed", "error"),
            Status::Exited => ("journey.exited", "reason"),
            Status::Active | Status::Waiting | Status::Stuck => return,
        };
        let run = &self.runs[index];
        let mut properties = Properties::new();
        properties.insert("journeyId".into(), json!(*run.journey));
        properties.insert("stateId".into(), json!(run.input.run_id));
        if let Some(reason) = reason {
            properties.insert(reason_field.into(), json!(reason));
        }
        let depth = run.place.depth.saturating_add(1);
        let mut event = Incoming::new(run.place.person, name, properties, depth);
        event.trust = run.input.event.trust;
        self.ingest(vec![event]);
    }
}
