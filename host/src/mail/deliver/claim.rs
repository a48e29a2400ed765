//! Step 1: a worker claims what is due and decides what becomes of each mail and batch.

use chrono::{DateTime, Utc};

use super::providers::Providers;
use super::route::route;
use super::{Delivery, Work, doubt, give_up, lease, put_aside};
use crate::calls;
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend};
use crate::ids::{BatchId, Claim, SendId};
use crate::mail::fate::last_moment;
use crate::pauses::Pauses;
use crate::plugins::DeliveryRef;
use crate::purpose::Purpose;

/// Which mails are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// All, transactional ones first.
    All,
    /// Transactional ones only, so that a slow provider of others never holds them up.
    Urgent,
}

/// Claims what is due for about `places` requests, and decides where each mail goes. Mails that no
/// provider takes now are postponed, and those past their last useful moment end. Returns the requests
/// and the number of mails and batches that were claimed.
pub async fn claim(cx: &Context, places: usize, lane: Lane) -> db::Result<(Vec<Delivery>, usize)> {
    // Calls of a killed process of this machine do not count against their mails.
    cx.calls.take_back().await?;
    let now = cx.clock.now();
    let mut providers = Providers::look(cx).await?;
    let (batch, sends) = take(cx, &providers, places, lane, now).await?;
    let claimed = sends.len() + usize::from(batch.is_some());

    let mut works = Vec::new();
    if let Some(batch) = batch {
        works.extend(doubt::decide_batch(cx, &mut providers, batch).await?);
    }
    let sends = without_paused(cx, sends, now).await?;
    let (late, sends): (Vec<_>, Vec<_>) =
        sends.into_iter().partition(|send| last_moment(send) <= now);
    give_up::expire(cx, &late).await?;
    for send in &sends {
        calls::report("mail", send.id, &send.deaths);
    }
    let (fatal, sends): (Vec<_>, Vec<_>) = sends
        .into_iter()
        .partition(|send| send.deaths.count >= calls::DEATHS_MAX);
    give_up::fatal(cx, &fatal).await?;
    let (doubtful, fresh): (Vec<_>, Vec<_>) = sends.into_iter().partition(|send| send.in_doubt);
    for send in doubtful {
        works.extend(doubt::decide(cx, &mut providers, send).await?);
    }
    route(cx, &mut providers, fresh, &mut works).await?;
    Ok((works.into_iter().map(Delivery).collect(), claimed))
}

/// Puts the mails aside that a pause stops, and returns the others with the last useful moment that pauses
/// left them.
async fn without_paused(
    cx: &Context,
    sends: Vec<ClaimedSend>,
    now: DateTime<Utc>,
) -> db::Result<Vec<ClaimedSend>> {
    if sends.is_empty() {
        return Ok(sends);
    }
    let mut conn = cx.db.conn().await?;
    let pauses = Pauses::load(&mut conn, now).await?;
    let (mut going, stopped) = pauses.split(&mut conn, sends).await?;
    put_aside(&mut conn, &stopped).await?;
    pauses.stop_clock(&mut conn, &mut going, now).await?;
    Ok(going)
}

/// Claims at most one batch, and enough mails to fill the requests.
async fn take(
    cx: &Context,
    providers: &Providers,
    places: usize,
    lane: Lane,
    now: DateTime<Utc>,
) -> db::Result<(Option<ClaimedBatch>, Vec<ClaimedSend>)> {
    let deliveries = first_choices(cx);
    let batches = deliveries.iter().map(|one| one.capabilities().batch_max);
    let limit = places.max(batches.max().unwrap_or(1) as usize).max(1);
    let until = now + lease(cx);
    let urgent = lane == Lane::Urgent;
    let mut conn = cx.db.conn().await?;
    for one in providers.awaited() {
        let transactional = one.purpose.map(|purpose| purpose == Purpose::Transactional);
        db::sends_summon(&mut conn, one.sender, transactional, now).await?;
    }
    let batch = match lane {
        Lane::All => db::batch_claim(&mut conn, now, until).await?,
        Lane::Urgent => None,
    };
    let mut sends = db::send_claim(&mut conn, now, until, limit as i64, urgent).await?;
    if sends.len() < limit
        && db::sends_after_clock_change(&mut conn, now + lease(cx) * 2, now).await? > 0
    {
        let rest = (limit - sends.len()) as i64;
        sends.extend(db::send_claim(&mut conn, now, until, rest, urgent).await?);
    }
    Ok((batch, sends))
}

/// The provider of each purpose that gets mail unless it is down.
pub fn first_choices(cx: &Context) -> Vec<DeliveryRef> {
    let plugins = cx.plugins();
    let first = |purpose| plugins.routes().of(purpose).first();
    let ids = Purpose::ALL.into_iter().filter_map(first);
    ids.filter_map(|id| plugins.delivery(id)).collect()
}

/// How many requests the mails that are due would take, from one to `most`.
pub async fn requests_due(cx: &Context, lane: Lane, most: usize) -> db::Result<usize> {
    let batches = first_choices(cx).into_iter();
    let batches = batches.map(|one| one.capabilities().batch_max as usize);
    let batch = batches.max().unwrap_or(1).max(1);
    let limit = most.saturating_mul(batch) as i64;
    let mut conn = cx.db.conn().await?;
    let due = db::sends_due(&mut conn, lane == Lane::Urgent, cx.clock.now(), limit).await?;
    let requests = usize::try_from(due).unwrap_or_default().div_ceil(batch);
    Ok(requests.clamp(1, most.max(1)))
}

/// When there is something to claim again.
pub async fn next_due(cx: &Context, lane: Lane) -> db::Result<Option<DateTime<Utc>>> {
    let mut conn = cx.db.conn().await?;
    db::send_next_due(&mut conn, lane == Lane::Urgent).await
}

/// The claims of a request that did not begin.
#[derive(Clone)]
pub struct Claims {
    sends: Vec<(SendId, Claim)>,
    batch: Option<(BatchId, Claim)>,
}

impl Delivery {
    /// What to give back if the request is not made.
    pub fn claims(&self) -> Claims {
        match &self.0 {
            Work::Attempt { group, .. } => Claims {
                sends: group
                    .iter()
                    .filter_map(|ready| Some((ready.send.id, ready.send.claim?)))
                    .collect(),
                batch: None,
            },
            Work::Repeat { batch, .. } => Claims {
                sends: Vec::new(),
                batch: Some((batch.id, batch.claim)),
            },
        }
    }
}

/// Gives back the claims of requests that never began: their mails and batches are due again.
pub async fn give_back(cx: &Context, claims: Vec<Claims>) -> db::Result<()> {
    let now = cx.clock.now();
    let mut conn = cx.db.conn().await?;
    for one in claims {
        if let Some((id, claim)) = one.batch {
            db::batch_give_back(&mut conn, id, claim, now).await?;
        }
        db::sends_give_back(&mut conn, &one.sends, now).await?;
    }
    Ok(())
}
