//! The engine inside the worker: due runs are claimed from Postgres, as many as there are free places.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::app::App;
use crate::calls;
use crate::crew::Crew;
use crate::db::{self, ClaimedState, Topic};
use crate::ids::{Claim, StateId};
use crate::runs::{Advanced, advance, unrecorded};
use crate::worker::poll::{self, Work};

/// Runs advanced side by side at least: most of an advance is spent outside the database.
const PLACES_MIN: usize = 8;

pub struct Embedded;

impl Engine for Embedded {
    const KIND: &'static str = "embedded";

    fn start(app: &App, crew: &mut Crew) {
        poll::start(crew, Runs { app: app.clone() });
    }
}

/// Claims what there are places for and advances it. Returns how many runs there were.
pub async fn advance_due(app: &App) -> db::Result<usize> {
    poll::once(Runs { app: app.clone() }).await
}

struct Runs {
    app: App,
}

impl Work for Runs {
    type Item = ClaimedState;
    type Ticket = (StateId, Claim);

    const NAME: &'static str = "runs";
    const TOPIC: Option<Topic> = Some(Topic::Runs);
    // Whoever lost the claim can record nothing.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        self.app.config.database_pool_size.max(PLACES_MIN)
    }

    async fn claim(&self, room: usize) -> db::Result<Vec<ClaimedState>> {
        // What another process of this machine left behind when it was killed counts for nothing.
        self.app.calls.take_back().await?;
        let now = self.app.clock.now();
        let mut conn = self.app.db.conn().await?;
        db::state_claim(&mut conn, now, now + self.app.config.lease, room as i64).await
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
                tracing::debug!(state.id = %state.id, "the run changed meanwhile, once more");
                Ok(())
            }
            // Its lease brings it back.
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
