//! Attempts at delivery, and what the ledger keeps of them.
//!
//! The provider's bytes and the fact that an attempt begins are committed before the provider is
//! asked. So a mail whose attempt was cut off is known to be in doubt, and is repeated with the
//! same bytes and key where the provider makes that harmless; where it does not, the mail's
//! category decides. Mails that travel together share a key of their own, and are repeated
//! together, in the same order.
//!
//! ```text
//!                 claim                begin                   answer (fate/standing.rs)
//!   queued ──────────────► claimed ──────────────► sending ─┬──────────► sent ─► delivered …
//!     ▲ ▲                     │                    in doubt ├──────────► bounced
//!     │ │ postponed, kept     │                       │ ▲   ├──────────► failed
//!     │ └─────────────────────┤                       │ │   └──────────► ambiguous
//!     │                       │ skipped,              │ └── asked again, same bytes and key
//!     │                       └──► expired            │
//!     └────────────────────────────────────────────────┘ surely not taken
//! ```
//!
//! A claim is a lease: a mail whose worker died is due again when it ends. The lease is prolonged
//! while the provider is asked, so an attempt may take longer than a lease.

mod ask;
mod begin;
mod conclude;
mod doubt;
mod providers;
mod route;
mod state;

pub use state::{ProviderState, Taking, provider_states};

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Prepared;

use self::ask::ask;
use self::providers::Providers;
use self::route::route;
use super::fate::last_moment;
use uuid::Uuid;

use crate::calls::{self, Open};
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend, Conn, Hold, PluginCall};
use crate::ids::{BatchId, Claim, SendId};
use crate::plugins::DeliveryRef;

/// A mail and the bytes a provider gets.
#[derive(Clone, Debug)]
struct Ready {
    send: ClaimedSend,
    prepared: Prepared,
    /// It has another sender than when it was kept.
    restamped: bool,
}

impl Ready {
    /// Which attempt at this mail the next one is.
    fn number(&self) -> i32 {
        self.send.attempts + 1
    }
}

/// Mails that travel in one request, and the request's place in the ledger. All have one sender.
struct Request {
    mails: Vec<Ready>,
    /// None for a single mail.
    batch: Option<ClaimedBatch>,
    /// Which attempt this is: at the batch, or at the single mail.
    number: i32,
    /// An attempt before this one was cut off.
    doubted: bool,
    began: DateTime<Utc>,
    /// When the provider's rate allows it to leave.
    slot: DateTime<Utc>,
    /// The note of its call.
    call: Option<Open>,
}

/// One request to a provider that is about to be made.
pub struct Delivery(Work);

enum Work {
    Attempt {
        provider: DeliveryRef,
        group: Vec<Ready>,
        /// What it tries: all other mails wait for how it ends.
        tried: Vec<Hold>,
    },
    Repeat {
        provider: DeliveryRef,
        batch: ClaimedBatch,
        members: Vec<ClaimedSend>,
    },
}

impl Work {
    fn of(provider: DeliveryRef, group: Vec<Ready>, tried: Vec<Hold>) -> Option<Self> {
        (!group.is_empty()).then_some(Self::Attempt {
            provider,
            group,
            tried,
        })
    }
}

/// Which mails are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// All, transactional ones first.
    All,
    /// Transactional ones only, so that a slow provider of others never holds them up.
    Urgent,
}

/// Claims what is due for about so many requests, and decides where each mail goes. What nobody
/// takes now is kept, what is useful no more ends. Returns the requests and how many mails and
/// batches were looked at.
pub async fn claim(cx: &Context, places: usize, lane: Lane) -> db::Result<(Vec<Delivery>, usize)> {
    // What another process of this machine left behind when it was killed counts for nothing.
    cx.calls.take_back().await?;
    let now = cx.clock.now();
    let mut providers = Providers::look(cx).await?;
    let most = cx
        .plugins
        .deliveries()
        .first()
        .map_or(1, |one| one.capabilities().batch_max as usize);
    let limit = places.max(if most > 1 { most } else { 1 });
    let (batch, sends) = {
        let mut conn = cx.db.conn().await?;
        for sender in providers.awaited() {
            db::sends_summon(&mut conn, sender.as_deref(), now).await?;
        }
        let until = now + lease(cx);
        let batch = match lane {
            Lane::All => db::batch_claim(&mut conn, now, until).await?,
            Lane::Urgent => None,
        };
        let urgent = lane == Lane::Urgent;
        let mut sends = db::send_claim(&mut conn, now, until, limit as i64, urgent).await?;
        if sends.len() < limit
            && db::sends_after_clock_change(&mut conn, now + lease(cx) * 2, now).await? > 0
        {
            let rest = (limit - sends.len()) as i64;
            sends.extend(db::send_claim(&mut conn, now, until, rest, urgent).await?);
        }
        (batch, sends)
    };
    let looked_at = sends.len() + usize::from(batch.is_some());
    let mut works = Vec::new();
    if let Some(batch) = batch {
        works.extend(doubt::decide_batch(cx, &mut providers, batch).await?);
    }
    let (late, sends): (Vec<_>, Vec<_>) =
        sends.into_iter().partition(|send| last_moment(send) <= now);
    begin::expire(cx, &late).await?;
    for send in &sends {
        calls::report("mail", send.id, &send.deaths);
    }
    let (fatal, sends): (Vec<_>, Vec<_>) = sends
        .into_iter()
        .partition(|send| send.deaths.count >= calls::DEATHS_MAX);
    begin::give_up(cx, &fatal).await?;
    let (doubtful, fresh): (Vec<_>, Vec<_>) = sends.into_iter().partition(|send| send.in_doubt);
    for send in doubtful {
        works.extend(doubt::decide(cx, &mut providers, send).await?);
    }
    route(cx, &mut providers, fresh, &mut works).await?;
    Ok((works.into_iter().map(Delivery).collect(), looked_at))
}

/// When there is something to claim again.
pub async fn next_due(cx: &Context, lane: Lane) -> db::Result<Option<DateTime<Utc>>> {
    let mut conn = cx.db.conn().await?;
    db::send_next_due(&mut conn, lane == Lane::Urgent).await
}

/// What a request that was not begun holds.
#[derive(Clone)]
pub struct Claims {
    sends: Vec<(SendId, Claim)>,
    batch: Option<(BatchId, Claim)>,
}

impl Delivery {
    /// What has to be given back where the request is not made.
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

    /// How often workers ended in a call for one of its mails, at most.
    fn deaths(&self) -> i16 {
        let deaths = |send: &ClaimedSend| send.deaths.count;
        match &self.0 {
            Work::Attempt { group, .. } => group.iter().map(|one| deaths(&one.send)).max(),
            Work::Repeat { batch, .. } => Some(batch.deaths.count),
        }
        .unwrap_or(0)
    }
}

/// Calls that are noted for mails: none of them is about a mail any more.
async fn forget(cx: &Context, subjects: impl IntoIterator<Item = Uuid>) -> db::Result<()> {
    let subjects: Vec<Uuid> = subjects.into_iter().collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let mut conn = cx.db.conn().await?;
    db::calls_forget(&mut conn, &subjects).await
}

/// Makes due again what requests hold that were never begun.
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

/// Makes one request and records its answer.
///
/// # Errors
/// The database's, where an answer could not be recorded for as long as the lease lasts. The lease
/// brings the mails back; what the provider has is known by the frozen key.
pub async fn perform(cx: &Context, delivery: Delivery) -> db::Result<()> {
    let _turn = cx.alone.turn(delivery.deaths()).await;
    match delivery.0 {
        Work::Attempt {
            provider,
            group,
            tried,
        } => attempt(cx, &provider, group, &tried).await,
        Work::Repeat {
            provider,
            batch,
            members,
        } => repeat(cx, &provider, batch, members).await,
    }
}

async fn attempt(
    cx: &Context,
    provider: &DeliveryRef,
    group: Vec<Ready>,
    tried: &[Hold],
) -> db::Result<()> {
    match begin::begin(cx, provider, group).await? {
        Some(request) => ask(cx, provider, request).await,
        None => untry(cx, tried).await,
    }
}

async fn repeat(
    cx: &Context,
    provider: &DeliveryRef,
    batch: ClaimedBatch,
    members: Vec<ClaimedSend>,
) -> db::Result<()> {
    match doubt::begin_again(cx, provider, batch, members).await? {
        Some(request) => ask(cx, provider, request).await,
        None => Ok(()),
    }
}

/// The mail that was to try a provider did not go out after all: another one may.
async fn untry(cx: &Context, tried: &[Hold]) -> db::Result<()> {
    if tried.is_empty() {
        return Ok(());
    }
    let mut conn = cx.db.conn().await?;
    for hold in tried {
        db::provider_untry(&mut conn, hold, cx.clock.now()).await?;
    }
    Ok(())
}

/// The call in which a provider is handed mails; None where nobody holds them.
fn open(
    cx: &Context,
    provider: &DeliveryRef,
    first: Option<&Ready>,
    batch: Option<&ClaimedBatch>,
) -> Option<Open> {
    let (what, subject, claim, method) = match batch {
        Some(batch) => ("batch", batch.id.into(), batch.claim, "send_batch"),
        None => {
            let send = &first?.send;
            ("mail", send.id.into(), send.claim?, "send")
        }
    };
    let name = format!("{}, {method}", provider.id());
    let call = PluginCall {
        subject,
        claim,
        name,
    };
    Some(Open::new(&cx.calls, what, call))
}

/// Notes the call in the transaction in which an attempt begins, and reserves its moment to leave.
/// The provider's row comes last: other workers wait for it as shortly as can be. Where this fails
/// there is no note of the call.
async fn reserve(
    cx: &Context,
    conn: &mut Conn,
    provider: &DeliveryRef,
    call: Option<Open>,
    now: DateTime<Utc>,
) -> db::Result<(Option<Open>, DateTime<Utc>)> {
    let reserved = async {
        if let Some(call) = &call {
            db::call_switch(&mut *conn, None, Some(call.call()), true, now).await?;
        }
        let first = provider.capabilities().rate.map(providers::slot_us);
        db::provider_slot(conn, provider.id(), first, reach(cx), now).await
    };
    match reserved.await {
        Ok(slot) => Ok((call, slot)),
        Err(error) => {
            call.into_iter().for_each(Open::close);
            Err(error)
        }
    }
}

/// Whether a repeat at `at` of an attempt begun at `since` is the same mail.
fn covers(provider: &DeliveryRef, since: DateTime<Utc>, at: DateTime<Utc>) -> bool {
    let elapsed: Duration = (at - since).to_std().unwrap_or_default();
    provider.capabilities().idempotency.covers(elapsed)
}

fn lease(cx: &Context) -> TimeDelta {
    TimeDelta::from_std(cx.config.lease).unwrap_or(TimeDelta::hours(1))
}

/// How far ahead a request reserves its moment to leave.
fn reach(cx: &Context) -> TimeDelta {
    lease(cx) / 4
}

async fn postpone(
    cx: &Context,
    sends: &[ClaimedSend],
    until: DateTime<Utc>,
    reason: &str,
) -> db::Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    let mut conn = cx.db.conn().await?;
    let sends: Vec<&ClaimedSend> = sends.iter().collect();
    db::sends_postpone(&mut conn, &sends, until, reason).await
}
