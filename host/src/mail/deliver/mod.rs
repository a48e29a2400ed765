//! Attempts at delivery, and what the ledger keeps of them.
//!
//! The provider's bytes and the fact that an attempt begins are committed before the provider is
//! asked. So a mail whose attempt was cut off is known to be in doubt, and is repeated with the
//! same bytes and key where the provider makes that harmless; where it does not, the mail's
//! category decides. Mails that travel together share a key of their own, and are repeated
//! together, in the same order.

mod begin;
mod conclude;
mod doubt;
mod providers;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt as _};
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Prepared, Rate, SendOutcome, Sent,
};

use self::providers::Providers;
use crate::app::App;
use crate::db::{self, ClaimedBatch, ClaimedSend};
use crate::ids::SendId;
use crate::plugins::DeliveryRef;

pub use doubt::repeat_batch;

/// How long a mail waits where no provider can take it.
const BLOCKED: TimeDelta = TimeDelta::minutes(5);
/// Requests under way at once, of one call.
const CONCURRENT: usize = 8;

/// A mail and the bytes a provider gets.
#[derive(Clone, Debug)]
struct Ready {
    send: ClaimedSend,
    prepared: Prepared,
}

impl Ready {
    /// Which attempt at this mail the next one is.
    fn number(&self) -> i32 {
        self.send.attempts + 1
    }
}

/// Mails that travel in one request, and the request's place in the ledger.
struct Request {
    mails: Vec<Ready>,
    /// None for a single mail.
    batch: Option<ClaimedBatch>,
    /// Which attempt this is: at the batch, or at the single mail.
    number: i32,
    /// An attempt before this one was cut off.
    doubted: bool,
    /// When the provider's rate allows it to leave.
    slot: DateTime<Utc>,
}

/// Makes one attempt at each claimed mail. What cannot be attempted now is given back.
pub async fn deliver(app: &App, claimed: Vec<ClaimedSend>) -> db::Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let providers = Providers::look(app).await?;
    let (doubtful, fresh): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|send| send.in_doubt);
    let mut requests = Vec::new();
    for send in doubtful {
        if let Some((provider, ready)) = doubt::decide(app, &providers, send).await? {
            requests.push((provider, vec![ready]));
        }
    }
    match providers.first() {
        Ok(provider) => {
            let ready = prepare(app, &provider, fresh).await?;
            let most = provider.capabilities().batch_max as usize;
            let groups = together(ready, most);
            requests.extend(groups.into_iter().map(|group| (provider.clone(), group)));
        }
        Err((until, reason)) => postpone(app, &fresh, until, &reason).await?,
    }
    stream::iter(requests)
        .for_each_concurrent(CONCURRENT, |(provider, group)| async move {
            let ids: Vec<SendId> = group.iter().map(|ready| ready.send.id).collect();
            if let Err(error) = attempt(app, &provider, group).await {
                // Their lease brings them back; what the provider has is known by the frozen key.
                tracing::error!(sends = ids.len(), first.id = %ids[0], %error,
                    "mails could not be recorded, they are tried again after their lease");
            }
        })
        .await;
    Ok(())
}

async fn attempt(app: &App, provider: &DeliveryRef, group: Vec<Ready>) -> db::Result<()> {
    match begin::begin(app, provider, group).await? {
        Some(request) => ask(app, provider, request).await,
        None => Ok(()),
    }
}

/// Asks the provider and records its answer.
async fn ask(app: &App, provider: &DeliveryRef, request: Request) -> db::Result<()> {
    app.clock.sleep_until(request.slot).await;
    // Past the lease another worker may take over; half of it leaves time to record the answer.
    let bound = app.config.lease / 2;
    let answer = tokio::time::timeout(bound, send(provider, &request)).await;
    let (outcome, rate) = answer.unwrap_or_else(|_| {
        let reason = format!("no answer within {bound:?}");
        (BatchOutcome::All(SendOutcome::Unknown { reason }), None)
    });
    if let Some(rate) = rate {
        providers::note_rate(app, provider.id(), rate).await;
    }
    providers::note_health(app, provider.id(), &outcome).await;
    conclude::conclude(app, provider, request, outcome).await
}

async fn send(provider: &DeliveryRef, request: &Request) -> (BatchOutcome, Option<Rate>) {
    let unknown = |reason| BatchOutcome::All(SendOutcome::Unknown { reason });
    if let Some(batch) = &request.batch {
        let mails = request.mails.iter().map(|ready| ready.prepared.clone());
        let attempt = BatchAttempt {
            idempotency_key: batch.id.to_string(),
            mails: mails.collect(),
            number: request.number as u32,
            deadline_ms: None,
        };
        return match provider.send_batch(attempt).await {
            Ok(BatchSent { outcome, rate }) => (checked(outcome, request.mails.len()), rate),
            Err(error) => (unknown(error.to_string()), None),
        };
    }
    let Ready { send, prepared } = &request.mails[0];
    let attempt = Attempt {
        idempotency_key: send.idempotency_key.clone(),
        prepared: prepared.clone(),
        created_at: send.created_at,
        number: request.number as u32,
        deadline_ms: None,
    };
    match provider.send(attempt).await {
        Ok(Sent { outcome, rate }) => (BatchOutcome::All(outcome), rate),
        Err(error) => (unknown(error.to_string()), None),
    }
}

/// An answer for another number of mails says nothing about any of them.
fn checked(outcome: BatchOutcome, size: usize) -> BatchOutcome {
    match outcome {
        BatchOutcome::Each(each) if each.len() != size => {
            let reason = format!("the answer speaks of {} mails, not of {size}", each.len());
            BatchOutcome::All(SendOutcome::Unknown { reason })
        }
        outcome => outcome,
    }
}

/// Makes the provider's bytes, or takes those frozen before. Mails the provider can never take end
/// here.
async fn prepare(
    app: &App,
    provider: &DeliveryRef,
    sends: Vec<ClaimedSend>,
) -> db::Result<Vec<Ready>> {
    let mut ready = Vec::with_capacity(sends.len());
    for send in sends {
        let frozen = send.provider.as_deref() == Some(provider.id());
        let prepared = match send.prepared.clone().filter(|_| frozen) {
            Some(prepared) => Ok(Ok(prepared)),
            None => provider.prepare(&send.mail).await,
        };
        match prepared {
            Ok(Ok(prepared)) => ready.push(Ready { send, prepared }),
            Ok(Err(reason)) => conclude::fail(app, &send, &reason).await?,
            Err(error) => {
                tracing::error!(send.id = %send.id, %error, "the provider's plugin gave no answer");
                let until = app.clock.now() + BLOCKED;
                let reason = "the provider's plugin gave no answer";
                postpone(app, &[send], until, reason).await?;
            }
        }
    }
    Ok(ready)
}

/// Puts mails into requests of at most `most`, never two to one person into the same, so that what
/// one decides about a person is known when the other is decided.
fn together(ready: Vec<Ready>, most: usize) -> Vec<Vec<Ready>> {
    let (alone, social): (Vec<_>, Vec<_>) = ready
        .into_iter()
        .partition(|mail| mail.send.alone || most < 2);
    let mut groups: Vec<Vec<Ready>> = Vec::new();
    for mail in social {
        let person = mail.send.contact_id;
        let fits = |group: &&mut Vec<Ready>| {
            group.len() < most && group.iter().all(|one| one.send.contact_id != person)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(mail),
            None => groups.push(vec![mail]),
        }
    }
    groups.extend(alone.into_iter().map(|mail| vec![mail]));
    groups
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
