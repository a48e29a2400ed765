//! Relays wake-ups from `run_wakes`, in bulk.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Hatchet;
use super::wake::{self, NotWoken};
use crate::app::App;
use crate::db::{self, RunTask, RunWake, Topic};
use crate::ids::StateId;
use crate::worker::poll::Work;

/// Wake-ups relayed together.
const TOGETHER: i64 = 1_000;
/// How long a worker may take to relay them; after a failure they are tried again then.
const TAKEN: Duration = Duration::from_secs(30);

pub struct Relay {
    app: App,
    engine: Hatchet,
}

impl Relay {
    pub fn new(app: &App, engine: &Hatchet) -> Self {
        Self {
            app: app.clone(),
            engine: engine.clone(),
        }
    }

    async fn relay(&self, wakes: &[RunWake]) -> Result<(), NotWoken> {
        // The last one of a run counts.
        let mut last: BTreeMap<StateId, (i64, Option<DateTime<Utc>>)> = BTreeMap::new();
        for one in wakes {
            let known = last.entry(one.run).or_insert((one.id, one.at));
            if known.0 <= one.id {
                *known = (one.id, one.at);
            }
        }
        let due = last.iter().filter(|(_, (_, at))| at.is_some());
        let due: Vec<StateId> = due.map(|(run, _)| *run).collect();
        let over = last.iter().filter(|(_, (_, at))| at.is_none());
        let over: Vec<StateId> = over.map(|(run, _)| *run).collect();
        wake::wake(&self.app, self.engine.client(), &due).await?;
        let tasks = {
            let mut conn = self.app.db.conn().await?;
            db::run_tasks(&mut conn, &over).await?
        };
        let tasks = tasks.into_iter().map(|(run, task)| RunTask { run, task });
        wake::cancel(&self.app, self.engine.client(), tasks.collect()).await?;
        let ids: Vec<i64> = wakes.iter().map(|one| one.id).collect();
        let mut conn = self.app.db.conn().await?;
        db::run_wakes_delete(&mut conn, &ids).await?;
        Ok(())
    }
}

impl Work for Relay {
    type Item = Vec<RunWake>;
    type Ticket = ();

    const NAME: &'static str = "wake-ups of runs";
    const TOPIC: Option<Topic> = Some(Topic::Wakes);
    // An engine that gets a wake-up twice looks twice.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        1
    }

    async fn claim(&self, _: usize) -> db::Result<Vec<Vec<RunWake>>> {
        if !self.engine.takes_wakes() {
            return Ok(Vec::new());
        }
        let now = self.app.clock.now();
        let until = now + self.app.clock.moves(TAKEN);
        let mut conn = self.app.db.conn().await?;
        let wakes = db::run_wakes_take(&mut conn, TOGETHER, now, until).await?;
        Ok(if wakes.is_empty() {
            Vec::new()
        } else {
            vec![wakes]
        })
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    async fn perform(&self, wakes: Vec<RunWake>, _: &CancellationToken) -> db::Result<()> {
        match self.relay(&wakes).await {
            Ok(()) => Ok(()),
            Err(NotWoken::Database(error)) => Err(error),
            Err(NotWoken::Hatchet(error)) => {
                // The connection's state is in health, so an outage is not logged for each batch.
                tracing::debug!(%error, wakes = wakes.len(), "wake-ups wait for Hatchet");
                Ok(())
            }
        }
    }

    fn ticket(_: &Vec<RunWake>) {}

    /// They are relayed when the time for relaying them has passed.
    async fn give_back(&self, _: Vec<()>) -> db::Result<()> {
        Ok(())
    }
}
