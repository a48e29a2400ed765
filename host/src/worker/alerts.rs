//! Checks alert rules and sends alerts.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::poll::{self, Work};
use crate::alerts;
use crate::app::App;
use crate::db::{self, ClaimedAlert, Topic};
use crate::ids::Claim;
use crate::loops::item_failed;
use crate::telemetry::traces::spans;
use crate::webhooks;

/// Alerts sent concurrently.
const PLACES: usize = 8;
/// Rules checked before alerts are sent.
const RULES: usize = 100;

/// Checks due rules and sends due alerts. Returns how many alerts there were.
pub async fn alert_due(app: &App) -> db::Result<usize> {
    poll::once(Alerts::new(app)).await
}

pub(super) struct Alerts {
    app: App,
}

impl Alerts {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }
}

impl Work for Alerts {
    type Item = ClaimedAlert;
    type Ticket = (Uuid, Claim);

    const NAME: &'static str = "alerts";
    const TOPIC: Option<Topic> = Some(Topic::Alerts);
    // A receiver may have got an alert whose sending was cancelled.
    const REPEATABLE: bool = false;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        PLACES
    }

    async fn claim(&self, free: usize) -> db::Result<Vec<ClaimedAlert>> {
        for _ in 0..RULES {
            if !alerts::check_next(&self.app).await? {
                break;
            }
        }
        let now = self.app.clock.now();
        let mut conn = self.app.db.conn().await?;
        let until = now + webhooks::lease(self.app.config.lease);
        db::alert_claim(&mut conn, now, until, free as i64).await
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::alert_next_due(&mut conn).await
    }

    async fn perform(&self, alert: ClaimedAlert, _: &CancellationToken) -> db::Result<()> {
        let id = alert.id;
        let done = alerts::notify(&self.app, &self.app.poster, alert).await;
        if let Err(error) = &done {
            let _ids = spans::item(Self::NAME, id).entered();
            item_failed(
                "the result of an alert was not recorded, it will be sent again",
                error,
            );
        }
        done
    }

    fn ticket(alert: &ClaimedAlert) -> Self::Ticket {
        (alert.id, alert.claim)
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let mut conn = self.app.db.conn().await?;
        db::alerts_give_back(&mut conn, &tickets, self.app.clock.now()).await
    }
}
