//! The engine inside the worker: due runs are claimed from Postgres, as many as there are free places.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{Engine, Health};
use crate::app::App;
use crate::crew::Crew;
use crate::db::{self, ClaimedState, Topic};
use crate::ids::{Claim, StateId};
use crate::runs::{self, Recorder};
use crate::worker::poll::{self, Work};

/// Needs nothing but the database.
#[derive(Clone, Copy, Debug)]
pub struct Embedded;

impl Engine for Embedded {
    const KIND: &'static str = "embedded";

    fn start(&self, app: &App, crew: &mut Crew) {
        let runs = Runs {
            app: app.clone(),
            recorder: Recorder::default(),
        };
        poll::start(crew, runs);
    }

    fn health(&self) -> Health {
        Health {
            up: true,
            version: Some(env!("CARGO_PKG_VERSION").into()),
            findings: Vec::new(),
        }
    }
}

struct Runs {
    app: App,
    recorder: Recorder,
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
        runs::places(&self.app)
    }

    async fn claim(&self, free: usize) -> db::Result<Vec<ClaimedState>> {
        runs::claim_due(&self.app, free).await
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::state_next_due(&mut conn).await
    }

    async fn perform(&self, state: ClaimedState, _: &CancellationToken) -> db::Result<()> {
        // The row says when the run is due next.
        let done = runs::perform(&self.app, &self.recorder, &state);
        done.await.map(|_| ())
    }

    fn ticket(state: &ClaimedState) -> Self::Ticket {
        (state.id, state.claim)
    }

    async fn renew(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        runs::renew(&self.app, &tickets).await
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        runs::give_back(&self.app, &tickets).await
    }
}
