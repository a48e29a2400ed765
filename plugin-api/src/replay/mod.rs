//! Runs async code against its journal.
//!
//! Each replay starts the code from the top and feeds it the recorded completions one by one, with
//! one poll after each, so the same journal always gives the same commands. A step takes its number
//! where the code *calls* it, not where it is first polled, because `select!` may poll its branches
//! in any order. Dropping an unfinished step cancels it.

mod journal;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::journal::{Draft, Journal, Slot};
use crate::guard;
use crate::host::LogLine;
use crate::limits;
use crate::print::fits;
use crate::step::{Command, Step, StepError, StepState};

/// Result of a replay.
#[derive(Debug)]
pub(crate) struct Played<T> {
    pub end: End<T>,
    /// Steps issued for the first time, by number.
    pub commands: Vec<Command>,
    /// Steps dropped before they ended, not yet recorded as cancelled.
    pub cancels: Vec<u32>,
    /// What the code logged, from its start.
    pub log: Vec<LogLine>,
}

#[derive(Debug)]
pub(crate) enum End<T> {
    /// Waiting for at least one open step.
    Waiting,
    /// Waiting for something that is not a step, so nothing can ever wake it.
    Stuck,
    Done(T),
    Panicked(guard::Panicked),
    Diverged(Divergence),
    /// The code exceeded this limit. The host performs none of its new steps.
    Exceeded(String),
}

/// The first difference between the code and its journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The number of the first step that differs.
    pub seq: u32,
    /// What the journal holds at this number, for people.
    pub recorded: String,
    /// What the code calls now, for people.
    pub code: String,
}

/// The kind of code, which decides its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// A run of a journey: the host stores all of its steps, so [`limits`] apply.
    Run,
    /// A single call of a plugin, whose steps are not stored.
    Call,
}

/// Replays `code` against `steps`, which the host passes ordered by number.
pub(crate) fn play<T, F: Future<Output = T>>(
    bounds: Bounds,
    started_at: DateTime<Utc>,
    steps: Vec<Step>,
    code: impl FnOnce(Replay) -> F,
) -> Played<T> {
    let mut done: Vec<(u32, usize)> = steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match step.state {
            StepState::Done { pos, .. } => Some((pos, index)),
            _ => None,
        })
        .collect();
    done.sort_unstable();
    let replay = Replay(Rc::new(RefCell::new(Journal::new(
        bounds, started_at, steps,
    ))));

    let polled = guard::catch(|| {
        let mut future = Box::pin(code(replay.clone()));
        let mut completions = done.into_iter();
        let end = loop {
            let poll = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            replay.0.borrow_mut().finalise_drafts();
            if let Some(divergence) = replay.0.borrow_mut().divergence.take() {
                break End::Diverged(divergence);
            }
            if let Some(limit) = &replay.0.borrow().exceeded {
                break End::Exceeded(limit.clone());
            }
            match poll {
                Poll::Ready(value) => break End::Done(value),
                Poll::Pending => match completions.next() {
                    Some((_, index)) => {
                        let waker = replay.0.borrow_mut().complete(index);
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                    }
                    None if replay.0.borrow().has_open_step() => break End::Waiting,
                    None => break End::Stuck,
                },
            }
        };
        // Steps still held when the code waits are not cancelled; those left over at its end are.
        replay.0.borrow_mut().parked = !matches!(end, End::Done(_));
        if guard::catch(|| drop(future)).is_err() {
            replay.0.borrow_mut().parked = true;
        }
        end
    });
    let mut journal = replay.0.borrow_mut();
    journal.finalise_drafts();
    // What the code did after it diverged does not matter.
    let diverged = journal.divergence.take().or_else(|| match &polled {
        _ if journal.exceeded.is_some() => None,
        Ok(End::Done(_)) => journal.leftover("the end of the code"),
        Ok(End::Waiting) => journal
            .awaits_cancelled()
            .or_else(|| journal.leftover("nothing more before it waits")),
        Ok(_) | Err(_) => None,
    });
    let end = match (diverged, polled) {
        (_, Ok(End::Diverged(divergence))) | (Some(divergence), _) => End::Diverged(divergence),
        (None, _) if journal.exceeded.is_some() => {
            journal.commands.clear();
            journal.cancels.clear();
            End::Exceeded(journal.exceeded.take().unwrap_or_default())
        }
        (None, Ok(end)) => end,
        (None, Err(panicked)) => End::Panicked(panicked),
    };
    let mut commands = std::mem::take(&mut journal.commands);
    commands.sort_unstable_by_key(|command| command.seq);
    Played {
        end,
        commands,
        cancels: std::mem::take(&mut journal.cancels),
        log: std::mem::take(&mut journal.log),
    }
}

/// The code's handle to the journal; cheap to clone, one journal per run.
#[derive(Clone)]
pub(crate) struct Replay(Rc<RefCell<Journal>>);

impl Replay {
    /// Takes the next number for a step. Its inputs may still be changed through
    /// [`StepHandle::edit`] until it is first polled or the code waits for anything else.
    ///
    /// Code that exceeded a limit must not continue: the call unwinds it.
    pub fn step(&self, kind: &'static str, args: Value) -> StepHandle {
        let mut journal = self.0.borrow_mut();
        if !journal.has_room() {
            drop(journal);
            if !std::thread::panicking() {
                // Not reported as a panic: the result names the limit.
                std::panic::resume_unwind(Box::new("the run passed a limit"));
            }
            return StepHandle {
                replay: self.clone(),
                seq: NOWHERE,
            };
        }
        let seq = journal.slots.len() as u32;
        let after = journal.consumed;
        journal.slots.push(Slot::Draft(Draft {
            kind,
            args,
            label: None,
            after,
        }));
        journal.drafts.push(seq);
        drop(journal);
        StepHandle {
            replay: self.clone(),
            seq,
        }
    }

    /// Records a step the code never waits on.
    pub fn note(&self, kind: &'static str, args: Value) {
        let step = self.step(kind, args);
        let mut journal = self.0.borrow_mut();
        journal.finalise(step.seq);
        if let Some(slot) = journal.slots.get_mut(step.seq as usize) {
            *slot = Slot::Over;
        }
    }

    /// Records a step where the journal has it or ends here, and returns true. Returns false where
    /// an earlier version of the code recorded something else here.
    pub fn marker(&self, kind: &'static str, args: Value) -> bool {
        let absent = {
            let journal = self.0.borrow();
            journal
                .recorded(journal.slots.len() as u32)
                .is_some_and(|step| step.kind != kind || !fits(&step.print, kind, &args))
        };
        if !absent {
            self.note(kind, args);
        }
        !absent
    }

    /// Logs a line, which is no step. Lines beyond [`limits::LOG_LINES_MAX`] are dropped.
    pub fn log(&self, line: LogLine) {
        let mut journal = self.0.borrow_mut();
        if journal.log.len() < limits::LOG_LINES_MAX {
            journal.log.push(line);
        }
    }

    /// The time of the last completion the code has seen, or the start where there is none.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.borrow().now
    }
}

/// The number of a step beyond the limit, which is in no journal.
const NOWHERE: u32 = u32::MAX;

/// A step. Resolves to what the host recorded.
#[must_use = "a step does nothing until it is awaited"]
pub(crate) struct StepHandle {
    replay: Replay,
    seq: u32,
}

impl StepHandle {
    /// Changes the inputs of a step the host does not know yet.
    ///
    /// # Panics
    ///
    /// Where the code has awaited something since it called the step: the host has the old inputs
    /// and may have acted on them.
    #[track_caller]
    pub fn edit(self, change: impl FnOnce(&mut Value)) -> Self {
        match self.replay.0.borrow_mut().slots.get_mut(self.seq as usize) {
            Some(Slot::Draft(draft)) => change(&mut draft.args),
            None => {}
            _ => panic!(
                "a step was changed after an .await: give it all its inputs where it is made"
            ),
        }
        self
    }

    /// Sets one input.
    #[track_caller]
    pub fn set(self, name: &str, value: impl Into<Value>) -> Self {
        self.edit(|args| args[name] = value.into())
    }

    /// Labels the step for people.
    pub fn label(self, label: &str) -> Self {
        let mut journal = self.replay.0.borrow_mut();
        if let Some(Slot::Draft(draft)) = journal.slots.get_mut(self.seq as usize) {
            draft.label = Some(label.to_owned());
        }
        drop(journal);
        self
    }
}

impl Future for StepHandle {
    type Output = Result<Value, StepError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut journal = self.replay.0.borrow_mut();
        journal.finalise(self.seq);
        let Some(slot) = journal.slots.get_mut(self.seq as usize) else {
            return Poll::Pending;
        };
        match slot {
            Slot::Open(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Slot::Done(_) => match std::mem::replace(slot, Slot::Over) {
                Slot::Done(result) => Poll::Ready(result),
                _ => Poll::Pending,
            },
            Slot::Draft(_) | Slot::Over => Poll::Pending,
        }
    }
}

impl Drop for StepHandle {
    fn drop(&mut self) {
        // The cell may still be borrowed after a panic; the run has failed by then.
        if let Ok(mut journal) = self.replay.0.try_borrow_mut() {
            journal.drop_step(self.seq);
        }
    }
}
