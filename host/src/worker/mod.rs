//! The worker: advances journeys, delivers mail, tells analytics, judges opens and clicks.

mod alerts;
pub mod engine;
mod importer;
mod mailer;
mod relay;
mod tracker;
mod webhooks;

pub use alerts::alert_due;
pub use importer::import_due;
pub use mailer::deliver_due;
pub use relay::relay_due;
pub use tracker::track_due;
pub use webhooks::post_due;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::App;
use crate::db;
use engine::{Embedded, Engine};

/// How often a worker says that it is alive.
pub const BEAT: Duration = Duration::from_secs(10);

/// Works until `stop`, then finishes what it began.
pub async fn run(app: App, stop: CancellationToken) {
    let id = Uuid::now_v7();
    tracing::info!(worker.id = %id, engine = Embedded::KIND, "the worker is ready");
    let engine = Embedded::new(app.clone());
    tokio::join!(
        app.db.wake().listen(stop.clone()),
        beat(&app, id, &stop),
        engine.run(stop.clone()),
        mailer::run(&app, stop.clone()),
        relay::run(&app, stop.clone()),
        tracker::run(&app, stop.clone()),
        webhooks::run(&app, stop.clone()),
        alerts::run(&app, stop.clone()),
        importer::run(&app, stop.clone()),
    );
    let left = match app.db.conn().await {
        Ok(mut conn) => db::worker_remove(&mut conn, id, app.clock.now()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = left {
        tracing::warn!(%error, "could not sign off in the database");
    }
}

async fn beat(app: &App, id: Uuid, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let seen = match app.db.conn().await {
            Ok(mut conn) => db::worker_beat(&mut conn, id, app.clock.now()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = seen {
            tracing::warn!(%error, "the database does not answer, the worker goes on trying");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

/// Works until nothing is due, and says how many runs and mails it took. For tests and tools that
/// move the clock themselves.
pub async fn drain(app: &App) -> db::Result<usize> {
    let mut taken = 0;
    loop {
        let round = engine::advance_due(app).await?
            + deliver_due(app).await?
            + relay_due(app).await?
            + track_due(app).await?
            + post_due(app).await?
            + alert_due(app).await?
            + import_due(app, &CancellationToken::new()).await?;
        if round == 0 {
            return Ok(taken);
        }
        taken += round;
    }
}
