//! Delivers due mails.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::db::{self, Topic};
use crate::mail::deliver;

/// Mails claimed at once: what can be attempted well within a lease.
const BATCH: i64 = 16;
/// Attempts under way at once.
const CONCURRENT: usize = 8;
/// How often the queue is looked at though nobody called.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn run(app: &App, stop: CancellationToken) {
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

/// Claims one batch of due mails and attempts each. Returns how many there were.
pub async fn deliver_due(app: &App) -> db::Result<usize> {
    let now = app.clock.now();
    let claimed = {
        let mut conn = app.db.conn().await?;
        let lease_until = now + app.config.lease;
        db::send_claim(&mut conn, now, lease_until, BATCH).await?
    };
    let count = claimed.len();
    stream::iter(&claimed)
        .for_each_concurrent(CONCURRENT, |send| async move {
            if let Err(error) = deliver(app, send).await {
                // Its lease brings it back; what the provider has is known by the frozen key.
                tracing::error!(send.id = %send.id, %error,
                    "a mail could not be recorded, it is tried again after its lease");
            }
        })
        .await;
    Ok(count)
}

/// Waits for a call, for `due`, or for a while, whichever comes first.
pub(super) async fn idle(
    app: &App,
    topic: Topic,
    due: Option<DateTime<Utc>>,
    stop: &CancellationToken,
) {
    let until_due = due.map(|due| {
        let wait = (due - app.clock.now()).to_std().unwrap_or_default();
        app.clock.takes(wait)
    });
    // A row that is due but locked by another worker must not make this one spin.
    let pause = until_due.map_or(LOOK, |wait| wait.clamp(Duration::from_millis(10), LOOK));
    tokio::select! {
        () = stop.cancelled() => {}
        () = app.db.wake().wait(topic) => {}
        () = tokio::time::sleep(pause) => {}
    }
}
