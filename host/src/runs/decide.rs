//! What administrators do to runs: retry, resume, restart, exit, dismiss.

use hogsend_plugin_api::Properties;
use serde_json::json;

use crate::context::Context;
use crate::db::{self, Failure, Log, NewState, StateRow, Tx};
use crate::foreign::{self, REASON_MAX};
use crate::ids::StateId;
use crate::ingest::{self, NewEvent};
use crate::webhooks::{News, announce};

use crate::enrolment::enrolled;

/// Why a run stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("there is no run {0}")]
    NotFound(StateId),
    /// The run is not in a state for it; the text says in which.
    #[error("{0}")]
    Conflict(String),
    #[error("the database did not do it")]
    Database(#[from] sqlx::Error),
}

impl Failure for AdminError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

type Result<T = ()> = std::result::Result<T, AdminError>;

/// Lets a failed run go on from the step that failed, which is really taken again. Where the code
/// itself failed, by a panic or an error of its own, it runs again from its last step.
pub async fn retry(cx: &Context, id: StateId) -> Result {
    let work = |mut tx: Tx| async move {
        retry_in(cx, &mut tx, id).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`retry`], in the caller's transaction.
pub async fn retry_in(cx: &Context, tx: &mut Tx, id: StateId) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &["failed"], "retried")?;
    reopen(cx, tx, &state, false, "retried").await
}

/// Lets a stuck run go on: with the version of its plugin it began with where that is loaded,
/// else with the newest.
pub async fn resume(cx: &Context, id: StateId) -> Result {
    let work = |mut tx: Tx| async move {
        resume_in(cx, &mut tx, id).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`resume`], in the caller's transaction.
pub async fn resume_in(cx: &Context, tx: &mut Tx, id: StateId) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &["stuck"], "resumed")?;
    let version = cx
        .plugins
        .journeys_at(&state.plugin_id, &state.plugin_version);
    reopen(cx, tx, &state, version.is_some(), "resumed").await
}

/// A run that began anew.
#[derive(Clone, Debug)]
pub struct Restarted {
    pub run: StateId,
    /// Templates of the mails its predecessor sent, which it sends again.
    pub again: Vec<String>,
}

/// Ends a run and begins a new one with the same event.
///
/// # Errors
/// A conflict, naming what would be sent again, where the run neither failed nor is stuck and
/// `force` is not set.
pub async fn restart(cx: &Context, id: StateId, force: bool) -> Result<Restarted> {
    let work = |mut tx: Tx| async move {
        let new = restart_in(cx, &mut tx, id, force).await?;
        Ok((tx, new))
    };
    cx.db.transact(work).await
}

/// As [`restart`], in the caller's transaction.
pub async fn restart_in(cx: &Context, tx: &mut Tx, id: StateId, force: bool) -> Result<Restarted> {
    let state = lock(tx, id).await?;
    let again = db::sends_of_run(tx, state.contact_id, id).await?;
    if !force && !["failed", "stuck"].contains(&state.status.as_str()) {
        let what = match &again[..] {
            [] => "nothing it has done calls for it".to_owned(),
            again => format!(
                "a new run would send again what this one sent: {}",
                again.join(", ")
            ),
        };
        return Err(AdminError::Conflict(format!(
            "this run is {}, neither failed nor stuck: {what}. Use --force to restart it all the same",
            state.status
        )));
    }
    let entry = cx.catalog.journey(&state.journey_id).ok_or_else(|| {
        let message = format!(
            "no plugin brings the journey '{}' any more",
            state.journey_id
        );
        AdminError::Conflict(message)
    })?;
    refuse_rival(tx, &state).await?;
    let now = cx.clock.now();
    end(tx, &state, "restarted", now).await?;
    // That it failed was told when it did.
    if state.status != "failed" {
        tell_exit(cx, tx, &state, "restarted").await?;
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
    };
    let new_id = new.id;
    announce(tx, &[enrolled(&new, now)], now).await?;
    db::state_insert(tx, &[new], now).await?;
    let log = Log {
        state_id: new_id,
        from: None,
        to: "active".into(),
        action: "restarted",
        detail: json!({ "of": state.id }),
    };
    db::log_insert(tx, &[log], now).await?;
    Ok(Restarted { run: new_id, again })
}

/// Ends a run that is not over. Mails it decided on and nobody attempted yet do not go out.
pub async fn exit(cx: &Context, id: StateId, reason: &str) -> Result {
    let work = |mut tx: Tx| async move {
        exit_in(cx, &mut tx, id, reason).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`exit`], in the caller's transaction.
pub async fn exit_in(cx: &Context, tx: &mut Tx, id: StateId, reason: &str) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &["active", "waiting", "failed", "stuck"], "ended")?;
    let now = cx.clock.now();
    end(tx, &state, "admin_exit", now).await?;
    tell_exit(cx, tx, &state, reason).await
}

/// Tells endpoints and other journeys that a run was ended.
async fn tell_exit(cx: &Context, tx: &mut Tx, state: &StateRow, reason: &str) -> Result {
    let now = cx.clock.now();
    let mut properties = Properties::new();
    properties.insert("journeyId".into(), json!(state.journey_id));
    properties.insert("stateId".into(), json!(state.id));
    properties.insert("reason".into(), json!(foreign::text(reason, REASON_MAX)));
    let news = News {
        event_type: "journey.exited",
        contact: state.contact_id,
        occurred_at: now,
        data: properties.clone(),
    };
    announce(tx, &[news], now).await?;
    let depth = state.depth.saturating_add(1);
    let event = NewEvent::from_journey(state.contact_id, "journey.exited", properties, depth)
        .believed(state.trust);
    ingest::store(tx, &cx.catalog, now, vec![event]).await?;
    Ok(())
}

/// Takes a failed or stuck run off the list of dead letters.
pub async fn dismiss(cx: &Context, id: StateId) -> Result {
    let work = |mut tx: Tx| async move {
        dismiss_in(cx, &mut tx, id).await?;
        Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// As [`dismiss`], in the caller's transaction.
pub async fn dismiss_in(cx: &Context, tx: &mut Tx, id: StateId) -> Result {
    let state = lock(tx, id).await?;
    expect(&state, &["failed", "stuck"], "dismissed")?;
    db::state_dismiss(tx, id, cx.clock.now()).await?;
    Ok(())
}

/// The run, with its person locked.
async fn lock(tx: &mut Tx, id: StateId) -> Result<StateRow> {
    let found = db::state_get(tx, id).await?;
    let contact = found.ok_or(AdminError::NotFound(id))?.contact_id;
    db::contact_lock(tx, &[contact]).await?;
    // Once more, now that nobody else changes it.
    let state = db::state_get(tx, id).await?;
    state.ok_or(AdminError::NotFound(id))
}

fn expect(state: &StateRow, from: &[&str], done: &str) -> Result {
    if from.contains(&state.status.as_str()) {
        return Ok(());
    }
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
        from: Some(state.status.clone()),
        to: "active".into(),
        action,
        detail: json!({ "was": state.error_message }),
    };
    db::log_insert(tx, &[log], now).await?;
    Ok(())
}

async fn end(
    tx: &mut Tx,
    state: &StateRow,
    action: &'static str,
    now: chrono::DateTime<chrono::Utc>,
) -> Result {
    db::state_end(tx, state.id, now).await?;
    let log = Log {
        state_id: state.id,
        from: Some(state.status.clone()),
        to: "exited".into(),
        action,
        detail: json!({}),
    };
    db::log_insert(tx, &[log], now).await?;
    Ok(())
}
