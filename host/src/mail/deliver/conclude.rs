//! The end of an attempt.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{Request, covers};
use crate::context::Context;
use crate::db::{self, ClaimedSend, Tx};
use crate::ids::SendId;
use crate::mail::fate::{Answer, Fate, Settled, Situation, Standing, settle, wait};
use crate::plugins::DeliveryRef;

/// Pauses between tries to record an answer.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Records an answer, again and again until it is stored or the lease is over: what the provider
/// said comes only once. A claim that was lost meanwhile fences the record off.
pub(super) async fn conclude(
    cx: &Context,
    provider: &DeliveryRef,
    request: &Request,
    answer: &Answer,
) -> db::Result<()> {
    for (place, ready) in request.mails.iter().enumerate() {
        log(&ready.send, provider, &answer.one(place), ready.number());
    }
    let until = Instant::now() + cx.config.lease;
    let mut pause = PAUSE;
    loop {
        match record(cx, provider, request, answer).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() + pause < until => {
                tracing::warn!(sends = request.mails.len(), %error,
                    "a provider's answer could not be recorded yet, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Records the end of an attempt for every mail in it, and lets their journeys go on, in one commit.
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
    if let Some(batch) = &request.batch {
        // Asked about again as it is: the same mails, order and key.
        let open = |one: &Settled<'_>| matches!(one.standing, Standing::Doubtful { .. });
        let again = settled.iter().any(open);
        let fate = answer.one(0);
        let retry_at = again.then(|| now + wait(&fate, situation(provider, request, 0, now)));
        let counted = !matches!(fate, Fate::Limited { .. } | Fate::Blocked { .. });
        let word = (!again).then(|| answer.word());
        if !db::batch_end(&mut tx, batch, word, retry_at, counted || !again, now).await? {
            return Ok((tx, ()));
        }
    }
    let batch = request.batch.as_ref().map(|batch| batch.id);
    settle(cx, &mut tx, Some(provider.id()), batch, &settled, now).await?;
    Ok((tx, ()))
}

fn standing(answer: &Answer, fate: Fate, at: Situation<'_>) -> Standing {
    match answer {
        Answer::Apart(reason) => Standing::Alone {
            until: at.now,
            reason: reason.clone(),
            doubtful: false,
        },
        // The answer for each settles the batch: nothing of it is in doubt any more.
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
        // A repeat leaves a minute from now at the latest.
        repeatable: covers(provider, began, now + TimeDelta::minutes(1)),
        now,
    }
}

/// Ends mails that are held by the caller without an attempt.
pub(super) async fn decide(cx: &Context, settled: &[Settled<'_>]) -> db::Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let now = cx.clock.now();
    let ids: Vec<SendId> = settled.iter().map(|one| one.send.id).collect();
    let work = async |mut tx: Tx| {
        db::sends_owners_lock(&mut tx, &ids).await?;
        settle(cx, &mut tx, None, None, settled, now).await?;
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await
}

fn log(send: &ClaimedSend, provider: &DeliveryRef, fate: &Fate, number: i32) {
    let (name, reason) = fate.describe();
    let Some(reason) = reason else { return };
    tracing::warn!(send.id = %send.id, provider = provider.id(), outcome = name, reason,
        attempt = number, "a mail was not accepted");
}
