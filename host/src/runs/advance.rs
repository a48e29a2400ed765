//! One advance of a run: load its journal, call the journey's code and perform what it asks for until it
//! waits or ends, record.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::TimeDelta;
use hogsend_plugin_api::journey::{AdvanceIn, AdvanceOut, Pin, RunStatus, TriggerEvent};
use hogsend_plugin_api::limits;
use tracing::Span;

use super::end::Ending;
use super::enrich;
use super::journal::Journal;
use super::record::{Outcome, crashed, record_stuck};
use super::recorder::Recorder;
use super::standing::Standing;
use super::step::{Effects, Performed, Performing, perform};
use crate::calls;
use crate::catalog::JourneyEntry;
use crate::context::Context;
use crate::db::{self, ClaimedState, PluginCall};
use crate::plugins::{ErrorKind, JourneysRef, PluginError};
use crate::telemetry::Outages;

/// How long a run waits whose plugin gave no answer.
const PLUGIN_RETRY: TimeDelta = TimeDelta::minutes(1);
/// The longest pause between two looks at a run whose journey is in no plugin.
const PLUGIN_GONE_RETRY: TimeDelta = TimeDelta::hours(1);

/// Plugins of journeys that give no answer.
static SILENT: LazyLock<Outages> = LazyLock::new(Outages::default);

/// Advances a claimed run as far as it goes without waiting.
///
/// All effects of the run are collected first and written in one transaction with the steps that
/// caused them, under the claim and the revision the journal was read at. So a step's effect exists
/// if and only if the step is recorded, whichever worker dies when.
pub async fn advance(
    cx: &Context,
    recorder: &Recorder,
    state: &ClaimedState,
) -> db::Result<Standing> {
    let Some(entry) = cx.catalog().journey(&state.journey_id).cloned() else {
        return without_plugin(cx, state).await;
    };
    let journal = load(cx, state).await?;
    if state.deaths.count >= calls::DEATHS_MAX {
        let ending = Ending::died(state);
        return record_stuck(cx, state, journal, ending).await;
    }
    let completed = with_person(cx, state, &journal).await?;
    let plugin = code_of(cx, &entry, &completed);
    let now = cx.clock.now();
    let run = Performing {
        cx,
        state: &completed,
        entry: &entry,
        plugin: &plugin,
        now,
    };
    let mut advance = Advance {
        run,
        journal,
        effects: Effects::default(),
        crash: None,
    };
    let Some(status) = advance.go().await? else {
        let Some(error) = advance.crash else {
            return postpone(cx, state, PLUGIN_RETRY).await;
        };
        return crashed(cx, state, &error).await;
    };
    let Advance {
        journal, effects, ..
    } = advance;
    let outcome = Outcome {
        state: completed.into_owned(),
        journal,
        effects,
        ending: Ending::of(&status),
        now,
        span: Span::current(),
    };
    recorder.record(cx, outcome).await
}

/// Postpones a run whose journey is in no plugin. The longer it has waited, the longer is the pause.
async fn without_plugin(cx: &Context, state: &ClaimedState) -> db::Result<Standing> {
    cx.loops.without_plugin(&state.journey_id);
    let waited = cx.clock.now() - state.updated_at;
    let wait = waited.clamp(PLUGIN_RETRY, PLUGIN_GONE_RETRY);
    postpone(cx, state, wait).await
}

async fn postpone(cx: &Context, state: &ClaimedState, wait: TimeDelta) -> db::Result<Standing> {
    let mut conn = cx.db.conn().await?;
    let now = cx.clock.now();
    db::state_release(&mut conn, state, now + wait).await?;
    Ok(Standing::at(Some(now + wait), now))
}

async fn load(cx: &Context, state: &ClaimedState) -> db::Result<Journal> {
    let rows = match &state.steps {
        Some(steps) => steps.to_vec(),
        None => {
            let mut conn = cx.db.conn().await?;
            db::steps_of(&mut conn, state.id).await?
        }
    };
    Ok(Journal::new(rows, state.completions))
}

/// The run with the person completed by what analytics products know, before its first step only: a
/// replay has to see the person as they were then.
async fn with_person<'a>(
    cx: &Context,
    state: &'a ClaimedState,
    journal: &Journal,
) -> db::Result<Cow<'a, ClaimedState>> {
    if journal.len() > 0 {
        return Ok(Cow::Borrowed(state));
    }
    let products = cx.plugins().analytics();
    let products: Vec<&str> = products.iter().map(|one| one.id()).collect();
    let person = enrich::complete(cx, state);
    let completed = if products.is_empty() {
        person.await
    } else {
        let call = format!("{}, person", products.join(" and "));
        noted(cx, state, call, person).await?
    };
    Ok(Cow::Owned(completed))
}

/// The version of the code a run goes on with: the one it began with where it is kept to that and
/// the version is still loaded, else the newest.
fn code_of(cx: &Context, entry: &JourneyEntry, state: &ClaimedState) -> JourneysRef {
    let keeps = state.pinned || entry.definition.pin == Pin::Run;
    let begun_with = || {
        cx.plugins()
            .journeys_at(&state.plugin_id, &state.plugin_version)
    };
    let own = if keeps { begun_with() } else { None };
    own.unwrap_or_else(|| entry.plugin.clone())
}

/// Calls a plugin, with a note in the database for as long as the call runs.
async fn noted<T>(
    cx: &Context,
    state: &ClaimedState,
    name: String,
    answer: impl Future<Output = T>,
) -> db::Result<T> {
    let call = PluginCall {
        subject: state.id.into(),
        claim: state.claim,
        name,
    };
    cx.calls.noted("run", call, answer).await
}

/// An advance under way.
struct Advance<'a> {
    run: Performing<'a>,
    journal: Journal,
    effects: Effects,
    /// The call that did not end, or that ended the process of a plugin that has its own.
    crash: Option<PluginError>,
}

impl Advance<'_> {
    /// Performs what is due, then lets the code go on until it waits or ends. None where its plugin gave
    /// no answer.
    async fn go(&mut self) -> db::Result<Option<RunStatus>> {
        self.perform_due().await?;
        loop {
            let fresh = self.journal.len();
            let Some(out) = self.call().await? else {
                return Ok(None);
            };
            if let Some(over) = self.issue(out) {
                return Ok(Some(over));
            }
            if !self.perform_open(fresh).await? {
                return Ok(Some(RunStatus::Waiting));
            }
        }
    }

    /// Performs the steps of the journal whose time has come, earliest first, so that the code sees them
    /// end in this order; then the questions that an earlier advance left for after its commit.
    async fn perform_due(&mut self) -> db::Result<()> {
        let known = self.journal.len();
        for seq in self.journal.due(self.run.now) {
            self.perform_one(seq, known).await?;
        }
        self.perform_open(known).await?;
        Ok(())
    }

    /// Calls the code with the journal. None where its plugin gave no answer.
    async fn call(&mut self) -> db::Result<Option<AdvanceOut>> {
        let Performing {
            cx, state, plugin, ..
        } = self.run;
        let name = format!("{}, advance, step {}", plugin.id(), self.journal.len());
        let answer = plugin.advance(input(state, &self.journal));
        match noted(cx, state, name, answer).await? {
            Ok(out) => {
                if let Some(recovered) = SILENT.over(plugin.id()) {
                    let seconds = recovered.seconds;
                    tracing::info!(
                        plugin = plugin.id(),
                        seconds,
                        "a journey's plugin answers again"
                    );
                }
                Ok(Some(out))
            }
            // Each of these costs a process or a thread, so they are counted.
            Err(error) if matches!(error.kind, ErrorKind::Ended | ErrorKind::Deadline) => {
                self.crash = Some(error);
                Ok(None)
            }
            Err(error) => {
                if let Some(failing) = SILENT.failed(plugin.id()) {
                    tracing::error!(plugin = plugin.id(), failures = failing.failures, %error,
                        "a journey's plugin gave no answer; the worker calls it again in a minute");
                }
                Ok(None)
            }
        }
    }

    /// Takes the answer of the code into the journal. Returns how the run ends, unless it waits.
    fn issue(&mut self, out: AdvanceOut) -> Option<RunStatus> {
        if matches!(out.status, RunStatus::Diverged(_)) {
            // The commands of code that does not fit the journal are not performed.
            return Some(out.status);
        }
        // The SDK keeps to these limits, but a plugin need not be made with it.
        if let Some(limit) = self.journal.exceeds(&out.commands) {
            return Some(self.failed(limit));
        }
        for command in out.commands {
            self.journal.issue(command, self.run.now);
        }
        if self.journal.is_full() {
            return Some(self.failed(limits::too_much_held()));
        }
        // What code drops because it failed is waited on again when the run is retried.
        if !matches!(out.status, RunStatus::Failed { .. }) {
            for seq in out.cancels {
                self.journal.cancel(seq);
            }
        }
        (out.status != RunStatus::Waiting).then_some(out.status)
    }

    fn failed(&self, message: String) -> RunStatus {
        RunStatus::failed(message, Some(self.run.entry.definition.location.clone()))
    }

    /// Performs the open steps; those from number `fresh` on are new. True where one ended, so that
    /// the code may go on.
    async fn perform_open(&mut self, fresh: usize) -> db::Result<bool> {
        let mut progressed = false;
        let open: Vec<u32> = self.journal.open().map(|row| row.step.seq).collect();
        for seq in open {
            progressed |= self.perform_one(seq, fresh).await?;
            if self.effects.asks_again {
                return Ok(false);
            }
        }
        Ok(progressed)
    }

    async fn perform_one(&mut self, seq: u32, fresh: usize) -> db::Result<bool> {
        let row = self.journal.open().find(|row| row.step.seq == seq);
        let Some(row) = row.cloned() else {
            return Ok(false);
        };
        let new = seq as usize >= fresh;
        match perform(self.run, &self.journal, &row, new, &mut self.effects).await? {
            Performed::Done(result) => {
                self.journal.complete(seq, result, self.run.now);
                return Ok(true);
            }
            Performed::Retry(at) => self.journal.retry(seq, at),
            Performed::Open | Performed::AfterCommit => {}
        }
        Ok(false)
    }
}

fn input(state: &ClaimedState, journal: &Journal) -> AdvanceIn {
    let mut event = TriggerEvent::new(&state.trigger_event, state.context.clone());
    event.trust = state.trust;
    let (id, begun, user) = (state.id.into(), state.created_at, state.person.clone());
    let mut input = AdvanceIn::new(&state.journey_id, id, begun, user, event);
    input.steps = journal.steps();
    input
}
