//! Delivery of mails: one attempt from the claim to the recorded answer.
//!
//! 1. [`claim()`] leases due mails and batches to this worker, and ends those that are too late.
//! 2. `route` chooses the provider of each mail without an attempt, among those of its purpose, makes its
//!    bytes and groups mails into requests. `doubt` decides whether a mail or batch in doubt is repeated.
//! 3. `begin` makes the last checks (opt-out, cap, minimum interval, send window) and commits the
//!    bytes, the key and the fact that an attempt begins; `repeat` does so for a batch in doubt.
//! 4. `ask` calls the provider's plugin and renews the lease until it answers.
//! 5. `conclude` records the answer. What it means for each mail is decided in `mail/fate`, which also
//!    draws the states of a mail.
//!
//! Step 3 is committed before the provider is asked. So a mail whose attempt was cut off is known to
//! be in doubt, and is repeated with the same bytes and key if the provider treats that as the same
//! mail; otherwise its category decides. Mails of one request share a key of their own and are repeated
//! together, in the same order.
//!
//! A claim is a lease: if a worker dies, its mails are due again when the lease ends. The lease is
//! renewed while the provider is asked, so an attempt may take longer than a lease.

mod ask;
mod begin;
mod claim;
mod conclude;
mod doubt;
mod give_up;
mod providers;
mod repeat;
mod route;
mod state;

pub use claim::{Claims, Lane, claim, first_choices, give_back, next_due, requests_due};
pub use state::{ProviderState, Route, Taking, provider_states, routes};

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Prepared;
use tracing::{Instrument as _, Span};

use self::ask::ask;
use self::begin::begin;
use self::repeat::begin_again;
use crate::calls::Open;
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend, Conn, Hold};
use crate::pauses::Scope;
use crate::plugins::DeliveryRef;
use crate::telemetry::traces::spans;

/// A mail and the bytes for its provider.
#[derive(Clone, Debug)]
struct Ready {
    send: ClaimedSend,
    prepared: Prepared,
    /// It has another sender than when it was kept.
    restamped: bool,
}

impl Ready {
    /// The number of the mail's next attempt.
    fn number(&self) -> i32 {
        self.send.attempts + 1
    }
}

/// Mails that travel in one request, all from one sender.
struct Request {
    mails: Vec<Ready>,
    /// None for a single mail.
    batch: Option<ClaimedBatch>,
    /// The number of the attempt: at the batch, or at the single mail.
    number: i32,
    /// An attempt before this one was cut off.
    doubted: bool,
    began: DateTime<Utc>,
    /// When the provider's rate allows it to leave.
    slot: DateTime<Utc>,
    /// The plugin call as it is recorded.
    call: Option<Open>,
}

/// One request to a provider that is about to be made.
pub struct Delivery(Work);

enum Work {
    Attempt {
        provider: DeliveryRef,
        group: Vec<Ready>,
        /// The holds that it probes: all other mails wait for how it ends.
        probes: Vec<Hold>,
    },
    Repeat {
        provider: DeliveryRef,
        batch: ClaimedBatch,
        members: Vec<ClaimedSend>,
    },
}

impl Work {
    fn of(provider: DeliveryRef, group: Vec<Ready>, probes: Vec<Hold>) -> Option<Self> {
        (!group.is_empty()).then_some(Self::Attempt {
            provider,
            group,
            probes,
        })
    }
}

/// A mail as the trace of its request knows it.
fn carried(send: &ClaimedSend, now: DateTime<Utc>) -> spans::Carried<'_> {
    spans::Carried {
        email_id: send.id.to_string(),
        run_id: send.state_id.map(|run| run.to_string()),
        stored: send.traceparent.as_deref(),
        waited: now - send.created_at,
    }
}

impl Delivery {
    fn span(&self, now: DateTime<Utc>) -> Span {
        let (provider, sends): (_, Vec<&ClaimedSend>) = match &self.0 {
            Work::Attempt {
                provider, group, ..
            } => (provider, group.iter().map(|ready| &ready.send).collect()),
            Work::Repeat {
                provider, members, ..
            } => (provider, members.iter().collect()),
        };
        let mails: Vec<_> = sends.into_iter().map(|send| carried(send, now)).collect();
        spans::attempt(provider.id(), &mails)
    }

    /// The most often that workers died in a call for one of its mails.
    fn deaths(&self) -> i16 {
        let deaths = |send: &ClaimedSend| send.deaths.count;
        match &self.0 {
            Work::Attempt { group, .. } => group.iter().map(|one| deaths(&one.send)).max(),
            Work::Repeat { batch, .. } => Some(batch.deaths.count),
        }
        .unwrap_or(0)
    }
}

/// Makes one request and records its answer: steps 3 to 5.
///
/// # Errors
/// The database's, if an answer could not be recorded while the lease lasted. The mails are due again
/// when it ends, and the frozen key tells the provider which of them it has.
pub async fn perform(cx: &Context, delivery: Delivery) -> db::Result<()> {
    let span = delivery.span(cx.clock.now());
    perform_in_turn(cx, delivery).instrument(span).await
}

async fn perform_in_turn(cx: &Context, delivery: Delivery) -> db::Result<()> {
    let _turn = cx.alone.turn(delivery.deaths()).await;
    match delivery.0 {
        Work::Attempt {
            provider,
            group,
            probes,
        } => attempt(cx, &provider, group, &probes).await,
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
    probes: &[Hold],
) -> db::Result<()> {
    let telling = match begin(cx, provider, group).await? {
        Some(request) => ask(cx, provider, request).await?,
        None => false,
    };
    match telling {
        true => Ok(()),
        false => stop_probes(cx, probes).await,
    }
}

async fn repeat(
    cx: &Context,
    provider: &DeliveryRef,
    batch: ClaimedBatch,
    members: Vec<ClaimedSend>,
) -> db::Result<()> {
    match begin_again(cx, provider, batch, members).await? {
        Some(request) => ask(cx, provider, request).await.map(drop),
        None => Ok(()),
    }
}

/// The mail that was to probe a provider did not go out, or said nothing about it: another one may probe it.
async fn stop_probes(cx: &Context, probes: &[Hold]) -> db::Result<()> {
    if probes.is_empty() {
        return Ok(());
    }
    let mut conn = cx.db.conn().await?;
    for hold in probes {
        db::provider_untry(&mut conn, hold, cx.clock.now()).await?;
    }
    Ok(())
}

/// Whether the provider treats a repeat at `at` of an attempt begun at `since` as the same mail.
fn covers(provider: &DeliveryRef, since: DateTime<Utc>, at: DateTime<Utc>) -> bool {
    let elapsed: Duration = (at - since).to_std().unwrap_or_default();
    provider.capabilities().idempotency.covers(elapsed)
}

fn lease(cx: &Context) -> TimeDelta {
    TimeDelta::from_std(cx.config.lease).unwrap_or(TimeDelta::hours(1))
}

/// How far ahead a request reserves the moment at which it leaves.
fn reach(cx: &Context) -> TimeDelta {
    lease(cx) / 4
}

/// Puts mails aside because of a pause: they are due again when it has ended.
async fn put_aside(conn: &mut Conn, stopped: &[(Scope, ClaimedSend)]) -> db::Result<()> {
    let mut by_pause: BTreeMap<String, Vec<&ClaimedSend>> = BTreeMap::new();
    for (pause, send) in stopped {
        by_pause.entry(pause.to_string()).or_default().push(send);
    }
    for (pause, sends) in &by_pause {
        db::sends_put_aside(conn, sends, pause).await?;
    }
    Ok(())
}

/// Gives mails back: they are due again at `until`.
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
