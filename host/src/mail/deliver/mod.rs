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

mod begin;
mod conclude;
mod doubt;
mod providers;
mod state;

pub use state::{ProviderState, Taking, provider_states};

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{Attempt, BatchAttempt, BatchOutcome, Prepared, Rate};

use self::providers::{Asked, Providers, Shut, Way, sender_of};
use super::compose::sender;
use super::fate::{Answer, Fate, Settled, Standing, last_moment};
use uuid::Uuid;

use crate::app::App;
use crate::calls::{self, Open};
use crate::db::{self, ClaimedBatch, ClaimedSend, Conn, Hold, PluginCall};
use crate::ids::{BatchId, Claim, SendId};
use crate::plugins::DeliveryRef;

/// How long mails nobody takes are kept before they are looked at though nobody called them.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// How long a mail waits whose provider's plugin does not work.
const PLUGIN: TimeDelta = TimeDelta::seconds(30);
/// How much longer than it was told a plugin is waited for.
const GRACE: Duration = Duration::from_secs(2);
/// The longest an attempt may take, whatever a plugin asks for.
const PATIENCE_MAX: Duration = Duration::from_secs(30 * 60);

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
pub async fn claim(app: &App, places: usize, lane: Lane) -> db::Result<(Vec<Delivery>, usize)> {
    // What another process of this machine left behind when it was killed counts for nothing.
    calls::take_back(app).await?;
    let now = app.clock.now();
    let mut providers = Providers::look(app).await?;
    let most = app
        .plugins
        .deliveries()
        .first()
        .map_or(1, |one| one.capabilities().batch_max as usize);
    let limit = places.max(if most > 1 { most } else { 1 });
    let (batch, sends) = {
        let mut conn = app.db.conn().await?;
        for sender in providers.awaited() {
            db::sends_summon(&mut conn, sender.as_deref(), now).await?;
        }
        let until = now + lease(app);
        let batch = match lane {
            Lane::All => db::batch_claim(&mut conn, now, until).await?,
            Lane::Urgent => None,
        };
        let urgent = lane == Lane::Urgent;
        let mut sends = db::send_claim(&mut conn, now, until, limit as i64, urgent).await?;
        if sends.len() < limit
            && db::sends_after_clock_change(&mut conn, now + lease(app) * 2, now).await? > 0
        {
            let rest = (limit - sends.len()) as i64;
            sends.extend(db::send_claim(&mut conn, now, until, rest, urgent).await?);
        }
        (batch, sends)
    };
    let looked_at = sends.len() + usize::from(batch.is_some());
    let mut works = Vec::new();
    if let Some(batch) = batch {
        works.extend(doubt::decide_batch(app, &mut providers, batch).await?);
    }
    let (late, sends): (Vec<_>, Vec<_>) =
        sends.into_iter().partition(|send| last_moment(send) <= now);
    begin::expire(app, &late).await?;
    for send in &sends {
        calls::report("mail", send.id, &send.deaths);
    }
    let (fatal, sends): (Vec<_>, Vec<_>) = sends
        .into_iter()
        .partition(|send| send.deaths.count >= calls::DEATHS_MAX);
    begin::give_up(app, &fatal).await?;
    let (doubtful, fresh): (Vec<_>, Vec<_>) = sends.into_iter().partition(|send| send.in_doubt);
    for send in doubtful {
        works.extend(doubt::decide(app, &mut providers, send).await?);
    }
    route(app, &mut providers, fresh, &mut works).await?;
    Ok((works.into_iter().map(Delivery).collect(), looked_at))
}

/// When there is something to claim again.
pub async fn next_due(app: &App, lane: Lane) -> db::Result<Option<DateTime<Utc>>> {
    let mut conn = app.db.conn().await?;
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
async fn forget(app: &App, subjects: impl IntoIterator<Item = Uuid>) -> db::Result<()> {
    let subjects: Vec<Uuid> = subjects.into_iter().collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let mut conn = app.db.conn().await?;
    db::calls_forget(&mut conn, &subjects).await
}

/// Makes due again what requests hold that were never begun.
pub async fn give_back(app: &App, claims: Vec<Claims>) -> db::Result<()> {
    let now = app.clock.now();
    let mut conn = app.db.conn().await?;
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
pub async fn perform(app: &App, delivery: Delivery) -> db::Result<()> {
    let _turn = app.alone.turn(delivery.deaths()).await;
    match delivery.0 {
        Work::Attempt {
            provider,
            group,
            tried,
        } => attempt(app, &provider, group, &tried).await,
        Work::Repeat {
            provider,
            batch,
            members,
        } => repeat(app, &provider, batch, members).await,
    }
}

/// Puts mails nobody has tried into requests.
async fn route(
    app: &App,
    providers: &mut Providers,
    sends: Vec<ClaimedSend>,
    works: &mut Vec<Work>,
) -> db::Result<()> {
    let mut going: Vec<(DeliveryRef, Vec<(ClaimedSend, bool)>)> = Vec::new();
    let mut kept: Vec<(String, Shut, Vec<ClaimedSend>)> = Vec::new();
    for mut send in sends {
        let mut address = sender_of(&send.mail.from);
        let mut restamped = false;
        let own = sender(app, send.transactional);
        // The installation's sender was refused, and it has another one since.
        if send.sender_given == Some(false)
            && address != sender_of(&own)
            && providers.refuses(&address)
        {
            send.mail.from.clone_from(&own);
            send.prepared = None;
            address = sender_of(&own);
            restamped = true;
        }
        match providers.choose(app, &address).await? {
            Way::Open(provider, tried) if tried.is_empty() => {
                let id = provider.id().to_owned();
                match going.iter_mut().find(|(one, _)| one.id() == id) {
                    Some((_, mails)) => mails.push((send, restamped)),
                    None => going.push((provider, vec![(send, restamped)])),
                }
            }
            Way::Open(provider, tried) => {
                let group = prepare(app, &provider, vec![(send, restamped)]).await?;
                if group.is_empty() {
                    untry(app, &tried).await?;
                }
                works.extend(Work::of(provider, group, tried));
            }
            Way::Shut(shut) => match kept.iter_mut().find(|(one, ..)| *one == address) {
                Some((_, _, mails)) => mails.push(send),
                None => kept.push((address, shut, vec![send])),
            },
        }
    }
    for (provider, mails) in going {
        let ready = prepare(app, &provider, mails).await?;
        let most = provider.capabilities().batch_max as usize;
        for group in together(ready, most) {
            works.extend(Work::of(provider.clone(), group, Vec::new()));
        }
    }
    for (address, shut, mails) in kept {
        if shut.limit {
            postpone(app, &mails, shut.until, &shut.reason).await?;
        } else {
            let mut conn = app.db.conn().await?;
            let sends: Vec<&ClaimedSend> = mails.iter().collect();
            let until = app.clock.now() + KEPT;
            db::sends_keep(&mut conn, &sends, &address, until, &shut.reason).await?;
        }
    }
    Ok(())
}

async fn attempt(
    app: &App,
    provider: &DeliveryRef,
    group: Vec<Ready>,
    tried: &[Hold],
) -> db::Result<()> {
    match begin::begin(app, provider, group).await? {
        Some(request) => ask(app, provider, request).await,
        None => untry(app, tried).await,
    }
}

async fn repeat(
    app: &App,
    provider: &DeliveryRef,
    batch: ClaimedBatch,
    members: Vec<ClaimedSend>,
) -> db::Result<()> {
    match doubt::begin_again(app, provider, batch, members).await? {
        Some(request) => ask(app, provider, request).await,
        None => Ok(()),
    }
}

/// The mail that was to try a provider did not go out after all: another one may.
async fn untry(app: &App, tried: &[Hold]) -> db::Result<()> {
    if tried.is_empty() {
        return Ok(());
    }
    let mut conn = app.db.conn().await?;
    for hold in tried {
        db::provider_untry(&mut conn, hold, app.clock.now()).await?;
    }
    Ok(())
}

/// Asks the provider and records its answer, and holds on to the mails meanwhile.
async fn ask(app: &App, provider: &DeliveryRef, mut request: Request) -> db::Result<()> {
    let call = request.call.take();
    let request = request;
    let done = async {
        app.clock.sleep_until(request.slot).await;
        let sent = send(app, provider, &request);
        let (answer, rate) = match call {
            Some(call) => call.run(app, sent).await,
            None => sent.await,
        };
        if let Some(rate) = rate {
            providers::note_rate(app, provider.id(), rate).await;
        }
        let first = &request.mails[0].send;
        let asked = Asked {
            provider,
            sender: &sender_of(&first.mail.from),
            given: first.sender_given == Some(true),
            began: request.began,
        };
        providers::note(app, asked, &answer).await;
        conclude::conclude(app, provider, &request, &answer).await
    };
    tokio::select! {
        done = done => done,
        () = renew(app, &request) => Ok(()),
    }
}

/// Prolongs the lease for as long as it is awaited.
async fn renew(app: &App, request: &Request) {
    let every = (app.config.lease / 3).max(Duration::from_millis(100));
    let sends: Vec<_> = request
        .mails
        .iter()
        .map(|ready| (ready.send.id, ready.send.claim))
        .collect();
    loop {
        tokio::time::sleep(every).await;
        let until = app.clock.now() + lease(app);
        let renewed = async {
            let mut conn = app.db.conn().await?;
            match &request.batch {
                Some(batch) => db::batch_renew(&mut conn, batch, until).await,
                None => db::sends_renew(&mut conn, &sends, until).await,
            }
        };
        if let Err(error) = renewed.await {
            tracing::warn!(sends = sends.len(), %error, "a lease of mails could not be prolonged");
        }
    }
}

async fn send(app: &App, provider: &DeliveryRef, request: &Request) -> (Answer, Option<Rate>) {
    let patience = patience(app, provider);
    let deadline_ms = u64::try_from(patience.as_millis()).ok();
    let asked = async {
        if let Some(batch) = &request.batch {
            let mails = request.mails.iter().map(|ready| ready.prepared.clone());
            let attempt = BatchAttempt {
                idempotency_key: batch.id.to_string(),
                mails: mails.collect(),
                number: request.number as u32,
                deadline_ms,
            };
            let sent = provider.send_batch(attempt).await?;
            return Ok((sent.outcome, sent.rate));
        }
        let Ready { send, prepared, .. } = &request.mails[0];
        let attempt = Attempt {
            idempotency_key: send.idempotency_key.clone(),
            prepared: prepared.clone(),
            created_at: send.created_at,
            number: request.number as u32,
            deadline_ms,
        };
        let sent = provider.send(attempt).await?;
        Ok((BatchOutcome::All(sent.outcome), sent.rate))
    };
    match tokio::time::timeout(patience + GRACE.min(patience), asked).await {
        Ok(Ok((outcome, rate))) => (Answer::of(outcome, request.mails.len()), rate),
        Ok(Err(error)) => (Answer::of_error(&error), None),
        Err(_) => {
            let reason = format!("no answer within {patience:?}");
            (Answer::All(Fate::Doubtful { reason }), None)
        }
    }
}

/// How long an attempt may take. A lease says nothing about it, for it is prolonged.
fn patience(app: &App, provider: &DeliveryRef) -> Duration {
    let asked = provider.capabilities().attempt_ms.unwrap_or(0);
    app.config
        .attempt
        .max(Duration::from_millis(asked))
        .min(PATIENCE_MAX)
}

/// The call in which a provider is handed mails; None where nobody holds them.
fn open(
    app: &App,
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
    Some(Open::new(app, what, call))
}

/// Notes the call in the transaction in which an attempt begins, and reserves its moment to leave.
/// The provider's row comes last: other workers wait for it as shortly as can be. Where this fails
/// there is no note of the call.
async fn reserve(
    app: &App,
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
        db::provider_slot(conn, provider.id(), first, reach(app), now).await
    };
    match reserved.await {
        Ok(slot) => Ok((call, slot)),
        Err(error) => {
            call.into_iter().for_each(Open::close);
            Err(error)
        }
    }
}

/// Makes the provider's bytes, or takes those frozen before. Mails the provider can never take end
/// here.
async fn prepare(
    app: &App,
    provider: &DeliveryRef,
    sends: Vec<(ClaimedSend, bool)>,
) -> db::Result<Vec<Ready>> {
    let mut ready = Vec::with_capacity(sends.len());
    let mut before: Option<Open> = None;
    for (send, restamped) in sends {
        let frozen = send.provider.as_deref() == Some(provider.id());
        let prepared = match send.prepared.clone().filter(|_| frozen) {
            Some(prepared) => Ok(Ok(prepared)),
            None => {
                let _turn = app.alone.turn(send.deaths.count).await;
                let asked = provider.prepare(&send.mail);
                let Some(claim) = send.claim else { continue };
                let call = PluginCall {
                    subject: send.id.into(),
                    claim,
                    name: format!("{}, prepare", provider.id()),
                };
                // One statement for the end of a call and the beginning of the next.
                let call = Open::new(app, "mail", call);
                let ended = before.take();
                calls::switch(app, ended.as_ref().map(Open::call), Some(call.call())).await?;
                ended.into_iter().for_each(Open::close);
                let prepared = call.answer(asked).await;
                before = Some(call);
                prepared
            }
        };
        match prepared {
            Ok(Ok(prepared)) => ready.push(Ready {
                send,
                prepared,
                restamped,
            }),
            Ok(Err(reason)) => {
                let failed = [Settled::decided(&send, Standing::failed(reason))];
                conclude::decide(app, &failed).await?;
            }
            Err(error) => {
                tracing::error!(send.id = %send.id, %error, "the provider's plugin gave no answer");
                let until = app.clock.now() + PLUGIN;
                let reason = "the provider's plugin gave no answer";
                postpone(app, &[send], until, reason).await?;
            }
        }
    }
    if let Some(last) = before {
        calls::switch(app, Some(last.call()), None).await?;
        last.close();
    }
    Ok(ready)
}

/// Puts mails of one sender into requests of at most `most`, never two to one person into the same,
/// so that what one decides about a person is known when the other is decided.
fn together(ready: Vec<Ready>, most: usize) -> Vec<Vec<Ready>> {
    let (alone, social): (Vec<_>, Vec<_>) = ready
        .into_iter()
        .partition(|mail| mail.send.alone || most < 2 || mail.send.sender_given == Some(true));
    let mut groups: Vec<Vec<Ready>> = Vec::new();
    for mail in social {
        let person = mail.send.contact_id;
        let from = sender_of(&mail.send.mail.from);
        let fits = |group: &&mut Vec<Ready>| {
            group.len() < most
                && sender_of(&group[0].send.mail.from) == from
                && group.iter().all(|one| one.send.contact_id != person)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(mail),
            None => groups.push(vec![mail]),
        }
    }
    groups.extend(alone.into_iter().map(|mail| vec![mail]));
    groups
}

/// Whether a repeat at `at` of an attempt begun at `since` is the same mail.
fn covers(provider: &DeliveryRef, since: DateTime<Utc>, at: DateTime<Utc>) -> bool {
    let elapsed: Duration = (at - since).to_std().unwrap_or_default();
    provider.capabilities().idempotency.covers(elapsed)
}

fn lease(app: &App) -> TimeDelta {
    TimeDelta::from_std(app.config.lease).unwrap_or(TimeDelta::hours(1))
}

/// How far ahead a request reserves its moment to leave.
fn reach(app: &App) -> TimeDelta {
    lease(app) / 4
}

async fn postpone(
    app: &App,
    sends: &[ClaimedSend],
    until: DateTime<Utc>,
    reason: &str,
) -> db::Result<()> {
    if sends.is_empty() {
        return Ok(());
    }
    let mut conn = app.db.conn().await?;
    let sends: Vec<&ClaimedSend> = sends.iter().collect();
    db::sends_postpone(&mut conn, &sends, until, reason).await
}
