//! The engine inside the worker: due runs are claimed from Postgres in batches.

use futures_util::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::app::App;
use crate::db::{self, Topic};
use crate::journeys::{Advanced, advance};
use crate::worker::mailer::idle;

/// Runs claimed at once.
const BATCH: i64 = 64;
/// Runs advanced at once.
const CONCURRENT: usize = 8;

pub struct Embedded {
    app: App,
}

impl Embedded {
    pub fn new(app: App) -> Self {
        Self { app }
    }
}

impl Engine for Embedded {
    const KIND: &'static str = "embedded";

    async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let due = match advance_due(&self.app).await {
                Ok(0) => next_due(&self.app).await,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(%error, "runs could not be claimed, trying again");
                    Some(self.app.clock.now() + chrono::TimeDelta::seconds(1))
                }
            };
            idle(&self.app, Topic::Runs, due, &stop).await;
        }
    }
}

async fn next_due(app: &App) -> Option<chrono::DateTime<chrono::Utc>> {
    let mut conn = app.db.conn().await.ok()?;
    db::state_next_due(&mut conn).await.ok()?
}

/// Claims one batch of due runs and advances each. Returns how many there were.
pub async fn advance_due(app: &App) -> db::Result<usize> {
    let now = app.clock.now();
    let claimed = {
        let mut conn = app.db.conn().await?;
        let lease_until = now + app.config.lease;
        db::state_claim(&mut conn, now, lease_until, BATCH).await?
    };
    let count = claimed.len();
    stream::iter(&claimed)
        .for_each_concurrent(CONCURRENT, |state| async move {
            match advance(app, state).await {
                Ok(Advanced::Recorded | Advanced::Postponed) => {}
                Ok(Advanced::Outdated) => {
                    tracing::debug!(state.id = %state.id, "the run changed meanwhile, once more");
                }
                // Its lease brings it back.
                Err(error) => tracing::error!(state.id = %state.id, journey.id = %state.journey_id,
                    %error, "a run could not be advanced, it is tried again after its lease"),
            }
        })
        .await;
    Ok(count)
}
