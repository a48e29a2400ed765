//! The engine inside the worker: due runs are claimed from Postgres, as many as there are free places.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::app::App;
use crate::calls;
use crate::crew::Crew;
use crate::db::{self, ClaimedState, Conn, Topic};
use crate::ids::{Claim, StateId};
use crate::pauses::Pauses;
use crate::runs::{Advanced, advance, unrecorded};
use crate::worker::poll::{self, Work};

/// Minimum number of runs advanced concurrently: most of an advance is spent outside the database.
const PLACES_MIN: usize = 8;

pub struct Embedded;

impl Engine for Embedded {
    const KIND: &'static str = "embedded";

    fn start(app: &App, crew: &mut Crew) {
        poll::start(crew, Runs { app: app.clone() });
    }
}

/// Claims as many due runs as there are free places and advances them. Returns how many there were.
pub async fn advance_due(app: &App) -> db::Result<usize> {
    poll::once(Runs { app: app.clone() }).await
}

struct Runs {
    app: App,
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

impl Work for Runs {
    type Item = ClaimedState;
    type Ticket = (StateId, Claim);

    const NAME: &'static str = "runs";
    const TOPIC: Option<Topic> = Some(Topic::Runs);
    // A worker that lost the claim cannot record anything.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        self.app.config.database_pool_size.max(PLACES_MIN)
    }

    async fn claim(&self, free: usize) -> db::Result<Vec<ClaimedState>> {
        // Calls of a process that was killed outside a plugin's code do not count as deaths.
        self.app.calls.take_back().await?;
        let now = self.app.clock.now();
        let until = now + self.app.config.lease;
        let mut conn = self.app.db.conn().await?;
        loop {
            let claimed = db::state_claim(&mut conn, now, until, free as i64).await?;
            let none = claimed.is_empty();
            let going = without_paused(&mut conn, claimed, now).await?;
            if none || !going.is_empty() {
                return Ok(going);
            }
        }
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::state_next_due(&mut conn).await
    }

    async fn perform(&self, state: ClaimedState, _: &CancellationToken) -> db::Result<()> {
        calls::report("run", state.id, &state.deaths);
        let _turn = self.app.alone.turn(state.deaths.count).await;
        match advance(&self.app, &state).await {
            Ok(Advanced::Recorded | Advanced::Postponed) => Ok(()),
            Ok(Advanced::Outdated) => {
                tracing::debug!(state.id = %state.id, "the run changed meanwhile, advancing it again");
                Ok(())
            }
            // The run is due again when its lease expires.
            Err(error) if db::is_unavailable(&error) || db::is_transient(&error) => Err(error),
            Err(error) => unrecorded(&self.app, &state, &error).await,
        }
    }

    fn ticket(state: &ClaimedState) -> Self::Ticket {
        (state.id, state.claim)
    }

    async fn renew(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let until = self.app.clock.now() + self.app.config.lease;
        let mut conn = self.app.db.conn().await?;
        db::states_renew(&mut conn, &tickets, until).await
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let mut conn = self.app.db.conn().await?;
        db::states_give_back(&mut conn, &tickets, self.app.clock.now()).await
    }
}
