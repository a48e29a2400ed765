//! The journal of one replay: which steps the code took, which of them are recorded, and whether they are the
//! ones that were recorded before.

use std::task::Waker;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Bounds, Divergence};
use crate::host::LogLine;
use crate::limits;
use crate::print::{fingerprint, fits};
use crate::step::{Command, Step, StepError, StepState};

pub(super) struct Draft {
    pub kind: &'static str,
    pub args: Value,
    pub label: Option<String>,
    pub after: u32,
}

pub(super) enum Slot {
    /// Numbered, inputs not final.
    Draft(Draft),
    Open(Option<Waker>),
    Done(Result<Value, StepError>),
    Over,
}

pub(super) struct Journal {
    pub recorded: Vec<Step>,
    pub slots: Vec<Slot>,
    pub drafts: Vec<u32>,
    pub commands: Vec<Command>,
    pub cancels: Vec<u32>,
    pub log: Vec<LogLine>,
    pub consumed: u32,
    pub now: DateTime<Utc>,
    pub divergence: Option<Divergence>,
    pub bounds: Bounds,
    pub call: limits::Call,
    /// The limit the code exceeded.
    pub exceeded: Option<String>,
    /// Dropping a step no longer cancels it, because the replay itself drops the code.
    pub parked: bool,
}

impl Journal {
    pub fn new(bounds: Bounds, started_at: DateTime<Utc>, recorded: Vec<Step>) -> Self {
        Self {
            bounds,
            call: limits::Call::default(),
            exceeded: None,
            recorded,
            slots: Vec::new(),
            drafts: Vec::new(),
            commands: Vec::new(),
            cancels: Vec::new(),
            log: Vec::new(),
            consumed: 0,
            now: started_at,
            divergence: None,
            parked: false,
        }
    }

    /// Whether the code may take another step.
    pub fn has_room(&mut self) -> bool {
        if self.exceeded.is_none() && self.slots.len() >= limits::STEPS_MAX {
            self.exceeded = Some(limits::too_many_steps());
        }
        self.exceeded.is_none()
    }

    pub fn recorded(&self, seq: u32) -> Option<&Step> {
        self.recorded.get(seq as usize)
    }

    /// Compares a draft with the journal, or makes it a command.
    pub fn finalise(&mut self, seq: u32) {
        let Some(slot @ Slot::Draft(_)) = self.slots.get_mut(seq as usize) else {
            return;
        };
        let Slot::Draft(draft) = std::mem::replace(slot, Slot::Open(None)) else {
            return;
        };
        match self.recorded(seq) {
            Some(step)
                if step.kind == draft.kind
                    && step.after == draft.after
                    && fits(&step.print, draft.kind, &draft.args) => {}
            Some(step) => {
                let mut divergence = Divergence {
                    seq,
                    recorded: describe(&step.kind, step.label.as_deref(), step.after),
                    code: describe(draft.kind, draft.label.as_deref(), draft.after),
                };
                if step.kind == draft.kind && !fits(&step.print, draft.kind, &draft.args) {
                    let print = fingerprint(draft.kind, &draft.args);
                    // Only the hashes: inputs may hold secrets, and this text is shown and logged.
                    divergence.recorded += &format!(" with inputs {}", step.print);
                    divergence.code += &format!(" with inputs {print}");
                }
                // The first difference is the cause; later ones follow from it.
                if self.divergence.as_ref().is_none_or(|found| found.seq > seq) {
                    self.divergence = Some(divergence);
                }
            }
            None => {
                let command = Command {
                    seq,
                    after: draft.after,
                    kind: draft.kind.to_owned(),
                    label: draft.label,
                    print: fingerprint(draft.kind, &draft.args),
                    args: draft.args,
                };
                if self.bounds == Bounds::Run
                    && let Err(limit) = self.call.take(&command)
                {
                    self.exceeded.get_or_insert(limit);
                    return;
                }
                self.commands.push(command);
            }
        }
    }

    pub fn finalise_drafts(&mut self) {
        for seq in std::mem::take(&mut self.drafts) {
            self.finalise(seq);
        }
    }

    /// Feeds one recorded completion and returns the waker of the step it ends.
    pub fn complete(&mut self, index: usize) -> Option<Waker> {
        let step = &self.recorded[index];
        let StepState::Done { at, result, .. } = &step.state else {
            return None;
        };
        self.now = (*at).max(self.now);
        self.consumed += 1;
        let seq = step.seq;
        match self.slots.get_mut(seq as usize) {
            Some(slot @ Slot::Open(_)) => {
                match std::mem::replace(slot, Slot::Done(result.clone())) {
                    Slot::Open(waker) => waker,
                    _ => None,
                }
            }
            // Dropped by the code before this completion: it lost a race.
            Some(_) => None,
            None => {
                self.divergence = Some(Divergence {
                    seq,
                    recorded: describe(&step.kind, step.label.as_deref(), step.after),
                    code: format!("only {} steps so far", self.slots.len()),
                });
                None
            }
        }
    }

    pub fn drop_step(&mut self, seq: u32) {
        self.finalise(seq);
        if self.parked {
            return;
        }
        if let Some(slot @ Slot::Open(_)) = self.slots.get_mut(seq as usize) {
            *slot = Slot::Over;
            // A step that is recorded as ended cannot be cancelled, though the replay has not yet
            // reached its completion.
            if self
                .recorded(seq)
                .is_none_or(|step| step.state == StepState::Open)
            {
                self.cancels.push(seq);
            }
        }
    }

    pub fn has_open_step(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Open(_)))
    }

    /// A recorded step the code did not call, though it has seen every completion.
    pub fn leftover(&self, code: &str) -> Option<Divergence> {
        let step = self.recorded.get(self.slots.len())?;
        Some(Divergence {
            seq: step.seq,
            recorded: describe(&step.kind, step.label.as_deref(), step.after),
            code: code.into(),
        })
    }

    /// A step that is recorded as dropped but that the code now waits on: nothing would ever end it.
    pub fn awaits_cancelled(&self) -> Option<Divergence> {
        let mut both = self.slots.iter().zip(&self.recorded);
        let (_, step) = both.find(|(slot, step)| {
            matches!(slot, Slot::Open(_)) && step.state == StepState::Cancelled
        })?;
        let step_text = describe(&step.kind, step.label.as_deref(), step.after);
        Some(Divergence {
            seq: step.seq,
            recorded: format!("{step_text}, dropped"),
            code: format!("{step_text}, still waited on"),
        })
    }
}

fn describe(kind: &str, label: Option<&str>, after: u32) -> String {
    match label {
        Some(label) => format!("{kind} '{label}' after {after} completions"),
        None => format!("{kind} after {after} completions"),
    }
}
