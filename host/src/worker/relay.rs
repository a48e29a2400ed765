//! Sends captures to analytics products, each product independently, so that an outage of one does
//! not affect the others.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{Capture, Captured};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::poll::{self, Work};
use crate::app::App;
use crate::backoff;
use crate::db::{self, CaptureHold, ClaimedCapture, Topic};
use crate::plugins::AnalyticsRef;
use crate::telemetry::Outages;
use crate::telemetry::metrics::CAPTURES;

/// Captures per batch.
const BATCH: i64 = 500;
/// Attempts before a capture is given up: about three days.
const TRIES: i32 = 80;
/// How often a product that accepts nothing is probed with one capture.
const PROBE: TimeDelta = TimeDelta::seconds(30);
/// Requests spent on bisecting a refused batch; the rest waits for the next pass.
const ASKS_MAX: usize = 64;
/// Captures refused one by one, with none accepted, after which the fault is with the product.
const REFUSED_MAX: usize = 10;

/// Sends due captures, one batch per product. Returns how many batches there were.
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
    /// It probes whether the product accepts captures again, which it did not for this reason.
    probe: Option<String>,
}

impl Captures {
    pub(super) fn new(app: &App) -> Self {
        Self { app: app.clone() }
    }

    /// The products, each with its hold if there is one.
    async fn products(&self) -> db::Result<Vec<(AnalyticsRef, Option<CaptureHold>)>> {
        let products = self.app.plugins().analytics();
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
    // Products deduplicate captures by id.
    const REPEATABLE: bool = true;

    fn app(&self) -> &App {
        &self.app
    }

    fn places(&self) -> usize {
        self.app.plugins().analytics().len().max(1)
    }

    async fn claim(&self, free: usize) -> db::Result<Vec<Self::Item>> {
        let products = self.products().await?;
        let ids: Vec<&str> = products.iter().map(|one| one.0.id()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.app.clock.now();
        let lease_until = now + self.app.config.lease;
        let mut conn = self.app.db.conn().await?;
        db::captures_address(&mut conn, &takers(&products), BATCH, now).await?;
        let lost = db::captures_orphaned(&mut conn, &ids, BATCH, now).await?;
        if lost > 0 {
            tracing::error!(
                count = lost,
                "captures are given up: their plugin is no longer active"
            );
        }
        let mut batches = Vec::new();
        for (product, hold) in products {
            if batches.len() == free {
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
            if self.app.plugins().event_source(id).is_some() {
                let sent: Vec<Uuid> = captures.iter().map(|one| one.id).collect();
                db::captures_known(&mut conn, id, &sent, now).await?;
            }
            batches.push(Batch {
                product,
                captures,
                probe: hold.map(|hold| hold.reason),
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

/// The products that new captures are stored for. If none takes any, the first one gets them and
/// discards them.
fn takers(products: &[(AnalyticsRef, Option<CaptureHold>)]) -> Vec<&str> {
    let all = products.iter().map(|one| &one.0);
    let taking: Vec<&str> = all
        .clone()
        .filter(|product| product.takes_captures())
        .map(AnalyticsRef::id)
        .collect();
    if taking.is_empty() {
        return all.take(1).map(AnalyticsRef::id).collect();
    }
    taking
}

/// Results of a batch, by row.
#[derive(Default)]
struct Results {
    taken: Vec<Uuid>,
    /// Discarded by the plugin. This says nothing about whether the product accepts captures.
    unwanted: Vec<Uuid>,
    /// Refused for good, each with the reason.
    refused: Vec<(Uuid, String)>,
    /// Not sent, or not answered.
    left: Vec<ClaimedCapture>,
    /// Why the worker retries later, and the product's requested delay in ms.
    retry: Option<(String, Option<u64>)>,
    /// Why the product accepts nothing.
    blocked: Option<String>,
}

/// Products that captures could not be sent to.
static AWAY: LazyLock<Outages> = LazyLock::new(Outages::default);

/// Sends one batch to a product, and records the results.
async fn relay(app: &App, batch: Batch, stop: &CancellationToken) -> db::Result<()> {
    let Batch {
        product,
        captures,
        probe,
    } = batch;
    // One refusal is enough to keep a product on hold that was on hold before.
    let refused_max = if probe.is_some() { 1 } else { REFUSED_MAX };
    let results = send(&product, captures, refused_max, stop).await;
    let id = product.id();
    CAPTURES.add(&[id, "sent"], results.taken.len() as u64);
    CAPTURES.add(
        &[id, "failed"],
        (results.refused.len() + results.left.len()) as u64,
    );
    let (now, count) = (app.clock.now(), results.left.len());
    let mut conn = app.db.conn().await?;
    let done = [results.taken.as_slice(), results.unwanted.as_slice()].concat();
    db::capture_delete(&mut conn, &done).await?;
    let mut given_up = results.refused;
    for (_, reason) in &mut given_up {
        *reason = format!("{id}: {reason}");
    }
    let rows = |all: &[ClaimedCapture]| all.iter().map(|one| one.row).collect::<Vec<_>>();
    if let Some(reason) = &results.blocked {
        // Rescheduling moves the probed capture behind the others, so that the next probe uses
        // another one.
        db::capture_retry(&mut conn, &rows(&results.left), false, now).await?;
        if db::capture_hold(&mut conn, id, reason, now + PROBE, now).await? {
            tracing::error!(
                plugin = id,
                reason,
                "an analytics product accepts no captures, they are kept"
            );
        }
    } else {
        let answered = !results.taken.is_empty() || !given_up.is_empty();
        if let Some(reason) = &probe {
            if !answered {
                // The plugin did not ask the product: the next capture probes it, at once.
                if !results.unwanted.is_empty() {
                    db::capture_hold(&mut conn, id, reason, now, now).await?;
                }
            } else if db::capture_release(&mut conn, id).await? {
                tracing::info!(plugin = id, "an analytics product accepts captures again");
            }
        }
        if let Some((reason, retry_after)) = results.retry {
            let (worn, young): (Vec<_>, Vec<_>) = results
                .left
                .into_iter()
                .partition(|one| one.attempts >= TRIES);
            let tries = young.iter().map(|one| one.attempts).max().unwrap_or(1);
            if let Some(failing) = AWAY.failed(id) {
                tracing::warn!(
                    plugin = id,
                    reason,
                    count,
                    tries,
                    failures = failing.failures,
                    "sending captures failed, the worker retries later"
                );
            }
            let at = now + backoff::wait(tries, retry_after);
            db::capture_retry(&mut conn, &rows(&young), true, at).await?;
            let reason = format!("{id}: given up after {TRIES} attempts: {reason}");
            given_up.extend(worn.into_iter().map(|one| (one.row, reason.clone())));
        } else {
            if let Some(recovered) = AWAY.over(id) {
                let seconds = recovered.seconds;
                tracing::info!(plugin = id, seconds, "captures are sent again");
            }
            if count > 0 {
                db::capture_retry(&mut conn, &rows(&results.left), false, now).await?;
            }
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

/// Sends captures to a product, and bisects a refused batch to find the invalid ones. After
/// `refused_max` refusals without an accepted capture the fault is with the product.
async fn send(
    product: &AnalyticsRef,
    captures: Vec<ClaimedCapture>,
    refused_max: usize,
    stop: &CancellationToken,
) -> Results {
    let mut results = Results::default();
    // A stack whose top is the next part, so that the order is kept.
    let mut parts = vec![captures];
    let mut refused: Vec<(ClaimedCapture, String)> = Vec::new();
    for asked in 0.. {
        let Some(mut part) = parts.pop() else { break };
        if asked >= ASKS_MAX || asked > 0 && stop.is_cancelled() {
            results.left.extend(part);
            continue;
        }
        let batch: Vec<Capture> = part.iter().map(capture).collect();
        match product.capture(&batch).await {
            Ok(Captured::Taken) => results.taken.extend(part.iter().map(|one| one.row)),
            Ok(Captured::Unwanted) => results.unwanted.extend(part.iter().map(|one| one.row)),
            Ok(Captured::Partly { refused: some, .. }) => {
                let mut reasons: HashMap<Uuid, String> =
                    some.into_iter().map(|one| (one.id, one.reason)).collect();
                for one in part {
                    match reasons.remove(&one.id) {
                        Some(reason) => refused.push((one, reason)),
                        None => results.taken.push(one.row),
                    }
                }
            }
            Ok(Captured::Rejected { .. }) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
            }
            Ok(Captured::Rejected { reason, .. }) => {
                refused.extend(part.into_iter().map(|one| (one, reason.clone())));
            }
            Ok(Captured::Blocked { reason, .. }) => {
                results.blocked = Some(reason);
                results.left.extend(part);
                break;
            }
            Ok(Captured::Retry {
                reason,
                retry_after_ms,
                ..
            }) => {
                results.retry = Some((reason, retry_after_ms));
                results.left.extend(part);
                break;
            }
            Ok(other) => {
                results.retry = Some((format!("it is newer than this host: {other:?}"), None));
                results.left.extend(part);
                break;
            }
            Err(error) => {
                results.retry = Some((error.to_string(), None));
                results.left.extend(part);
                break;
            }
        }
        if results.taken.is_empty() && refused.len() >= refused_max {
            let reason = refused[0].1.clone();
            results.blocked = Some(format!("it refuses everything: {reason}"));
            break;
        }
    }
    results.left.extend(parts.into_iter().flatten());
    if results.blocked.is_some() && results.taken.is_empty() {
        // The product refused everything, which says nothing about a single capture.
        results.left.extend(refused.into_iter().map(|one| one.0));
    } else {
        let each = refused.into_iter();
        results.refused = each.map(|(one, reason)| (one.row, reason)).collect();
    }
    results
}

fn capture(claimed: &ClaimedCapture) -> Capture {
    let mut capture = Capture::new(
        claimed.id,
        claimed.distinct_id.clone(),
        claimed.event.clone(),
        claimed.occurred_at,
    );
    capture.properties.clone_from(&claimed.properties);
    capture
}
