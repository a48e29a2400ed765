//! One advance of a run: replay, perform, record.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::{AdvanceIn, Pin, RunStatus, TriggerEvent, step};
use hogsend_plugin_api::limits;
use serde_json::json;

use super::enrich;
use super::journal::Journal;
use super::step::{Effects, Performed, Performing, perform};
use super::wait;
use crate::backoff;
use crate::calls;
use crate::catalog::JourneyEntry;
use crate::contacts;
use crate::context::Context;
use crate::db::{self, ClaimedState, Contact, Log, PluginCall, Progress, StepRow, Tx};
use crate::enrolment;
use crate::ingest::{self, NewEvent};
use crate::plugins::JourneysRef;
use crate::webhooks::{News, announce};

/// How long a run waits whose plugin gave no answer.
const PLUGIN_RETRY: TimeDelta = TimeDelta::minutes(1);
/// The longest time between two looks at a run whose journey no plugin brings any more.
const PLUGIN_GONE_RETRY: TimeDelta = TimeDelta::hours(1);
/// Advances in a row that may fail to be recorded before the run is left alone.
const FAILURES_MAX: i16 = 5;

/// What an advance came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advanced {
    Recorded,
    /// Something else changed the run meanwhile; nothing was recorded and it is due again.
    Outdated,
    /// The plugin could not be asked; the run is due again later.
    Postponed,
}

/// Advances a claimed run as far as it goes without waiting.
///
/// Everything the run does is collected first and written in one transaction with the steps that
/// caused it, under the claim and the revision the journal was read at. So a step's effect exists
/// if and only if the step is recorded, whichever worker dies when.
pub async fn advance(cx: &Context, state: &ClaimedState) -> db::Result<Advanced> {
    let Some(entry) = cx.catalog.journey(&state.journey_id).cloned() else {
        cx.loops.without_plugin(&state.journey_id);
        // The longer it has waited, the more seldom it is looked at.
        let waited = cx.clock.now() - state.updated_at;
        let wait = waited.clamp(PLUGIN_RETRY, PLUGIN_GONE_RETRY);
        return postpone(cx, state, wait).await;
    };
    let rows = {
        let mut conn = cx.db.conn().await?;
        db::steps_of(&mut conn, state.id).await?
    };
    let mut journal = Journal::new(rows, state.completions);
    if state.deaths.count >= calls::DEATHS_MAX {
        let ending = Ending::died(state);
        return record_stuck(cx, state, journal, ending).await;
    }
    let known_now;
    // Before the first step only: a replay has to see the person it saw then.
    let state = if journal.len() == 0 {
        let products: Vec<_> = cx.plugins.analytics();
        let products: Vec<&str> = products.iter().map(|one| one.id()).collect();
        let person = enrich::complete(cx, state);
        known_now = if products.is_empty() {
            person.await
        } else {
            let call = format!("{}, person", products.join(" and "));
            noted(cx, state, call, person).await?
        };
        &known_now
    } else {
        state
    };
    let plugin = code_of(cx, &entry, state);
    let run = Performing {
        cx,
        state,
        entry: &entry,
        plugin: &plugin,
        now: cx.clock.now(),
    };
    let now = run.now;
    let mut effects = Effects::default();

    let known = journal.len();
    // What ended first is told first; then questions an earlier advance left for after its commit.
    for seq in journal.due(now) {
        perform_one(run, &mut journal, &mut effects, seq, known).await?;
    }
    perform_open(run, &mut journal, &mut effects, known).await?;

    let status = loop {
        let asked = journal.len();
        let call = format!("{}, advance, step {asked}", plugin.id());
        let answer = plugin.advance(input(state, &journal));
        let out = match noted(cx, state, call, answer).await? {
            Ok(out) => out,
            Err(error) => {
                tracing::error!(journey.id = %state.journey_id, state.id = %state.id, %error,
                    "the journey's plugin gave no answer, its run waits");
                return postpone(cx, state, PLUGIN_RETRY).await;
            }
        };
        if matches!(out.status, RunStatus::Diverged(_)) {
            // What code that does not fit the journal asks for is not to be done.
            break out.status;
        }
        // The SDK keeps to these, but a plugin need not be made with it.
        let failed = |message| RunStatus::Failed {
            message,
            location: Some(entry.definition.location.clone()),
        };
        if let Some(limit) = journal.exceeds(&out.commands) {
            break failed(limit);
        }
        for command in out.commands {
            journal.issue(command, now);
        }
        if journal.is_full() {
            break failed(limits::too_much_held());
        }
        // What code drops because it failed is waited on again when the run is retried.
        if !matches!(out.status, RunStatus::Failed { .. }) {
            for seq in out.cancels {
                journal.cancel(seq);
            }
        }
        if out.status != RunStatus::Waiting {
            break out.status;
        }
        if !perform_open(run, &mut journal, &mut effects, asked).await? {
            break RunStatus::Waiting;
        }
    };
    let outcome = Outcome {
        cx,
        state,
        journal,
        effects,
        ending: Ending::of(&status),
        now,
    };
    cx.db.transact(|tx| record(tx, &outcome)).await
}

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

fn input(state: &ClaimedState, journal: &Journal) -> AdvanceIn {
    AdvanceIn {
        journey: state.journey_id.clone(),
        run_id: state.id.into(),
        started_at: state.created_at,
        user: state.person.clone(),
        event: TriggerEvent {
            name: state.trigger_event.clone(),
            properties: state.context.clone(),
            trust: state.trust,
        },
        steps: journal.steps(),
    }
}

/// The version of the code a run goes on with: the one it began with where it is kept to that and
/// the version is still loaded, else the newest.
fn code_of(cx: &Context, entry: &JourneyEntry, state: &ClaimedState) -> JourneysRef {
    let keeps = state.pinned || entry.definition.pin == Pin::Run;
    let begun_with = || {
        cx.plugins
            .journeys_at(&state.plugin_id, &state.plugin_version)
    };
    let own = if keeps { begun_with() } else { None };
    own.unwrap_or_else(|| entry.plugin.clone())
}

/// Performs the open steps; those from number `fresh` on are new. True where one ended, so that
/// the code may go on.
async fn perform_open(
    run: Performing<'_>,
    journal: &mut Journal,
    effects: &mut Effects,
    fresh: usize,
) -> db::Result<bool> {
    let mut progressed = false;
    let open: Vec<u32> = journal.open().map(|row| row.step.seq).collect();
    for seq in open {
        progressed |= perform_one(run, journal, effects, seq, fresh).await?;
        if effects.asks_again {
            return Ok(false);
        }
    }
    Ok(progressed)
}

async fn perform_one(
    run: Performing<'_>,
    journal: &mut Journal,
    effects: &mut Effects,
    seq: u32,
    fresh: usize,
) -> db::Result<bool> {
    let Some(row) = journal.open().find(|row| row.step.seq == seq).cloned() else {
        return Ok(false);
    };
    match perform(run, journal, &row, seq as usize >= fresh, effects).await? {
        Performed::Done(result) => {
            journal.complete(seq, result, run.now);
            return Ok(true);
        }
        Performed::Retry(at) => journal.retry(seq, at),
        Performed::Open | Performed::AfterCommit => {}
    }
    Ok(false)
}

/// Decides on a run whose advance could not be recorded: it is due again at a growing distance, and
/// after the fifth time in a row it is stuck. Does nothing where the claim is lost.
pub async fn unrecorded(cx: &Context, state: &ClaimedState, error: &sqlx::Error) -> db::Result<()> {
    tracing::error!(state.id = %state.id, journey.id = %state.journey_id, %error,
        "an advance could not be recorded");
    let (now, ending) = (cx.clock.now(), Ending::unrecordable(error));
    let ending = &ending;
    let decide = |mut tx: Tx| async move {
        db::contact_lock(&mut tx, &[state.contact_id]).await?;
        let Some(before) = db::state_failures(&mut tx, state).await? else {
            return Ok((tx, ()));
        };
        let failures = before.saturating_add(1);
        if failures < FAILURES_MAX {
            let wake_at = now + backoff::wait(failures.into(), None);
            db::state_failed(&mut tx, state.id, failures, wake_at).await?;
            return Ok((tx, ()));
        }
        let progress = Progress {
            status: ending.status,
            node: &state.current_node_id,
            wake_at: None,
            completions: state.completions,
            error: ending.error.as_deref(),
            stuck_reason: ending.stuck_reason,
        };
        if db::state_progress(&mut tx, state.id, &progress, now).await? {
            db::log_insert(&mut tx, &[ending.log(state)], now).await?;
        }
        Ok((tx, ()))
    };
    cx.db.transact(decide).await
}

/// Leaves a run alone that no code was asked for.
async fn record_stuck(
    cx: &Context,
    state: &ClaimedState,
    journal: Journal,
    ending: Ending,
) -> db::Result<Advanced> {
    tracing::error!(state.id = %state.id, journey.id = %state.journey_id,
        reason = ending.error.as_deref(), "a run is stuck");
    let outcome = Outcome {
        cx,
        state,
        journal,
        effects: Effects::default(),
        ending,
        now: cx.clock.now(),
    };
    cx.db.transact(|tx| record(tx, &outcome)).await
}

/// What an advance came to, before it is written.
struct Outcome<'a> {
    cx: &'a Context,
    state: &'a ClaimedState,
    journal: Journal,
    effects: Effects,
    ending: Ending,
    now: DateTime<Utc>,
}

/// Writes an advance: steps, mails, events and the run's new state, in one transaction. Its events
/// may be about other people, so everybody they can be about is locked before the run is.
async fn record(mut tx: Tx, outcome: &Outcome<'_>) -> db::Result<(Tx, Advanced)> {
    let Outcome {
        cx,
        state,
        effects,
        ending,
        now,
        ..
    } = outcome;
    let now = *now;
    let mut journal = outcome.journal.clone();
    let people = effects.events.iter().map(|event| &event.person);
    let people = contacts::lock_people(&mut tx, &[state.contact_id], people).await?;
    let contact = people.into_iter().find(|one| one.id == state.contact_id);
    if !db::state_fence(&mut tx, state).await? {
        db::state_release(&mut tx, state, now).await?;
        return Ok((tx, Advanced::Outdated));
    }
    if state.completions == 0 {
        db::state_person(&mut tx, state.id, &state.person).await?;
    }
    if state.deaths.count > 0 {
        db::calls_forget(&mut tx, &[state.id.into()]).await?;
    }
    let mut asks_again = effects.asks_again;
    if ending.waits() {
        asks_again |= begin_waits(&mut tx, state, contact, &mut journal, now).await?;
    }
    db::step_upsert(&mut tx, state.id, &journal.changed()).await?;
    write(&mut tx, state, effects, now).await?;

    // A run that goes on is written first: one of its own events may end it or what it waits for.
    // One that ends still stands in the way of a second run while its last events come in.
    let events = &effects.events;
    if !ending.waits() && !events.is_empty() {
        ingest::store(&mut tx, &cx.catalog, now, events.clone()).await?;
    }
    let wake_at = if asks_again {
        Some(now)
    } else {
        journal.next_due()
    };
    let stands = progress(&mut tx, state, &journal, ending, wake_at, now).await?;
    if ending.waits() && !events.is_empty() {
        ingest::store(&mut tx, &cx.catalog, now, events.clone()).await?;
    }
    if stands && let Some(news) = ending.news(state, now) {
        let depth = state.depth.saturating_add(1);
        let properties = news.data.clone();
        let event = NewEvent::from_journey(news.contact, news.event_type, properties, depth)
            .believed(state.trust);
        announce(&mut tx, &[news], now).await?;
        ingest::store(&mut tx, &cx.catalog, now, vec![event]).await?;
    }
    Ok((tx, Advanced::Recorded))
}

/// Waits that begin now: marks the person as one whose events are waited for, and ends waits for
/// what has happened already. True where the run is to go on at once.
async fn begin_waits(
    tx: &mut Tx,
    state: &ClaimedState,
    contact: Option<Contact>,
    journal: &mut Journal,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let begun: Vec<StepRow> = journal
        .changed()
        .into_iter()
        .filter(|row| row.is_open() && row.step.kind == step::WAIT_FOR && row.due_at.is_some())
        .cloned()
        .collect();
    if begun.is_empty() {
        return Ok(false);
    }
    db::contact_listen(tx, state.contact_id).await?;
    let properties = contact
        .map(|contact| contact.properties)
        .unwrap_or_default();
    let mut ended = false;
    for row in begun {
        let Ok(args) = serde_json::from_value(row.args.clone()) else {
            continue;
        };
        let about = (state.contact_id, &properties);
        let after = wait::begins(state, journal, &row);
        let past = enrolment::past(tx, about, &args, after, row.issued_at);
        if let Some(waited) = past.await? {
            journal.complete(row.step.seq, Ok(json!(waited)), now);
            ended = true;
        }
    }
    Ok(ended)
}

/// Writes what a run does to the world, its events apart.
async fn write(
    tx: &mut Tx,
    state: &ClaimedState,
    effects: &Effects,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let (contact, journey) = (state.contact_id, &state.journey_id);
    for send in &effects.sends {
        db::send_insert(tx, send, now).await?;
    }
    if !effects.identify.is_empty() {
        db::contact_set_properties(tx, contact, &effects.identify, now).await?;
    }
    if !effects.captures.is_empty() {
        db::capture_insert(tx, &effects.captures, now).await?;
    }
    if !effects.onces.is_empty() {
        db::once_insert(tx, contact, journey, &effects.onces, now).await?;
    }
    if effects.passes > 0 {
        db::pass_insert(tx, contact, journey, effects.passes, now).await?;
    }
    Ok(())
}

/// Writes where the run stands. False where one of the run's own events ended it: that end stands.
async fn progress(
    tx: &mut Tx,
    state: &ClaimedState,
    journal: &Journal,
    ending: &Ending,
    wake_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> db::Result<bool> {
    let node = journal
        .node()
        .unwrap_or_else(|| state.current_node_id.clone());
    let progress = Progress {
        status: ending.status,
        node: &node,
        wake_at: wake_at.filter(|_| ending.waits()),
        completions: journal.completions(),
        error: ending.error.as_deref().filter(|_| ending.is_broken()),
        stuck_reason: ending.stuck_reason,
    };
    let stands = db::state_progress(tx, state.id, &progress, now).await?;
    let changed = journal.changed();
    if stands && (!changed.is_empty() || !ending.waits()) {
        let log = Log {
            state_id: state.id,
            from: Some(state.status.clone()),
            to: ending.status.into(),
            action: ending.action,
            detail: json!({
                "node": node,
                "steps": changed.iter().map(|row| row.step.seq).collect::<Vec<_>>(),
                "reason": ending.error,
            }),
        };
        db::log_insert(tx, &[log], now).await?;
    }
    Ok(stands)
}

async fn postpone(cx: &Context, state: &ClaimedState, wait: TimeDelta) -> db::Result<Advanced> {
    let mut conn = cx.db.conn().await?;
    db::state_release(&mut conn, state, cx.clock.now() + wait).await?;
    Ok(Advanced::Postponed)
}

/// How a run stands after an advance, in the words of the database.
struct Ending {
    status: &'static str,
    action: &'static str,
    error: Option<String>,
    /// Why it is stuck, in a word.
    stuck_reason: Option<&'static str>,
}

impl Ending {
    fn of(status: &RunStatus) -> Self {
        let (name, action, error) = match status {
            RunStatus::Waiting => ("waiting", "advanced", None),
            RunStatus::Completed => ("completed", "completed", None),
            RunStatus::Exited { reason } => ("exited", "exit_step", Some(reason.clone())),
            RunStatus::Failed { message, location } => {
                let place = location.as_deref().map(|place| format!(" at {place}"));
                (
                    "failed",
                    "failed",
                    Some(format!("{message}{}", place.unwrap_or_default())),
                )
            }
            RunStatus::Diverged(differs) => {
                let message = format!(
                    "the journey's code changed under this run: step {} was {}, the code now asks for {}",
                    differs.seq, differs.recorded, differs.code
                );
                return Self::stuck("diverged", message);
            }
            RunStatus::Stuck { message } => return Self::stuck("unreadable", message.clone()),
        };
        Self {
            status: name,
            action,
            error,
            stuck_reason: None,
        }
    }

    /// An administrator has to decide.
    fn stuck(reason: &'static str, message: String) -> Self {
        Self {
            status: "stuck",
            action: reason,
            error: Some(message),
            stuck_reason: Some(reason),
        }
    }

    fn died(state: &ClaimedState) -> Self {
        let verdict = calls::verdict(&state.deaths);
        let message = format!(
            "{verdict}: look at the journey's code and at the log of the worker, then resume it"
        );
        Self::stuck("worker_died", message)
    }

    fn unrecordable(error: &sqlx::Error) -> Self {
        let message =
            format!("what came of its advance could not be recorded {FAILURES_MAX} times: {error}");
        Self::stuck("unrecordable", message)
    }

    fn log(&self, state: &ClaimedState) -> Log {
        Log {
            state_id: state.id,
            from: Some(state.status.clone()),
            to: self.status.into(),
            action: self.action,
            detail: json!({ "node": state.current_node_id, "reason": self.error }),
        }
    }

    /// Whether somebody has to look at it.
    fn is_broken(&self) -> bool {
        matches!(self.status, "failed" | "stuck")
    }

    fn waits(&self) -> bool {
        self.status == "waiting"
    }

    /// What is told of it: to endpoints, and as an event other journeys may be triggered by.
    fn news(&self, state: &ClaimedState, now: DateTime<Utc>) -> Option<News> {
        let name = match self.status {
            "completed" => "journey.completed",
            "failed" => "journey.failed",
            "exited" => "journey.exited",
            _ => return None,
        };
        let mut properties = Properties::new();
        properties.insert("journeyId".into(), json!(state.journey_id));
        properties.insert("stateId".into(), json!(state.id));
        if let Some(error) = &self.error {
            let name = if self.status == "exited" {
                "reason"
            } else {
                "error"
            };
            properties.insert(name.into(), json!(error));
        }
        Some(News {
            event_type: name,
            contact: state.contact_id,
            occurred_at: now,
            data: properties,
        })
    }
}
