//! Delivers due mails.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db::{self, Topic};
use crate::mail::{deliver, repeat_batch};

/// Mails claimed at once where the provider takes no larger batches: what can be attempted well
/// within a lease.
const BATCH: u32 = 16;
/// How many claim and deliver side by side: a request to a provider takes longer than its rate
/// allows between two.
const LANES: usize = 4;
/// How often the queue is looked at though nobody called.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn run(app: &App, stop: CancellationToken) {
    let lanes = (0..LANES).map(|_| lane(app, stop.clone()));
    futures_util::future::join_all(lanes).await;
}

async fn lane(app: &App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let due = match deliver_due(app).await {
            Ok(0) => next_due(app).await,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "mails could not be claimed, trying again");
                Some(app.clock.now() + chrono::TimeDelta::seconds(1))
            }
        };
        idle(app, Topic::Mails, due, &stop).await;
    }
}

async fn next_due(app: &App) -> Option<DateTime<Utc>> {
    let mut conn = app.db.conn().await.ok()?;
    db::send_next_due(&mut conn).await.ok()?
}

/// Asks again about a batch in doubt, or claims due mails and attempts each. Returns how many there
/// were.
pub async fn deliver_due(app: &App) -> db::Result<usize> {
    if repeat_batch(app).await? {
        return Ok(1);
    }
    let now = app.clock.now();
    let batches = app.plugins.deliveries();
    let limit = batches
        .first()
        .map_or(BATCH, |one| one.capabilities().batch_max.max(BATCH));
    let claimed = {
        let mut conn = app.db.conn().await?;
        let lease_until = now + app.config.lease;
        db::send_claim(&mut conn, now, lease_until, limit.into()).await?
    };
    let count = claimed.len();
    if count == limit as usize {
        // There is more for another lane.
        app.db.wake().nudge(Topic::Mails);
    }
    deliver(app, claimed).await?;
    Ok(count)
}

/// Waits for a call, for `due`, or for a while, whichever comes first.
pub(super) async fn idle(
    app: &App,
    topic: Topic,
    due: Option<DateTime<Utc>>,
    stop: &CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = app.db.wake().wait(topic) => {}
        () = rest(app, due) => {}
    }
}

/// Waits for `due`, or for a while.
pub(super) async fn rest(app: &App, due: Option<DateTime<Utc>>) {
    let until_due = due.map(|due| {
        let wait = (due - app.clock.now()).to_std().unwrap_or_default();
        app.clock.takes(wait)
    });
    // A row that is due but locked by another worker must not make this one spin.
    let pause = until_due.map_or(LOOK, |wait| wait.clamp(Duration::from_millis(10), LOOK));
    tokio::time::sleep(pause).await;
}
