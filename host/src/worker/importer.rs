//! Imports contacts.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::poll::{self, Work};
use crate::app::App;
use crate::db::{self, ClaimedImport, Topic};
use crate::ids::{Claim, ImportId};
use crate::ingest::import;
use crate::loops::item_failed;
use crate::telemetry::traces::spans;

/// Continues a due import until its end or `stop`. Returns how many there were.
pub async fn import_due(app: &App, stop: &CancellationToken) -> db::Result<usize> {
    poll::once_until(Imports::new(app), stop).await
}

pub(super) struct Imports {
    app: App,
}

impl Imports {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }
}

impl Work for Imports {
    type Item = ClaimedImport;
    type Ticket = (ImportId, Claim);

    const NAME: &'static str = "imports";
    const TOPIC: Option<Topic> = Some(Topic::Imports);
    // An import continues after the last stored chunk.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    /// Imports lock many contacts, so they run one at a time.
    fn places(&self) -> usize {
        1
    }

    async fn claim(&self, _: usize) -> db::Result<Vec<ClaimedImport>> {
        let now = self.app.clock.now();
        let mut conn = self.app.db.conn().await?;
        let claimed = db::import_claim(&mut conn, now, now + self.app.config.lease).await?;
        Ok(claimed.into_iter().collect())
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::import_next_due(&mut conn).await
    }

    async fn perform(&self, import: ClaimedImport, stop: &CancellationToken) -> db::Result<()> {
        let id = import.id;
        let done = import::run(&self.app, import, stop).await;
        if let Err(error) = &done {
            let _ids = spans::item(Self::NAME, id).entered();
            item_failed(
                "an import was interrupted, it continues when its lease expires",
                error,
            );
        }
        done
    }

    fn ticket(import: &ClaimedImport) -> Self::Ticket {
        (import.id, import.claim)
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let mut conn = self.app.db.conn().await?;
        for ticket in tickets {
            db::import_release(&mut conn, ticket, self.app.clock.now()).await?;
        }
        Ok(())
    }
}
