//! What administrators do to runs: retry, resume, restart, exit, dismiss.
//!
//! Each change records its actor in the audit log. The functions that end in `_in` do not: they are parts
//! of another module's change, which has an audit row of its own.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::end::report;
use crate::audit::{Actor, Change, audit};
use crate::context::Context;
use crate::db::{self, Failure, Log, NewState, StateRow, StateStory, Topic, Tx};
use crate::enrolment::enrolled;
use crate::foreign::{self, REASON_MAX};
use crate::ids::StateId;
use crate::run_ended::{RunEnd, RunEnded};
use crate::states::RunState;
use crate::telemetry::traces;
use crate::webhooks::announce;

/// Why a run was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("there is no run {0}")]
    NotFound(StateId),
    /// The state of the run does not allow it; the text says why.
    #[error("{0}")]
    Conflict(String),
    #[error("the database did not complete the change")]
    Database(#[from] sqlx::Error),
}

impl Failure for AdminError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

type Result<T = ()> = std::result::Result<T, AdminError>;

/// Reopens a failed run at the step that failed, which is performed again. Where the code itself failed,
/// by a panic or an error of its own, it runs again from its last step.
pub async fn retry(cx: &Context, actor: &Actor, id: StateId) -> Result {
    let work = async |mut tx: Tx| {
        retry_in(cx, &mut tx, id).await?;
        keep(cx, &mut tx, (actor, "journey_state.retry"), id, json!({})).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`retry`], in the caller's transaction.
pub async fn retry_in(cx: &Context, tx: &mut Tx, id: StateId) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &[RunState::Failed], "retried")?;
    reopen(cx, tx, &state, false, "retried").await
}

/// Reopens a stuck run: with the plugin version it began with where that is loaded, else with the newest.
pub async fn resume(cx: &Context, actor: &Actor, id: StateId) -> Result {
    let work = async |mut tx: Tx| {
        resume_in(cx, &mut tx, id).await?;
        keep(cx, &mut tx, (actor, "journey_state.resume"), id, json!({})).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`resume`], in the caller's transaction.
pub async fn resume_in(cx: &Context, tx: &mut Tx, id: StateId) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &[RunState::Stuck], "resumed")?;
    let version = cx
        .plugins()
        .journeys_at(&state.plugin_id, &state.plugin_version);
    reopen(cx, tx, &state, version.is_some(), "resumed").await
}

/// The run that a restart began.
#[derive(Clone, Debug)]
pub struct Restarted {
    pub run: StateId,
    /// Templates of the mails that the run before sent, which this one sends again.
    pub again: Vec<String>,
}

/// Ends a run and begins a new one with the same event.
///
/// # Errors
/// A conflict, naming the mails that would be sent again, where the run neither failed nor is stuck and
/// `force` is not set.
pub async fn restart(cx: &Context, actor: &Actor, id: StateId, force: bool) -> Result<Restarted> {
    let work = async |mut tx: Tx| {
        let new = restart_in(cx, &mut tx, id, force).await?;
        let told = json!({ "stateId": new.run });
        keep(cx, &mut tx, (actor, "journey_state.restart"), id, told).await?;
        Ok((tx, new))
    };
    cx.db.transact(work).await
}

async fn restart_in(cx: &Context, tx: &mut Tx, id: StateId, force: bool) -> Result<Restarted> {
    let state = lock(tx, id).await?;
    let again = db::sends_of_run(tx, state.contact_id, id).await?;
    if !force && !state.status.is_broken() {
        let what = match &again[..] {
            [] => "nothing needs a restart".to_owned(),
            again => format!(
                "a new run would send again what this one sent: {}",
                again.join(", ")
            ),
        };
        return Err(AdminError::Conflict(format!(
            "this run is {}, neither failed nor stuck: {what}. Use --force to restart it anyway",
            state.status
        )));
    }
    let catalog = cx.catalog();
    let entry = catalog.journey(&state.journey_id).ok_or_else(|| {
        let message = format!(
            "no plugin has the journey '{}': load the one that had it, then restart the run",
            state.journey_id
        );
        AdminError::Conflict(message)
    })?;
    refuse_rival(tx, &state).await?;
    let now = cx.clock.now();
    end(tx, &state, "restarted", now).await?;
    // That it failed was reported when it did.
    if state.status != RunState::Failed {
        report_exit(cx, tx, &state, "restarted").await?;
    }
    let new = NewState {
        id: StateId::new(now),
        journey_id: state.journey_id.clone(),
        contact_id: state.contact_id,
        plugin_id: entry.plugin.id().to_owned(),
        plugin_version: entry.plugin.version().to_owned(),
        trigger_event: state.trigger_event.clone(),
        context: state.context.clone(),
        person: state.person.clone(),
        depth: state.depth,
        trust: state.trust,
        traceparent: traces::current(),
    };
    let new_id = new.id;
    announce(tx, &[enrolled(&new, now)], now).await?;
    db::state_insert(tx, &[new], now).await?;
    let log = Log {
        state_id: new_id,
        from: None,
        to: RunState::Active,
        action: "restarted",
        detail: json!({ "of": state.id }),
    };
    db::log_insert(tx, &[log], now).await?;
    Ok(Restarted { run: new_id, again })
}

/// Ends a run that is not over. Mails of it that no worker has attempted yet do not go out.
pub async fn exit(cx: &Context, actor: &Actor, id: StateId, reason: &str) -> Result {
    let work = async |mut tx: Tx| {
        exit_in(cx, &mut tx, id, reason).await?;
        let told = json!({ "reason": reason });
        keep(cx, &mut tx, (actor, "journey_state.exit"), id, told).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`exit`], for a run of this journey. Returns the run as it is now.
pub async fn cancel(cx: &Context, actor: &Actor, journey: &str, id: StateId) -> Result<StateStory> {
    let work = async |mut tx: Tx| {
        let before = story(&mut tx, journey, id).await?;
        exit_in(cx, &mut tx, id, "cancelled").await?;
        let after = story(&mut tx, journey, id).await?;
        let change = Change::changed(
            json!({ "status": before.status }),
            json!({ "status": after.status }),
        );
        let about = ("journey_state", &*id.to_string());
        let now = cx.clock.now();
        audit(&mut tx, actor, "journey_state.cancel", about, change, now).await?;
        [Topic::Runs, Topic::Captures]
            .into_iter()
            .for_each(db::stir);
        Ok((tx, after))
    };
    cx.db.transact(work).await
}

async fn story(tx: &mut Tx, journey: &str, id: StateId) -> Result<StateStory> {
    let story = db::state_story(tx, journey, id).await?;
    story.ok_or(AdminError::NotFound(id))
}

async fn exit_in(cx: &Context, tx: &mut Tx, id: StateId, reason: &str) -> Result {
    let state = lock(tx, id).await?;
    let from = [
        RunState::Active,
        RunState::Waiting,
        RunState::Failed,
        RunState::Stuck,
    ];
    expect(&state, &from, "ended")?;
    let now = cx.clock.now();
    end(tx, &state, "admin_exit", now).await?;
    report_exit(cx, tx, &state, reason).await
}

/// Reports to endpoints and other journeys that a run was ended.
async fn report_exit(cx: &Context, tx: &mut Tx, state: &StateRow, reason: &str) -> Result {
    let ended = RunEnded {
        run: state.id,
        journey_id: state.journey_id.clone(),
        contact: state.contact_id,
        end: RunEnd::Exited {
            reason: foreign::text(reason, REASON_MAX),
        },
        depth: state.depth,
        trust: state.trust,
    };
    report(tx, &cx.catalog(), &ended, cx.clock.now()).await?;
    Ok(())
}

/// Takes a failed or stuck run off the list of dead letters.
pub async fn dismiss(cx: &Context, actor: &Actor, id: StateId) -> Result {
    let work = async |mut tx: Tx| {
        dismiss_in(cx, &mut tx, id).await?;
        keep(cx, &mut tx, (actor, "journey_state.dismiss"), id, json!({})).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`dismiss`], in the caller's transaction.
pub async fn dismiss_in(cx: &Context, tx: &mut Tx, id: StateId) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &[RunState::Failed, RunState::Stuck], "dismissed")?;
    db::state_dismiss(tx, id, cx.clock.now()).await?;
    Ok(())
}

async fn keep(
    cx: &Context,
    tx: &mut Tx,
    (actor, action): (&Actor, &str),
    id: StateId,
    told: Value,
) -> Result {
    let about = ("journey_state", &*id.to_string());
    let change = Change::created(told);
    audit(tx, actor, action, about, change, cx.clock.now()).await?;
    Ok(())
}

/// The run, with its contact locked.
async fn lock(tx: &mut Tx, id: StateId) -> Result<StateRow> {
    let found = db::state_get(tx, id).await?;
    let contact = found.ok_or(AdminError::NotFound(id))?.contact_id;
    db::contact_lock(tx, &[contact]).await?;
    // Read again, now that no other transaction changes it.
    let state = db::state_get(tx, id).await?;
    state.ok_or(AdminError::NotFound(id))
}

fn expect(state: &StateRow, from: &[RunState], done: &str) -> Result {
    if from.contains(&state.status) {
        return Ok(());
    }
    let from: Vec<&str> = from.iter().map(|state| state.name()).collect();
    Err(AdminError::Conflict(format!(
        "the run is {}: only a run that is {} can be {done}",
        state.status,
        from.join(" or ")
    )))
}

async fn refuse_rival(tx: &mut Tx, state: &StateRow) -> Result {
    if db::state_has_rival(tx, state).await? {
        let message = "another run of this journey and person is under way: end it first";
        return Err(AdminError::Conflict(message.into()));
    }
    Ok(())
}

async fn reopen(
    cx: &Context,
    tx: &mut Tx,
    state: &StateRow,
    pinned: bool,
    action: &'static str,
) -> Result {
    refuse_rival(tx, state).await?;
    let now = cx.clock.now();
    db::state_reopen(tx, state.id, pinned, now).await?;
    let log = Log {
        state_id: state.id,
        from: Some(state.status),
        to: RunState::Active,
        action,
        detail: json!({ "was": state.error_message }),
    };
    db::log_insert(tx, &[log], now).await?;
    Ok(())
}

async fn end(tx: &mut Tx, state: &StateRow, action: &'static str, now: DateTime<Utc>) -> Result {
    db::state_end(tx, state.id, now).await?;
    let log = Log {
        state_id: state.id,
        from: Some(state.status),
        to: RunState::Exited,
        action,
        detail: json!({}),
    };
    db::log_insert(tx, &[log], now).await?;
    Ok(())
}
