//! Claiming runs and advancing them: what every engine does with a run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument as _;

use super::advance::advance;
use super::record::unrecorded;
use super::recorder::Recorder;
use super::standing::Standing;
use crate::calls;
use crate::context::Context;
use crate::db::{self, ClaimedOne, ClaimedState, Conn, Tx};
use crate::ids::{Claim, StateId};
use crate::pauses::Pauses;
use crate::telemetry::metrics::{RUN_ADVANCES, RUN_SECONDS};
use crate::telemetry::traces::spans;

/// Minimum number of runs advanced concurrently: those that end at the same time are recorded together.
const PLACES_MIN: usize = 32;

/// How long to leave a run alone while nothing may be claimed.
const HALTED_RETRY: TimeDelta = TimeDelta::minutes(1);

/// How many runs a process advances concurrently.
pub fn places(cx: &Context) -> usize {
    cx.config.database_pool_size.max(PLACES_MIN)
}

/// Claims due runs, at most `limit`, without those that a pause stops: these are put aside.
pub async fn claim_due(cx: &Context, limit: usize) -> db::Result<Vec<ClaimedState>> {
    // Calls of a process that was killed outside a plugin's code do not count as deaths.
    cx.calls.take_back().await?;
    let now = cx.clock.now();
    let until = now + cx.config.lease;
    let mut conn = cx.db.conn().await?;
    loop {
        let claimed = db::state_claim(&mut conn, now, until, limit as i64).await?;
        let none = claimed.is_empty();
        let mut going = without_paused(&mut conn, claimed, now).await?;
        if none || !going.is_empty() {
            read_journals(&mut conn, &mut going).await?;
            return Ok(going);
        }
    }
}

/// Reads the journals of claimed runs. What changes one later changes the run's revision too, and then the advance is
/// not recorded.
async fn read_journals(conn: &mut Conn, claimed: &mut [ClaimedState]) -> db::Result<()> {
    let ids: Vec<StateId> = claimed.iter().map(|state| state.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut journals = db::steps_of_runs(conn, &ids).await?;
    for state in claimed {
        let steps = journals.remove(&state.id).unwrap_or_default();
        state.steps = Some(Arc::new(steps));
    }
    Ok(())
}

/// Puts the runs aside that a pause stops, and returns the others.
async fn without_paused(
    conn: &mut Conn,
    claimed: Vec<ClaimedState>,
    now: DateTime<Utc>,
) -> db::Result<Vec<ClaimedState>> {
    if claimed.is_empty() {
        return Ok(claimed);
    }
    let pauses = Pauses::load(conn, now).await?;
    let mut going = Vec::with_capacity(claimed.len());
    let mut stopped: BTreeMap<String, Vec<(StateId, Claim)>> = BTreeMap::new();
    for state in claimed {
        match pauses.of_run(&state.journey_id) {
            Some(pause) => {
                let runs = stopped.entry(pause.to_string()).or_default();
                runs.push((state.id, state.claim));
            }
            None => going.push(state),
        }
    }
    for (pause, runs) in &stopped {
        db::runs_put_aside(conn, runs, pause).await?;
    }
    Ok(going)
}

/// Advances a claimed run as far as it goes, when it is its turn: a run in which workers died is advanced
/// alone. The caller renews the claim meanwhile.
///
/// # Errors
/// Where the database does not answer; the run is due again when its lease expires.
pub async fn perform(
    cx: &Context,
    recorder: &Recorder,
    state: &ClaimedState,
) -> db::Result<Standing> {
    let waited = cx.clock.now() - state.updated_at;
    let stored = state.traceparent.as_deref();
    let span = spans::advance(state.id, &state.journey_id, stored, waited);
    let began = Instant::now();
    let standing = perform_in_turn(cx, recorder, state)
        .instrument(span.clone())
        .await;
    RUN_SECONDS.took(&[], began.elapsed());
    let outcome = match &standing {
        Ok(Standing::Due) => "again",
        Ok(Standing::Waits { .. }) => "waits",
        Ok(Standing::Over) => "over",
        Err(_) => "failed",
    };
    span.record("outcome", outcome);
    RUN_ADVANCES.add(&[&state.journey_id, outcome], 1);
    standing
}

async fn perform_in_turn(
    cx: &Context,
    recorder: &Recorder,
    state: &ClaimedState,
) -> db::Result<Standing> {
    calls::report("run", state.id, &state.deaths);
    let _turn = cx.alone.turn(state.deaths.count).await;
    match advance(cx, recorder, state).await {
        Ok(standing) => Ok(standing),
        Err(error) if db::is_unavailable(&error) || db::is_transient(&error) => Err(error),
        Err(error) => unrecorded(cx, state, &error).await,
    }
}

/// Extends the leases of claims that still hold.
pub async fn renew(cx: &Context, claims: &[(StateId, Claim)]) -> db::Result<()> {
    let until = cx.clock.now() + cx.config.lease;
    let mut conn = cx.db.conn().await?;
    db::states_renew(&mut conn, claims, until).await
}

/// Makes claimed runs due again that nobody advances.
pub async fn give_back(cx: &Context, claims: &[(StateId, Claim)]) -> db::Result<()> {
    let work = async |mut tx: Tx| {
        db::states_give_back(&mut tx, claims, cx.clock.now()).await?;
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// Advances one run if it is due, for an engine that knows runs by id. Any number of calls for one run, also
/// at the same time, are harmless: one of them claims it.
///
/// # Errors
/// Where the database does not answer; the run is due again when its lease expires.
pub async fn advance_one(cx: &Context, recorder: &Recorder, run: StateId) -> db::Result<Standing> {
    let now = cx.clock.now();
    if cx.halt.lasts(&cx.db).await? {
        return Ok(Standing::at(Some(now + HALTED_RETRY), now));
    }
    cx.calls.take_back().await?;
    let claimed = {
        let mut conn = cx.db.conn().await?;
        match db::state_claim_one(&mut conn, run, now, now + cx.config.lease).await? {
            ClaimedOne::Claimed(state) => without_paused(&mut conn, vec![*state], now).await?,
            ClaimedOne::NotDue { wake_at } => return Ok(Standing::at(wake_at, now)),
            ClaimedOne::Busy { until } => return Ok(Standing::at(Some(until), now)),
            ClaimedOne::Over => return Ok(Standing::Over),
        }
    };
    let Some(state) = claimed.into_iter().next() else {
        // The end of the pause wakes it.
        return Ok(Standing::Waits { until: None });
    };
    // Both are polled: a renewal waits for the run's row while the advance has it locked.
    tokio::select! {
        // On the heap: it is large, and engines hold many.
        standing = Box::pin(perform(cx, recorder, &state)) => standing,
        never = keep(cx, &state) => match never {},
    }
}

/// Renews the lease of a run for as long as it is polled.
async fn keep(cx: &Context, state: &ClaimedState) -> Infallible {
    let third = cx.clock.takes(cx.config.lease / 3);
    let mut renewal = tokio::time::interval_at(Instant::now() + third, third);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        renewal.tick().await;
        if let Err(error) = renew(cx, &[(state.id, state.claim)]).await {
            tracing::debug!(run_id = %state.id, %error,
                "a lease was not renewed, the next tick retries");
        }
    }
}

/// Claims as many due runs as there are places and advances them. Returns how many there were. For tests
/// and tools that move the clock themselves.
pub async fn advance_due(cx: &Context) -> db::Result<usize> {
    if cx.halt.look(&cx.db).await? {
        return Ok(0);
    }
    let claimed = claim_due(cx, places(cx)).await?;
    let count = claimed.len();
    let recorder = Arc::new(Recorder::default());
    let mut tasks = JoinSet::new();
    for state in claimed {
        let (cx, recorder) = (cx.clone(), recorder.clone());
        tasks.spawn(async move { perform(&cx, &recorder, &state).await });
    }
    while let Some(done) = tasks.join_next().await {
        match done {
            // The run is due again when its lease expires.
            Err(error) => tracing::error!(%error, "advancing a run panicked"),
            Ok(Err(error)) => tracing::debug!(%error, "a run was not advanced"),
            Ok(Ok(_)) => {}
        }
    }
    Ok(count)
}
