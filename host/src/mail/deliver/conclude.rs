//! Step 5: records what the provider answered.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{Request, carried, covers};
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend, Conn, Tx};
use crate::ids::SendId;
use crate::mail::fate::{Answer, Fate, Settled, Situation, Standing, settle, wait};
use crate::plugins::DeliveryRef;
use crate::telemetry::metrics::{MAIL_ATTEMPTS, MAIL_LATENESS};
use crate::telemetry::traces::spans;
use crate::telemetry::{Outage, Outages};

/// Pauses between tries to record an answer.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Providers that take no mail.
static DOWN: LazyLock<Outages> = LazyLock::new(Outages::default);

/// Whether any mail would get this answer: an outage would be a line for each.
fn is_about_provider(fate: &Fate) -> bool {
    matches!(
        fate,
        Fate::Faulty { .. } | Fate::Broken { .. } | Fate::Limited { .. } | Fate::Blocked { .. }
    )
}

/// Records an answer, and retries until it is stored or the lease is over: the provider answers only
/// once. If the claim was lost meanwhile, nothing is recorded.
pub(super) async fn conclude(
    cx: &Context,
    provider: &DeliveryRef,
    request: &Request,
    answer: &Answer,
) -> db::Result<()> {
    let several = request.mails.len() > 1;
    for (place, ready) in request.mails.iter().enumerate() {
        let fate = answer.one(place);
        let outcome = fate.describe().0;
        MAIL_ATTEMPTS.add(&[provider.id(), outcome], 1);
        if ready.number() == 1 {
            let late = (request.began - ready.send.created_at).to_std();
            MAIL_LATENESS.took(&[], late.unwrap_or_default());
        }
        if several {
            let carried = carried(&ready.send, cx.clock.now());
            spans::answer(provider.id(), &carried, outcome);
        }
        log(&ready.send, provider, &fate, ready.number());
    }
    let until = Instant::now() + cx.config.lease;
    let mut pause = PAUSE;
    let outage = Outage::new();
    loop {
        match record(cx, provider, request, answer).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() + pause < until => {
                if let Some(failing) = outage.failed() {
                    tracing::warn!(sends = request.mails.len(), failures = failing.failures, %error,
                        "a provider's answer could not be recorded yet, retrying");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Records the end of an attempt for every mail in it and completes the steps that wait for them, in
/// one transaction.
async fn record(
    cx: &Context,
    provider: &DeliveryRef,
    request: &Request,
    answer: &Answer,
) -> db::Result<()> {
    let work = |tx| record_in(cx, tx, provider, request, answer);
    cx.db.transact(work).await
}

async fn record_in(
    cx: &Context,
    mut tx: Tx,
    provider: &DeliveryRef,
    request: &Request,
    answer: &Answer,
) -> db::Result<(Tx, ())> {
    let now = cx.clock.now();
    let ids: Vec<SendId> = request.mails.iter().map(|one| one.send.id).collect();
    db::sends_owners_lock(&mut tx, &ids).await?;
    let settled: Vec<Settled<'_>> = request
        .mails
        .iter()
        .enumerate()
        .map(|(place, ready)| {
            let fate = answer.one(place);
            let attempt = Some((ready.number(), fate.describe().0));
            let situation = situation(provider, request, place, now);
            Settled {
                send: &ready.send,
                claim: ready.send.claim.filter(|_| request.batch.is_none()),
                attempt,
                standing: standing(answer, fate, situation),
            }
        })
        .collect();
    if let Some(batch) = &request.batch
        && !end_batch(&mut tx, provider, (request, batch), answer, &settled, now).await?
    {
        return Ok((tx, ()));
    }
    let batch = request.batch.as_ref().map(|batch| batch.id);
    settle(cx, &mut tx, Some(provider.id()), batch, &settled, now).await?;
    Ok((tx, ()))
}

/// Ends the batch, or gives it back for a repeat if a mail in it is still in doubt. False if the
/// claim was lost.
async fn end_batch(
    conn: &mut Conn,
    provider: &DeliveryRef,
    (request, batch): (&Request, &ClaimedBatch),
    answer: &Answer,
    settled: &[Settled<'_>],
    now: DateTime<Utc>,
) -> db::Result<bool> {
    // A repeat is the same request: the same mails, order and key.
    let open = |one: &Settled<'_>| matches!(one.standing, Standing::Doubtful { .. });
    let again = settled.iter().any(open);
    let fate = answer.one(0);
    let retry_at = again.then(|| now + wait(&fate, situation(provider, request, 0, now)));
    let counted = !matches!(fate, Fate::Limited { .. } | Fate::Blocked { .. });
    let word = (!again).then(|| answer.word());
    db::batch_end(conn, batch, word, retry_at, counted || !again, now).await
}

fn standing(answer: &Answer, fate: Fate, at: Situation<'_>) -> Standing {
    match answer {
        Answer::Apart(reason) => Standing::Alone {
            until: at.now,
            reason: reason.clone(),
            doubtful: false,
        },
        // An answer for each mail settles the batch: none of them stays in doubt.
        Answer::Each(_) => Standing::after(
            fate,
            Situation {
                doubted: false,
                ..at
            },
        ),
        Answer::All(_) => Standing::after(fate, at),
    }
}

fn situation<'a>(
    provider: &DeliveryRef,
    request: &'a Request,
    place: usize,
    now: DateTime<Utc>,
) -> Situation<'a> {
    let ready = &request.mails[place];
    let began = match &request.batch {
        Some(batch) => batch.first_attempt_at,
        None => ready.send.first_attempt_at.unwrap_or(request.began),
    };
    Situation {
        send: &ready.send,
        number: ready.number(),
        tries: request.number,
        in_batch: request.batch.is_some(),
        doubted: request.doubted,
        // A repeat leaves within a minute.
        repeatable: covers(provider, began, now + TimeDelta::minutes(1)),
        now,
    }
}

fn log(send: &ClaimedSend, provider: &DeliveryRef, fate: &Fate, number: i32) {
    let (name, reason) = fate.describe();
    let provider = provider.id();
    let Some(reason) = reason else {
        // That it takes mail again is logged with its circuit breaker.
        DOWN.over(provider);
        return;
    };
    let failures = match is_about_provider(fate) {
        true => DOWN.failed(provider).map(|failing| failing.failures),
        false => Some(1),
    };
    if let Some(failures) = failures {
        tracing::warn!(email_id = %send.id, provider, outcome = name, reason, attempt = number,
            failures, "a mail was not accepted");
    }
}
