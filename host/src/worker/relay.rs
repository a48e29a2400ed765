//! Tells analytics products what the outbox holds.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Capture, Captured};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::poll::{self, Work};
use crate::app::App;
use crate::backoff;
use crate::db::{self, ClaimedCapture, Topic};

/// Captures told at once.
const BATCH: i64 = 500;
/// Tries before a capture is given up: some three days.
const TRIES: i32 = 80;

/// Tells what is due, one batch of it. Returns how many batches there were.
pub async fn relay_due(app: &App) -> db::Result<usize> {
    poll::once(Captures::new(app)).await
}

pub(super) struct Captures {
    app: App,
}

impl Captures {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }
}

impl Work for Captures {
    type Item = Vec<ClaimedCapture>;
    type Ticket = Vec<Uuid>;

    const NAME: &'static str = "captures";
    const TOPIC: Option<Topic> = Some(Topic::Captures);
    // Products know a capture told twice by its id.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        1
    }

    async fn claim(&self, _: usize) -> db::Result<Vec<Self::Item>> {
        if self.app.plugins.analytics().is_empty() {
            return Ok(Vec::new());
        }
        let now = self.app.clock.now();
        let mut conn = self.app.db.conn().await?;
        let claimed = db::capture_claim(&mut conn, now, now + self.app.config.lease, BATCH).await?;
        Ok(if claimed.is_empty() {
            Vec::new()
        } else {
            vec![claimed]
        })
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        if self.app.plugins.analytics().is_empty() {
            return Ok(None);
        }
        let mut conn = self.app.db.conn().await?;
        db::capture_next_due(&mut conn).await
    }

    async fn perform(&self, batch: Self::Item, _: &CancellationToken) -> db::Result<()> {
        relay(&self.app, batch).await
    }

    fn ticket(batch: &Self::Item) -> Self::Ticket {
        batch.iter().map(|one| one.id).collect()
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let mut conn = self.app.db.conn().await?;
        db::capture_retry(&mut conn, &tickets.concat(), self.app.clock.now()).await
    }
}

/// Tells every product one batch, and keeps what has to be told again.
async fn relay(app: &App, claimed: Vec<ClaimedCapture>) -> db::Result<()> {
    let products = app.plugins.analytics();
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
    Ok(())
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
