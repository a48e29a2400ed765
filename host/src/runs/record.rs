//! Recording an advance: steps, effects and the run's new state, in one transaction.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::step;
use serde_json::json;

use super::end::{Ending, report};
use super::journal::Journal;
use super::standing::Standing;
use super::step::{Effects, Plan};
use super::wait;
use crate::backoff;
use crate::contacts;
use crate::context::Context;
use crate::db::{self, ClaimedState, Contact, Log, Progress, StepRow, Tx};
use crate::enrolment;
use crate::ingest::{self, NewEvent};
use crate::plugins::PluginError;
use crate::telemetry::traces;

/// Advances in a row that may fail, to be recorded or by a crash, before the run is stuck.
const FAILURES_MAX: i16 = 5;

/// An advance before it is recorded.
pub struct Outcome<'a> {
    pub cx: &'a Context,
    pub state: &'a ClaimedState,
    pub journal: Journal,
    pub effects: Effects,
    pub ending: Ending,
    pub now: DateTime<Utc>,
}

/// Records an advance under the claim and the revision that its journal was read at. The run's events may
/// be about other people, so everybody they can be about is locked before the run. Where something else
/// changed the run meanwhile, nothing is recorded and it is due again.
pub async fn record(mut tx: Tx, outcome: &Outcome<'_>) -> db::Result<(Tx, Standing)> {
    let Outcome {
        cx,
        state,
        effects,
        ending,
        now,
        ..
    } = outcome;
    let now = *now;
    // The transaction may run again.
    let mut journal = outcome.journal.clone();
    let Plan { before, after } = effects.plan(ending);

    let people = before.iter().chain(&after).map(|event| &event.person);
    let people = contacts::lock_people(&mut tx, &[state.contact_id], people).await?;
    let contact = people.into_iter().find(|one| one.id == state.contact_id);
    if !db::state_fence(&mut tx, state).await? {
        db::state_release(&mut tx, state, now).await?;
        tracing::debug!(run_id = %state.id, "the run changed meanwhile, advancing it again");
        return Ok((tx, Standing::Due));
    }
    note_advance(&mut tx, state).await?;

    let mut asks_again = effects.asks_again;
    if ending.waits() {
        asks_again |= begin_waits(&mut tx, state, contact, &mut journal, now).await?;
    }
    db::step_upsert(&mut tx, state.id, &journal.changed()).await?;
    write_effects(&mut tx, state, effects, now).await?;

    store(cx, &mut tx, before, now).await?;
    let wake_at = if asks_again {
        Some(now)
    } else {
        journal.next_due()
    };
    let written = write_state(&mut tx, state, &journal, ending, wake_at, now).await?;
    store(cx, &mut tx, after, now).await?;
    if written && let Some(ended) = ending.ended(state) {
        report(&mut tx, &cx.catalog(), &ended, now).await?;
    }
    let standing = if written && ending.waits() {
        Standing::at(wake_at, now)
    } else {
        Standing::Over
    };
    Ok((tx, standing))
}

/// Keeps the person as the first advance saw them, and forgets deaths of workers in earlier advances.
async fn note_advance(tx: &mut Tx, state: &ClaimedState) -> db::Result<()> {
    if state.completions == 0 {
        db::state_person(tx, state.id, &state.person).await?;
    }
    if state.deaths.count > 0 {
        db::calls_forget(tx, &[state.id.into()]).await?;
    }
    Ok(())
}

/// Waits that begin now: marks the contact as one whose events are waited for, and ends waits for
/// what has happened already. True where the run has to go on at once.
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

/// Writes the effects of a run, apart from its events.
async fn write_effects(
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

/// Writes the run's new state. False where one of the run's own events ended it: that end counts.
async fn write_state(
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
    let moved = traces::moved(state.traceparent.as_deref());
    let progress = Progress {
        status: ending.status,
        traceparent: moved.as_deref(),
        node: &node,
        wake_at: wake_at.filter(|_| ending.waits()),
        completions: journal.completions(),
        error: ending
            .error
            .as_deref()
            .filter(|_| ending.status.is_broken()),
        stuck_reason: ending.stuck_reason,
    };
    let written = db::state_progress(tx, state.id, &progress, now).await?;
    let changed = journal.changed();
    if written && (!changed.is_empty() || !ending.waits()) {
        let log = Log {
            detail: json!({
                "node": node,
                "steps": changed.iter().map(|row| row.step.seq).collect::<Vec<_>>(),
                "reason": ending.error,
            }),
            ..ending.log(state)
        };
        db::log_insert(tx, &[log], now).await?;
    }
    Ok(written)
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
        cx,
        state,
        journal,
        effects: Effects::default(),
        ending,
        now: cx.clock.now(),
    };
    cx.db.transact(|tx| record(tx, &outcome)).await
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
            node: &state.current_node_id,
            wake_at: None,
            completions: state.completions,
            error: ending.error.as_deref(),
            stuck_reason: ending.stuck_reason,
            traceparent: None,
        };
        if db::state_progress(&mut tx, state.id, &progress, now).await? {
            db::log_insert(&mut tx, &[ending.log(state)], now).await?;
        }
        Ok((tx, Standing::Over))
    };
    cx.db.transact(decide).await
}
