//! Judges opens and clicks once it can be seen what came with them.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::mailer::rest;
use crate::app::App;
use crate::db;
use crate::mail::judge;

/// Looked up at once; each is judged in a transaction of its own.
const BATCH: i64 = 200;
/// When one that could not be judged is tried again, so that it does not hold up the others.
const AGAIN: TimeDelta = TimeDelta::seconds(30);

pub(super) async fn run(app: &App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let due = match track_due(app).await {
            Ok(0) => next_due(app).await,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "opens and clicks could not be judged, trying again");
                Some(app.clock.now() + TimeDelta::seconds(1))
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rest(app, due) => {}
        }
    }
}

async fn next_due(app: &App) -> Option<DateTime<Utc>> {
    let mut conn = app.db.conn().await.ok()?;
    db::visit_next_due(&mut conn).await.ok()?
}

/// Judges what is due. Returns how many there were that no other worker had.
pub async fn track_due(app: &App) -> db::Result<usize> {
    let due = {
        let mut conn = app.db.conn().await?;
        db::visits_due(&mut conn, app.clock.now(), BATCH).await?
    };
    let mut count = 0;
    for visit in due {
        match judge(app, visit).await {
            Ok(ours) => count += usize::from(ours),
            Err(error) if db::is_unavailable(&error) => return Err(error),
            Err(error) => {
                tracing::error!(%error, event.id = %visit.id, "an open or a click is judged later");
                let mut conn = app.db.conn().await?;
                db::visit_postpone(&mut conn, visit.id, app.clock.now() + AGAIN).await?;
            }
        }
    }
    Ok(count)
}
