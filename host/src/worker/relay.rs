//! Tells analytics products what the outbox holds: each product by itself, so that an outage of one
//! is no other's.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{Capture, Captured};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::poll::{self, Work};
use crate::app::App;
use crate::backoff;
use crate::db::{self, CaptureHold, ClaimedCapture, Topic};
use crate::plugins::AnalyticsRef;

/// Captures told at once.
const BATCH: i64 = 500;
/// Tries before a capture is given up: some three days.
const TRIES: i32 = 80;
/// How often a product that takes nothing is tried, with one capture.
const PROBE: TimeDelta = TimeDelta::seconds(30);
/// Requests in which a refused batch is taken apart; the rest waits for the next time.
const ASKS_MAX: usize = 64;
/// Captures refused one by one, with none taken, after which it is the product that is wrong.
const REFUSED_MAX: usize = 10;

/// Tells what is due, one batch of it. Returns how many batches there were.
pub async fn relay_due(app: &App) -> db::Result<usize> {
    poll::once(Captures::new(app)).await
}

pub(super) struct Captures {
    app: App,
}

/// Captures for one product.
pub(super) struct Batch {
    product: AnalyticsRef,
    captures: Vec<ClaimedCapture>,
    /// It tries whether the product takes anything again.
    probe: bool,
}

impl Captures {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }

    /// The products, each with what keeps it from being told anything.
    async fn products(&self) -> db::Result<Vec<(AnalyticsRef, Option<CaptureHold>)>> {
        let products = self.app.plugins.analytics();
        if products.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.app.db.conn().await?;
        let mut holds: HashMap<String, CaptureHold> = db::capture_holds(&mut conn)
            .await?
            .into_iter()
            .map(|hold| (hold.product.clone(), hold))
            .collect();
        let each = products.into_iter().map(|product| {
            let hold = holds.remove(product.id());
            (product, hold)
        });
        Ok(each.collect())
    }
}

impl Work for Captures {
    type Item = Batch;
    type Ticket = Vec<Uuid>;

    const NAME: &'static str = "captures";
    const TOPIC: Option<Topic> = Some(Topic::Captures);
    // Products know a capture told twice by its id.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        self.app.plugins.analytics().len().max(1)
    }

    async fn claim(&self, room: usize) -> db::Result<Vec<Self::Item>> {
        let products = self.products().await?;
        let ids: Vec<&str> = products.iter().map(|one| one.0.id()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.app.clock.now();
        let lease_until = now + self.app.config.lease;
        let mut conn = self.app.db.conn().await?;
        db::captures_address(&mut conn, &ids, BATCH, now).await?;
        let lost = db::captures_orphaned(&mut conn, &ids, BATCH, now).await?;
        if lost > 0 {
            tracing::error!(
                count = lost,
                "captures are given up: their plugin is not active any more"
            );
        }
        let mut batches = Vec::new();
        for (product, hold) in products {
            if batches.len() == room {
                break;
            }
            let id = product.id();
            let limit = match &hold {
                None => BATCH,
                Some(hold) if hold.until > now => continue,
                Some(_) if db::capture_probe(&mut conn, id, now + PROBE, now).await? => 1,
                Some(_) => continue,
            };
            let captures = db::capture_claim(&mut conn, id, now, lease_until, limit).await?;
            if captures.is_empty() {
                continue;
            }
            if self.app.plugins.event_source(id).is_some() {
                let told: Vec<Uuid> = captures.iter().map(|one| one.id).collect();
                db::captures_known(&mut conn, id, &told, now).await?;
            }
            batches.push(Batch {
                product,
                captures,
                probe: hold.is_some(),
            });
        }
        Ok(batches)
    }

    async fn next_due(&self) -> db::Result<Option<DateTime<Utc>>> {
        let products = self.products().await?;
        if products.is_empty() {
            return Ok(None);
        }
        let now = self.app.clock.now();
        let held = |one: &CaptureHold| one.until > now;
        let open = products
            .iter()
            .filter(|one| !one.1.as_ref().is_some_and(held));
        let open: Vec<&str> = open.map(|one| one.0.id()).collect();
        let holds = products.iter().filter_map(|one| one.1.as_ref());
        let until = holds.filter(|hold| held(hold)).map(|hold| hold.until).min();
        let mut conn = self.app.db.conn().await?;
        let due = db::capture_next_due(&mut conn, &open).await?;
        Ok([due, until].into_iter().flatten().min())
    }

    async fn perform(&self, batch: Self::Item, stop: &CancellationToken) -> db::Result<()> {
        relay(&self.app, batch, stop).await
    }

    fn ticket(batch: &Self::Item) -> Self::Ticket {
        batch.captures.iter().map(|one| one.row).collect()
    }

    async fn give_back(&self, tickets: Vec<Self::Ticket>) -> db::Result<()> {
        let mut conn = self.app.db.conn().await?;
        db::capture_retry(&mut conn, &tickets.concat(), true, self.app.clock.now()).await
    }
}

/// What became of the captures of a batch, by their rows.
#[derive(Default)]
struct Told {
    taken: Vec<Uuid>,
    /// Refused for good, each with the reason.
    refused: Vec<(Uuid, String)>,
    /// Not told, or not answered.
    left: Vec<ClaimedCapture>,
    /// Why the product is told again later, and its own wish when.
    retry: Option<(String, Option<u64>)>,
    /// Why the product takes nothing.
    blocked: Option<String>,
}

/// Tells a product one batch, and keeps what has to be told again.
async fn relay(app: &App, batch: Batch, stop: &CancellationToken) -> db::Result<()> {
    let Batch {
        product,
        captures,
        probe,
    } = batch;
    // What took nothing before is wrong still, where it refuses the one that tries it.
    let most = if probe { 1 } else { REFUSED_MAX };
    let told = tell(&product, captures, most, stop).await;
    let id = product.id();
    let (now, count) = (app.clock.now(), told.left.len());
    let mut conn = app.db.conn().await?;
    db::capture_delete(&mut conn, &told.taken).await?;
    let mut given_up = told.refused;
    for (_, reason) in &mut given_up {
        *reason = format!("{id}: {reason}");
    }
    let rows = |all: &[ClaimedCapture]| all.iter().map(|one| one.row).collect::<Vec<_>>();
    if let Some(reason) = &told.blocked {
        // One that tried it comes after the others now, so that the next one is another.
        db::capture_retry(&mut conn, &rows(&told.left), false, now).await?;
        if db::capture_hold(&mut conn, id, reason, now + PROBE, now).await? {
            tracing::error!(
                plugin = id,
                reason,
                "an analytics product takes no captures, they are kept"
            );
        }
    } else {
        let answered = !told.taken.is_empty() || !given_up.is_empty();
        if probe && answered && db::capture_release(&mut conn, id).await? {
            tracing::info!(plugin = id, "an analytics product takes captures again");
        }
        if let Some((reason, wish)) = told.retry {
            let (worn, young): (Vec<_>, Vec<_>) =
                told.left.into_iter().partition(|one| one.attempts >= TRIES);
            let tries = young.iter().map(|one| one.attempts).max().unwrap_or(1);
            tracing::warn!(plugin = id, reason, count, tries, "captures are told later");
            let at = now + backoff::wait(tries, wish);
            db::capture_retry(&mut conn, &rows(&young), true, at).await?;
            let reason = format!("{id}: given up after {TRIES} tries: {reason}");
            given_up.extend(worn.into_iter().map(|one| (one.row, reason.clone())));
        } else if count > 0 {
            db::capture_retry(&mut conn, &rows(&told.left), false, now).await?;
        }
    }
    if !given_up.is_empty() {
        tracing::error!(
            plugin = id,
            count = given_up.len(),
            reason = given_up[0].1,
            "captures are given up"
        );
        db::capture_give_up(&mut conn, &given_up, now).await?;
    }
    Ok(())
}

/// Tells a product captures, and takes a refused batch apart to find those that are meant. `most` of them
/// refused and none taken say that it is the product that is wrong.
async fn tell(
    product: &AnalyticsRef,
    captures: Vec<ClaimedCapture>,
    most: usize,
    stop: &CancellationToken,
) -> Told {
    let mut told = Told::default();
    // The last part is the next one, so that the order is kept.
    let mut parts = vec![captures];
    let mut refused: Vec<(ClaimedCapture, String)> = Vec::new();
    for asked in 0.. {
        let Some(mut part) = parts.pop() else { break };
        if asked >= ASKS_MAX || asked > 0 && stop.is_cancelled() {
            told.left.extend(part);
            continue;
        }
        let batch: Vec<Capture> = part.iter().map(capture).collect();
        match product.capture(&batch).await {
            Ok(Captured::Taken | Captured::Unwanted) => {
                told.taken.extend(part.iter().map(|one| one.row));
            }
            Ok(Captured::Partly { refused: some }) => {
                let mut reasons: HashMap<Uuid, String> =
                    some.into_iter().map(|one| (one.id, one.reason)).collect();
                for one in part {
                    match reasons.remove(&one.id) {
                        Some(reason) => refused.push((one, reason)),
                        None => told.taken.push(one.row),
                    }
                }
            }
            Ok(Captured::Rejected { .. }) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
            }
            Ok(Captured::Rejected { reason }) => {
                refused.extend(part.into_iter().map(|one| (one, reason.clone())));
            }
            Ok(Captured::Blocked { reason }) => {
                told.blocked = Some(reason);
                told.left.extend(part);
                break;
            }
            Ok(Captured::Retry {
                reason,
                retry_after_ms,
            }) => {
                told.retry = Some((reason, retry_after_ms));
                told.left.extend(part);
                break;
            }
            Err(error) => {
                told.retry = Some((error.to_string(), None));
                told.left.extend(part);
                break;
            }
        }
        if told.taken.is_empty() && refused.len() >= most {
            let reason = refused[0].1.clone();
            told.blocked = Some(format!("it refuses everything: {reason}"));
            break;
        }
    }
    told.left.extend(parts.into_iter().flatten());
    if told.blocked.is_some() && told.taken.is_empty() {
        // What is refused with everything else says nothing of the capture.
        told.left.extend(refused.into_iter().map(|one| one.0));
    } else {
        let each = refused.into_iter();
        told.refused = each.map(|(one, reason)| (one.row, reason)).collect();
    }
    told
}

fn capture(claimed: &ClaimedCapture) -> Capture {
    Capture {
        id: claimed.id,
        distinct_id: claimed.distinct_id.clone(),
        event: claimed.event.clone(),
        properties: claimed.properties.clone(),
        occurred_at: claimed.occurred_at,
    }
}
