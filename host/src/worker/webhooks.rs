//! Tells endpoints what happened.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::mailer::rest;
use crate::app::App;
use crate::db::{self, ClaimedDelivery, Topic};
use crate::ids::EndpointId;
use crate::webhooks;

/// Requests under way at once.
const FLYING: usize = 64;
/// Requests to one endpoint at once, about: a slow one leaves room for the others.
const EACH: usize = 8;
/// How long what was told, or put aside, is kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How often old rows are looked for, and how many are deleted at once.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
const PRUNE_AT_ONCE: i64 = 5_000;

pub(super) async fn run(app: &App, stop: CancellationToken) {
    let mut flying: JoinSet<EndpointId> = JoinSet::new();
    let mut under_way: HashMap<EndpointId, usize> = HashMap::new();
    let mut pruned: Option<Instant> = None;
    while !stop.is_cancelled() {
        if pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
            pruned = Some(Instant::now());
            prune(app).await;
        }
        let full: Vec<EndpointId> = under_way
            .iter()
            .filter(|(_, count)| **count >= EACH)
            .map(|(id, _)| *id)
            .collect();
        let room = FLYING - flying.len().min(FLYING);
        let claimed = if room == 0 {
            Ok(Vec::new())
        } else {
            claim(app, &full, room).await
        };
        let due = match claimed {
            Ok(claimed) if !claimed.is_empty() => {
                for one in claimed {
                    *under_way.entry(one.endpoint_id).or_default() += 1;
                    flying.spawn(attempt(app.clone(), one));
                }
                continue;
            }
            Ok(_) => next_due(app, &full).await,
            Err(error) => {
                tracing::error!(%error, "webhooks could not be claimed, trying again");
                Some(app.clock.now() + TimeDelta::seconds(1))
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            Some(done) = flying.join_next() => landed(done, &mut under_way),
            () = app.db.wake().wait(Topic::Webhooks) => {}
            () = rest(app, due) => {}
        }
    }
    // What is under way is bounded; what is not recorded is told once more with the same id.
    while flying.join_next().await.is_some() {}
}

fn landed(
    done: Result<EndpointId, tokio::task::JoinError>,
    under_way: &mut HashMap<EndpointId, usize>,
) {
    match done {
        Ok(endpoint) => {
            let left = under_way.entry(endpoint).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                under_way.remove(&endpoint);
            }
        }
        // Nobody knows whose it was: the count starts anew.
        Err(error) => {
            tracing::error!(%error, "a webhook's attempt broke off");
            under_way.clear();
        }
    }
}

async fn attempt(app: App, one: ClaimedDelivery) -> EndpointId {
    let endpoint = one.endpoint_id;
    if let Err(error) = webhooks::deliver(&app, one).await {
        tracing::error!(%error, "what came of a webhook was not kept, it is told once more");
    }
    endpoint
}

async fn claim(app: &App, full: &[EndpointId], room: usize) -> db::Result<Vec<ClaimedDelivery>> {
    let now = app.clock.now();
    let mut conn = app.db.conn().await?;
    let limits = (EACH as i64, room as i64);
    let until = now + webhooks::lease(app.config.lease);
    db::delivery_claim(&mut conn, now, until, full, limits).await
}

async fn next_due(app: &App, full: &[EndpointId]) -> Option<DateTime<Utc>> {
    let mut conn = app.db.conn().await.ok()?;
    db::delivery_next_due(&mut conn, full).await.ok()?
}

async fn prune(app: &App) {
    let before = app.clock.now() - KEPT;
    let pruned = match app.db.conn().await {
        Ok(mut conn) => {
            let webhooks = db::deliveries_prune(&mut conn, before, PRUNE_AT_ONCE).await;
            let captures = db::captures_prune(&mut conn, before, PRUNE_AT_ONCE).await;
            webhooks.and(captures)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = pruned {
        tracing::warn!(%error, "old webhooks and captures were not deleted, later again");
    }
}

/// Posts what is due, a batch of it. Returns how many there were.
pub async fn post_due(app: &App) -> db::Result<usize> {
    let claimed = claim(app, &[], FLYING).await?;
    let count = claimed.len();
    let mut flying: JoinSet<EndpointId> = JoinSet::new();
    for one in claimed {
        flying.spawn(attempt(app.clone(), one));
    }
    while flying.join_next().await.is_some() {}
    Ok(count)
}
