//! Posts webhook deliveries.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::poll::{self, Work};
use crate::app::App;
use crate::db::{self, ClaimedDelivery, Topic};
use crate::ids::{Claim, EndpointId};
use crate::loops::item_failed;
use crate::telemetry::traces::spans;
use crate::webhooks;

/// Concurrent requests.
const PLACES: usize = 64;
/// Approximate number of concurrent requests to one endpoint: a slow one leaves capacity for the
/// others.
const EACH: usize = 8;

/// Posts a batch of due deliveries. Returns how many there were.
pub async fn post_due(app: &App) -> db::Result<usize> {
    poll::once(Webhooks::new(app)).await
}

pub(super) struct Webhooks {
    app: App,
    /// Number of requests under way per endpoint.
    under_way: Mutex<HashMap<EndpointId, usize>>,
}

impl Webhooks {
    pub(super) fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            under_way: Mutex::default(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<EndpointId, usize>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> Vec<EndpointId> {
        let counts = self.counts();
        let full = counts.iter().filter(|(_, count)| **count >= EACH);
        full.map(|(id, _)| *id).collect()
    }
}

/// One request's share of its endpoint's capacity; released when dropped, however the request ends.
struct Share<'a>(&'a Webhooks, EndpointId);

impl<'a> Share<'a> {
    fn take(webhooks: &'a Webhooks, endpoint: EndpointId) -> Self {
        *webhooks.counts().entry(endpoint).or_default() += 1;
        Self(webhooks, endpoint)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

impl Work for Webhooks {
    type Item = ClaimedDelivery;
    type Ticket = (Uuid, Claim);

    const NAME: &'static str = "webhooks";
    const TOPIC: Option<Topic> = Some(Topic::Webhooks);
    // An endpoint may have got a delivery whose request was cancelled.
    const REPEATABLE: bool = false;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        PLACES
    }

    async fn claim(&self, free: usize) -> db::Result<Vec<ClaimedDelivery>> {
        let now = self.app.clock.now();
        let mut conn = self.app.db.conn().await?;
        let limits = (EACH as i64, free as i64);
        let until = now + webhooks::lease(self.app.config.lease);
        db::delivery_claim(&mut conn, now, until, &self.full(), limits).await
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let mut conn = self.app.db.conn().await?;
        db::delivery_next_due(&mut conn, &self.full()).await
    }

    async fn perform(&self, one: ClaimedDelivery, _: &CancellationToken) -> db::Result<()> {
        let _share = Share::take(self, one.endpoint_id);
        let id = one.id;
        let done = webhooks::deliver(&self.app, &self.app.poster, one).await;
        if let Err(error) = &done {
            let _ids = spans::item(Self::NAME, id).entered();
            item_failed(
                "the result of a webhook was not recorded, it will be posted again",
                error,
            );
        }
        done
    }

    fn ticket(one: &ClaimedDelivery) -> Self::Ticket {
        (one.id, one.claim)
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let mut conn = self.app.db.conn().await?;
        db::deliveries_give_back(&mut conn, &tickets, self.app.clock.now()).await
    }
}
