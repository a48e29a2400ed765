//! Recording advances: steps, effects and the runs' new states, in one transaction.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::step;
use serde_json::json;
use tracing::Span;
use uuid::Uuid;

use super::end::Ending;
use super::journal::Journal;
use super::standing::Standing;
use super::step::Effects;
use super::wait;
use crate::backoff;
use crate::contacts;
use crate::context::Context;
use crate::db::{self, ClaimedState, Contact, Log, Progress, StepRow, Tx};
use crate::enrolment;
use crate::ids::StateId;
use crate::ingest::{self, NewEvent};
use crate::plugins::PluginError;
use crate::telemetry::traces;
use crate::webhooks::announce;

/// Advances in a row that may fail, to be recorded or by a crash, before the run is stuck.
const FAILURES_MAX: i16 = 5;

/// An advance before it is recorded.
pub struct Outcome {
    pub state: ClaimedState,
    pub journal: Journal,
    pub effects: Effects,
    pub ending: Ending,
    pub now: DateTime<Utc>,
    /// The span of the advance. What it leads to belongs to the same trace.
    pub span: Span,
}

impl Outcome {
    fn traceparent(&self) -> Option<String> {
        self.span.in_scope(traces::current)
    }
}

/// An advance while it is recorded: the transaction may run again, so it has a journal of its own.
struct Recorded<'a> {
    outcome: &'a Outcome,
    journal: Journal,
    wake_at: Option<DateTime<Utc>>,
}

/// Records advances of different contacts' runs, each under the claim and the revision that its journal was read
/// at. A run's events may be about other people, so everybody they can be about is locked before the runs. Where
/// something else changed a run meanwhile, nothing is recorded of its advance and it is due again.
pub async fn record(
    cx: &Context,
    mut tx: Tx,
    outcomes: &[&Outcome],
) -> db::Result<(Tx, Vec<Standing>)> {
    let Some(now) = outcomes.iter().map(|one| one.now).max() else {
        return Ok((tx, Vec::new()));
    };
    let contacts: Vec<_> = outcomes.iter().map(|one| one.state.contact_id).collect();
    let events = outcomes.iter().flat_map(|one| &one.effects.events);
    let people = contacts::lock_people(&mut tx, &contacts, events.map(|event| &event.person));
    let people: HashMap<_, _> = people.await?.into_iter().map(|one| (one.id, one)).collect();
    let held = fence(&mut tx, outcomes).await?;
    note_advances(&mut tx, &held).await?;

    let mut advances = Vec::with_capacity(held.len());
    for outcome in held {
        let contact = people.get(&outcome.state.contact_id);
        advances.push(begin(&mut tx, outcome, contact).await?);
    }
    let steps = advances.iter().flat_map(|one| {
        let changed = one.journal.changed().into_iter();
        changed.map(|row| (one.outcome.state.id, row))
    });
    db::steps_upsert(&mut tx, &steps.collect::<Vec<_>>()).await?;
    write_effects(&mut tx, &advances, now).await?;

    let (mut before, mut after) = (Vec::new(), Vec::new());
    for Recorded { outcome, .. } in &advances {
        let plan = outcome.effects.plan(&outcome.ending);
        before.extend(traced(outcome, plan.before));
        after.extend(traced(outcome, plan.after));
    }
    store(cx, &mut tx, before, now).await?;
    let written = write_states(&mut tx, &advances, now).await?;
    store(cx, &mut tx, after, now).await?;
    let ended = advances.iter().map(|one| one.outcome);
    report_ends(
        cx,
        &mut tx,
        ended.filter(|one| written.contains(&one.state.id)),
        now,
    )
    .await?;

    let advances = advances.iter().map(|one| (one.outcome.state.id, one));
    let advances: HashMap<_, _> = advances.collect();
    let standing = |outcome: &&Outcome| match advances.get(&outcome.state.id) {
        None => Standing::Due,
        Some(one) if written.contains(&outcome.state.id) && outcome.ending.waits() => {
            Standing::at(one.wake_at, outcome.now)
        }
        Some(_) => Standing::Over,
    };
    let standings = outcomes.iter().map(standing).collect();
    Ok((tx, standings))
}

/// The advances whose runs did not change meanwhile. The other runs are due again.
async fn fence<'a>(tx: &mut Tx, outcomes: &[&'a Outcome]) -> db::Result<Vec<&'a Outcome>> {
    let states: Vec<&ClaimedState> = outcomes.iter().map(|one| &one.state).collect();
    let fenced = db::states_fence(tx, &states).await?;
    let (held, changed): (Vec<&Outcome>, Vec<&Outcome>) = outcomes
        .iter()
        .partition(|one| fenced.contains(&one.state.id));
    for Outcome { state, now, .. } in changed {
        db::state_release(tx, state, *now).await?;
        tracing::debug!(run_id = %state.id, "the run changed meanwhile, advancing it again");
    }
    Ok(held)
}

/// Keeps the people as the first advances saw them, and forgets deaths of workers in earlier advances.
async fn note_advances(tx: &mut Tx, outcomes: &[&Outcome]) -> db::Result<()> {
    let states = || outcomes.iter().map(|one| &one.state);
    let first = states().filter(|state| state.completions == 0);
    let people: Vec<_> = first.map(|state| (state.id, &state.person)).collect();
    db::states_person(tx, &people).await?;
    let survived = states().filter(|state| state.deaths.count > 0);
    let survived: Vec<Uuid> = survived.map(|state| state.id.into()).collect();
    if !survived.is_empty() {
        db::calls_forget(tx, &survived).await?;
    }
    Ok(())
}

/// Begins the waits of an advance, and decides when its run is due next.
async fn begin<'a>(
    tx: &mut Tx,
    outcome: &'a Outcome,
    contact: Option<&Contact>,
) -> db::Result<Recorded<'a>> {
    let (state, now) = (&outcome.state, outcome.now);
    let mut journal = outcome.journal.clone();
    let mut asks_again = outcome.effects.asks_again;
    if outcome.ending.waits() {
        asks_again |= begin_waits(tx, state, contact, &mut journal, now).await?;
    }
    let wake_at = if asks_again {
        Some(now)
    } else {
        journal.next_due()
    };
    Ok(Recorded {
        outcome,
        journal,
        wake_at,
    })
}

/// Waits that begin now: marks the contact as one whose events are waited for, and ends waits for
/// what has happened already. True where the run has to go on at once.
async fn begin_waits(
    tx: &mut Tx,
    state: &ClaimedState,
    contact: Option<&Contact>,
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
        .map(|contact| contact.properties.clone())
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

/// Writes the effects of advances, apart from their events.
async fn write_effects(
    tx: &mut Tx,
    advances: &[Recorded<'_>],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let outcomes = || advances.iter().map(|one| one.outcome);
    let sends = outcomes().flat_map(|one| {
        let sends = one.effects.sends.iter();
        sends.map(|send| (send, one.traceparent()))
    });
    db::sends_insert(tx, &sends.collect::<Vec<_>>(), now).await?;
    for Outcome { state, effects, .. } in outcomes() {
        let (contact, journey) = (state.contact_id, &state.journey_id);
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
    }
    Ok(())
}

/// Events of an advance belong to its trace.
fn traced(outcome: &Outcome, events: Vec<NewEvent>) -> impl Iterator<Item = NewEvent> {
    let traceparent = outcome.traceparent();
    events.into_iter().map(move |mut event| {
        event.traceparent.clone_from(&traceparent);
        event
    })
}

async fn store(
    cx: &Context,
    tx: &mut Tx,
    events: Vec<NewEvent>,
    now: DateTime<Utc>,
) -> db::Result<()> {
    if !events.is_empty() {
        ingest::store(tx, &cx.catalog(), now, events).await?;
    }
    Ok(())
}

/// Writes the runs' new states. Returns those that it wrote: where one of a run's own events ended it, that end
/// counts.
async fn write_states(
    tx: &mut Tx,
    advances: &[Recorded<'_>],
    now: DateTime<Utc>,
) -> db::Result<HashSet<StateId>> {
    let progress = advances.iter().map(|one| {
        let Outcome { state, ending, .. } = one.outcome;
        let error = ending.error.clone().filter(|_| ending.status.is_broken());
        let progress = Progress {
            status: ending.status,
            node: one.node(),
            wake_at: one.wake_at.filter(|_| ending.waits()),
            completions: one.journal.completions(),
            error,
            stuck_reason: ending.stuck_reason,
            traceparent: one
                .outcome
                .span
                .in_scope(|| traces::moved(state.traceparent.as_deref())),
        };
        (state.id, progress)
    });
    let written = db::states_progress(tx, &progress.collect::<Vec<_>>(), now).await?;
    let written_ones = advances
        .iter()
        .filter(|one| written.contains(&one.outcome.state.id));
    let logs: Vec<Log> = written_ones.filter_map(Recorded::log).collect();
    if !logs.is_empty() {
        db::log_insert(tx, &logs, now).await?;
    }
    Ok(written)
}

impl Recorded<'_> {
    fn node(&self) -> String {
        let before = || self.outcome.state.current_node_id.clone();
        self.journal.node().unwrap_or_else(before)
    }

    /// The transition. None for a wait during which nothing happened.
    fn log(&self) -> Option<Log> {
        let Outcome { state, ending, .. } = self.outcome;
        let changed = self.journal.changed();
        if changed.is_empty() && ending.waits() {
            return None;
        }
        Some(Log {
            detail: json!({
                "node": self.node(),
                "steps": changed.iter().map(|row| row.step.seq).collect::<Vec<_>>(),
                "reason": ending.error,
            }),
            ..ending.log(state)
        })
    }
}

/// Reports the ends of runs: webhooks to endpoints, and events that other journeys may be triggered by.
async fn report_ends(
    cx: &Context,
    tx: &mut Tx,
    outcomes: impl Iterator<Item = &Outcome>,
    now: DateTime<Utc>,
) -> db::Result<()> {
    let (mut news, mut events) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        if let Some(ended) = outcome.ending.ended(&outcome.state) {
            news.push(ended.news(now));
            events.extend(traced(outcome, vec![NewEvent::run_ended(&ended)]));
        }
    }
    if !news.is_empty() {
        announce(tx, &news, now).await?;
    }
    store(cx, tx, events, now).await
}

/// Records that a run is stuck before any of its code was called.
pub async fn record_stuck(
    cx: &Context,
    state: &ClaimedState,
    journal: Journal,
    ending: Ending,
) -> db::Result<Standing> {
    tracing::error!(run_id = %state.id, journey = %state.journey_id,
        reason = ending.error.as_deref(), "a run is stuck");
    let outcome = Outcome {
        state: state.clone(),
        journal,
        effects: Effects::default(),
        ending,
        now: cx.clock.now(),
        span: Span::current(),
    };
    alone(cx, &outcome).await
}

/// Records one advance in a transaction of its own.
pub async fn alone(cx: &Context, outcome: &Outcome) -> db::Result<Standing> {
    let outcomes = [outcome];
    let standings = cx.db.transact(|tx| record(cx, tx, &outcomes)).await?;
    Ok(standings.first().copied().unwrap_or(Standing::Due))
}

/// Decides on a run whose advance could not be recorded; see [`failed`].
pub async fn unrecorded(
    cx: &Context,
    state: &ClaimedState,
    error: &sqlx::Error,
) -> db::Result<Standing> {
    tracing::error!(run_id = %state.id, journey = %state.journey_id, %error,
        "an advance could not be recorded");
    failed(cx, state, &Ending::unrecordable(FAILURES_MAX, error)).await
}

/// Decides on a run whose advance ended its plugin's own process, or did not end; see [`failed`].
pub async fn crashed(
    cx: &Context,
    state: &ClaimedState,
    error: &PluginError,
) -> db::Result<Standing> {
    tracing::error!(run_id = %state.id, journey = %state.journey_id, %error,
        "a run ended the process of its journey's plugin, or its plugin did not answer");
    failed(cx, state, &Ending::crashed(FAILURES_MAX, error)).await
}

/// Decides on a run whose advance failed: it is due again after a growing pause, and after the fifth
/// time in a row it is stuck. Does nothing where the claim is lost.
async fn failed(cx: &Context, state: &ClaimedState, ending: &Ending) -> db::Result<Standing> {
    let now = cx.clock.now();
    let decide = |mut tx: Tx| async move {
        db::contact_lock(&mut tx, &[state.contact_id]).await?;
        let Some(before) = db::state_failures(&mut tx, state).await? else {
            return Ok((tx, Standing::Due));
        };
        let failures = before.saturating_add(1);
        if failures < FAILURES_MAX {
            let wake_at = now + backoff::wait(failures.into(), None);
            db::state_failed(&mut tx, state.id, failures, wake_at).await?;
            return Ok((tx, Standing::at(Some(wake_at), now)));
        }
        let progress = Progress {
            status: ending.status,
            node: state.current_node_id.clone(),
            wake_at: None,
            completions: state.completions,
            error: ending.error.clone(),
            stuck_reason: ending.stuck_reason,
            traceparent: None,
        };
        let written = db::states_progress(&mut tx, &[(state.id, progress)], now).await?;
        if !written.is_empty() {
            db::log_insert(&mut tx, &[ending.log(state)], now).await?;
        }
        Ok((tx, Standing::Over))
    };
    cx.db.transact(decide).await
}
