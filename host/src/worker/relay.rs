//! Tells analytics products what the outbox holds.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Capture, Captured};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::mailer::idle;
use crate::app::App;
use crate::backoff;
use crate::db::{self, ClaimedCapture, Topic};

/// Captures told at once.
const BATCH: i64 = 500;
/// Tries before a capture is given up: some three days.
const TRIES: i32 = 80;

pub(super) async fn run(app: &App, stop: CancellationToken) {
    if app.plugins.analytics().is_empty() {
        return;
    }
    while !stop.is_cancelled() {
        let due = match relay_due(app).await {
            Ok(0) => next_due(app).await,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(%error, "captures could not be claimed, trying again");
                Some(app.clock.now() + chrono::TimeDelta::seconds(1))
            }
        };
        idle(app, Topic::Captures, due, &stop).await;
    }
    // What the last requests left behind, once: another worker takes what is left after that.
    if let Err(error) = relay_due(app).await {
        tracing::warn!(%error, "captures are left for the next start");
    }
}

async fn next_due(app: &App) -> Option<DateTime<Utc>> {
    let mut conn = app.db.conn().await.ok()?;
    db::capture_next_due(&mut conn).await.ok()?
}

/// Tells every product one batch, and keeps what has to be told again. Returns how many there were.
pub async fn relay_due(app: &App) -> db::Result<usize> {
    let products = app.plugins.analytics();
    let now = app.clock.now();
    let claimed = {
        let mut conn = app.db.conn().await?;
        db::capture_claim(&mut conn, now, now + app.config.lease, BATCH).await?
    };
    if claimed.is_empty() {
        return Ok(0);
    }
    let count = claimed.len();
    let tries = claimed.iter().map(|one| one.attempts).max().unwrap_or(1);
    let ids: Vec<Uuid> = claimed.iter().map(|one| one.id).collect();
    let of_age = |worn: bool| -> Vec<Uuid> {
        let some = claimed.iter().filter(|one| (one.attempts >= TRIES) == worn);
        some.map(|one| one.id).collect()
    };
    let (worn, young) = (of_age(true), of_age(false));
    let batch: Vec<Capture> = claimed.into_iter().map(capture).collect();
    let mut again = None;
    let mut reasons: Vec<String> = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    for product in products {
        let (reason, wish) = match product.capture(&batch).await {
            Ok(Captured::Taken | Captured::Unwanted) => continue,
            Ok(Captured::Rejected { reason }) => {
                tracing::error!(
                    plugin = product.id(),
                    reason,
                    count,
                    "captures were refused"
                );
                refused.push(format!("{}: {reason}", product.id()));
                continue;
            }
            Ok(Captured::Retry {
                reason,
                retry_after_ms,
            }) => (reason, retry_after_ms),
            Err(error) => (error.to_string(), None),
        };
        tracing::warn!(
            plugin = product.id(),
            reason,
            count,
            tries,
            "captures are told later"
        );
        again = again.max(Some(backoff::wait(tries, wish)));
        reasons.push(format!("{}: {reason}", product.id()));
    }
    let mut conn = app.db.conn().await?;
    let now = app.clock.now();
    match again {
        Some(wait) => {
            db::capture_retry(&mut conn, &young, now + wait).await?;
            if !worn.is_empty() {
                tracing::error!(count = worn.len(), "captures are given up");
                let reason = format!("given up after {TRIES} tries: {}", reasons.join("; "));
                db::capture_give_up(&mut conn, &worn, &reason, now).await?;
            }
        }
        None if !refused.is_empty() => {
            db::capture_give_up(&mut conn, &ids, &refused.join("; "), now).await?;
        }
        None => db::capture_delete(&mut conn, &ids).await?,
    }
    Ok(count)
}

fn capture(claimed: ClaimedCapture) -> Capture {
    Capture {
        id: claimed.id,
        distinct_id: claimed.distinct_id,
        event: claimed.event,
        properties: claimed.properties,
        occurred_at: claimed.occurred_at,
    }
}
