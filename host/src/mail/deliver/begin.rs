//! The beginning of an attempt: the last questions, the frozen bytes, the moment to leave.

use chrono::TimeDelta;
use serde_json::json;

use super::conclude::{Settled, settle};
use super::{Ready, Request, providers};
use crate::app::App;
use crate::db::{self, Beginning, ClaimedBatch, ClaimedSend, SendEnd, Topic};
use crate::ids::{BatchId, Claim};
use crate::mail::pace::{Pace, pace_all};
use crate::plugins::DeliveryRef;

/// Decides which of these mails go out now, and commits that an attempt at them begins. None where
/// nothing is left to send.
pub(super) async fn begin(
    app: &App,
    provider: &DeliveryRef,
    group: Vec<Ready>,
) -> db::Result<Option<Request>> {
    let now = app.clock.now();
    let people: Vec<_> = group.iter().map(|ready| ready.send.contact_id).collect();
    let mut tx = app.db.begin().await?;
    let contacts = db::contact_lock(&mut tx, &people).await?;
    let sends: Vec<&ClaimedSend> = group.iter().map(|ready| &ready.send).collect();
    let held = db::sends_hold(&mut tx, &sends).await?;
    let mut group: Vec<Ready> = group
        .into_iter()
        .filter(|ready| held.contains(&ready.send.id))
        .collect();

    // An attempt that began is finished, whatever changed since.
    let asked: Vec<&ClaimedSend> = group
        .iter()
        .map(|ready| &ready.send)
        .filter(|send| !send.in_doubt)
        .collect();
    let answers = pace_all(app, &mut tx, &asked, &contacts, now).await?;
    let mut skipped = Vec::new();
    let mut going = Vec::new();
    for (send, pace) in asked.iter().zip(answers) {
        match pace {
            Pace::Go => going.push(send.id),
            Pace::Skip(reason) => skipped.push(Settled {
                end: skip(send, reason),
                result: Ok(json!({ "skipped": { "reason": reason } })),
                step: send.state_id.zip(send.step_seq),
            }),
            Pace::Later(until) => {
                db::sends_postpone(&mut tx, &[send], until, "outside_send_window").await?;
            }
        }
    }
    let skips = skipped.len();
    settle(&mut tx, None, skipped, now).await?;
    group.retain(|ready| ready.send.in_doubt || going.contains(&ready.send.id));
    if group.is_empty() {
        app.db.commit_and_wake(tx, topics(skips)).await?;
        return Ok(None);
    }

    let lease = TimeDelta::from_std(app.config.lease).unwrap_or(TimeDelta::MAX);
    let doubted = group.iter().any(|ready| ready.send.in_doubt);
    let batch = (group.len() > 1).then(|| ClaimedBatch {
        id: BatchId::new(now),
        provider: provider.id().to_owned(),
        size: group.len() as i32,
        attempts: 1,
        first_attempt_at: now,
        claim: Claim::new(now),
    });
    if let Some(batch) = &batch {
        db::batch_insert(&mut tx, batch, now + lease).await?;
    }
    let mails: Vec<Beginning<'_>> = group
        .iter()
        .map(|ready| Beginning {
            send: &ready.send,
            prepared: &ready.prepared,
            number: ready.number(),
        })
        .collect();
    let id = batch.as_ref().map(|batch| batch.id);
    db::attempts_begin(&mut tx, provider.id(), id, &mails, now).await?;
    // The provider's row comes last: other workers wait for it as shortly as can be.
    let first = provider.capabilities().rate.map(providers::slot_us);
    let slot = db::provider_slot(&mut tx, provider.id(), first, now).await?;
    if slot - now > lease / 4 {
        tx.rollback().await?;
        let sends: Vec<ClaimedSend> = group.into_iter().map(|ready| ready.send).collect();
        super::postpone(app, &sends, slot, "the provider's rate is used up").await?;
        return Ok(None);
    }
    app.db.commit_and_wake(tx, topics(skips)).await?;
    let number = batch.as_ref().map_or(group[0].number(), |_| 1);
    Ok(Some(Request {
        mails: group,
        batch,
        number,
        doubted,
        slot,
    }))
}

fn topics(skips: usize) -> &'static [Topic] {
    if skips > 0 { &[Topic::Runs] } else { &[] }
}

fn skip(send: &ClaimedSend, reason: &str) -> SendEnd {
    SendEnd {
        id: send.id,
        claim: send.claim,
        attempt: None,
        status: "skipped",
        reason: Some(reason.to_owned()),
        message_id: None,
        retry_at: None,
        in_doubt: false,
        counted: true,
        leaves_batch: false,
        alone: false,
    }
}
