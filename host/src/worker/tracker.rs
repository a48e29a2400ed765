//! Classifies opens and clicks as person or machine, once the requests around them have arrived.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::Work;
use crate::app::App;
use crate::db::{self, DueVisit, Topic};
use crate::mail::tracking::judge;

/// Visits per query; each is classified in its own transaction.
const BATCH: i64 = 200;
/// Delay before a failed visit is retried, so that it does not hold up the others.
const AGAIN: TimeDelta = TimeDelta::seconds(30);

/// Classifies due visits. Returns how many this worker classified.
pub async fn track_due(app: &App) -> db::Result<usize> {
    let visits = Visits::new(app);
    let due = visits.due().await?;
    visits.judge_all(due, &CancellationToken::new()).await
}

pub(super) struct Visits {
    app: App,
}

impl Visits {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }

    async fn due(&self) -> db::Result<Vec<DueVisit>> {
        let mut conn = self.app.db.conn().await?;
        db::visits_due(&mut conn, self.app.clock.now(), BATCH).await
    }

    async fn judge_all(&self, due: Vec<DueVisit>, stop: &CancellationToken) -> db::Result<usize> {
        let mut count = 0;
        for visit in due {
            if stop.is_cancelled() {
                break;
            }
            let id = visit.id;
            match judge(&self.app, visit).await {
                Ok(ours) => count += usize::from(ours),
                Err(error) if db::is_unavailable(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, event_id = %id,
                        "an open or a click could not be classified, the worker retries later");
                    let mut conn = self.app.db.conn().await?;
                    db::visit_postpone(&mut conn, id, self.app.clock.now() + AGAIN).await?;
                }
            }
        }
        Ok(count)
    }
}

impl Work for Visits {
    /// Nothing is claimed here: each visit is claimed in the transaction that classifies it.
    type Item = Vec<DueVisit>;
    type Ticket = ();

    const NAME: &'static str = "visits";
    const TOPIC: Option<Topic> = None;
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        1
    }

    async fn claim(&self, _: usize) -> db::Result<Vec<Self::Item>> {
        let due = self.due().await?;
        Ok(if due.is_empty() {
            Vec::new()
        } else {
            vec![due]
        })
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::visit_next_due(&mut conn).await
    }

    async fn perform(&self, due: Self::Item, stop: &CancellationToken) -> db::Result<()> {
        self.judge_all(due, stop).await.map(|_| ())
    }

    fn ticket(_: &Self::Item) {}

    async fn give_back(&self, _: Vec<()>) -> db::Result<()> {
        Ok(())
    }
}
