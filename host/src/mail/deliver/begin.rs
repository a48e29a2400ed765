//! The beginning of an attempt: the last questions, the frozen bytes, the moment to leave.

use chrono::{DateTime, Utc};

use super::{Ready, Request, lease, postpone, reach, reserve};
use crate::calls::{self, Open};
use crate::context::Context;
use crate::db::{self, Beginning, ClaimedBatch, ClaimedSend, Deaths, Tx};
use crate::ids::{BatchId, Claim, SendId};
use crate::mail::fate::{EXPIRED, Settled, Standing, last_moment, settle};
use crate::mail::frequency::{Pace, pace_all};
use crate::plugins::DeliveryRef;

/// What became of mails that were about to go out.
enum Begun {
    /// None of them is to go out now.
    Nothing,
    /// The provider's rate is used up until then; nothing was committed.
    TooLate(Vec<SendId>, DateTime<Utc>),
    /// An attempt at these begins.
    Attempt {
        going: Vec<SendId>,
        batch: Option<ClaimedBatch>,
        doubted: bool,
        slot: DateTime<Utc>,
        call: Option<Open>,
    },
}

/// Decides which of these mails go out now, and commits that an attempt at them begins. None where
/// nothing is left to send.
pub(super) async fn begin(
    cx: &Context,
    provider: &DeliveryRef,
    group: Vec<Ready>,
) -> db::Result<Option<Request>> {
    let now = cx.clock.now();
    let work = |tx| begin_in(cx, tx, provider, &group, now);
    let begun = cx.db.transact(work).await?;
    let of = |ids: Vec<SendId>, group: Vec<Ready>| -> Vec<Ready> {
        let among = group.into_iter();
        among.filter(|one| ids.contains(&one.send.id)).collect()
    };
    match begun {
        Begun::Nothing => Ok(None),
        Begun::TooLate(ids, slot) => {
            let late = |ready: &Ready| slot >= last_moment(&ready.send);
            let (late, others): (Vec<Ready>, Vec<Ready>) =
                of(ids, group).into_iter().partition(late);
            let late: Vec<ClaimedSend> = late.into_iter().map(|ready| ready.send).collect();
            expire(cx, &late).await?;
            let others: Vec<ClaimedSend> = others.into_iter().map(|ready| ready.send).collect();
            postpone(cx, &others, slot, "the provider's rate is used up").await?;
            Ok(None)
        }
        Begun::Attempt {
            going,
            batch,
            doubted,
            slot,
            call,
        } => {
            let mails = of(going, group);
            let number = batch.as_ref().map_or(mails[0].number(), |_| 1);
            Ok(Some(Request {
                mails,
                batch,
                number,
                doubted,
                began: now,
                slot,
                call,
            }))
        }
    }
}

async fn begin_in(
    cx: &Context,
    mut tx: Tx,
    provider: &DeliveryRef,
    group: &[Ready],
    now: DateTime<Utc>,
) -> db::Result<(Option<Tx>, Begun)> {
    let ids: Vec<SendId> = group.iter().map(|ready| ready.send.id).collect();
    let contacts = db::sends_owners_lock(&mut tx, &ids).await?;
    let sends: Vec<&ClaimedSend> = group.iter().map(|ready| &ready.send).collect();
    let held = db::sends_hold(&mut tx, &sends).await?;
    let group: Vec<&Ready> = group
        .iter()
        .filter(|ready| held.contains(&ready.send.id))
        .collect();

    // An attempt that began is finished, whatever changed since.
    let asked: Vec<&ClaimedSend> = group
        .iter()
        .map(|ready| &ready.send)
        .filter(|send| !send.in_doubt)
        .collect();
    let answers = pace_all(cx, &mut tx, &asked, &contacts, now).await?;
    let mut skipped = Vec::new();
    let mut going = Vec::new();
    for (send, pace) in asked.iter().zip(answers) {
        match pace {
            Pace::Go => going.push(send.id),
            Pace::Skip(reason) => {
                skipped.push(Settled::decided(send, Standing::skipped(reason)));
            }
            Pace::Later(until) => {
                db::sends_postpone(&mut tx, &[send], until, "outside_send_window").await?;
            }
        }
    }
    settle(cx, &mut tx, None, None, &skipped, now).await?;
    let group: Vec<&Ready> = group
        .into_iter()
        .filter(|ready| ready.send.in_doubt || going.contains(&ready.send.id))
        .collect();
    if group.is_empty() {
        return Ok((Some(tx), Begun::Nothing));
    }

    let lease = lease(cx);
    let doubted = group.iter().any(|ready| ready.send.in_doubt);
    let batch = (group.len() > 1).then(|| ClaimedBatch {
        id: BatchId::new(now),
        provider: provider.id().to_owned(),
        size: group.len() as i32,
        attempts: 1,
        first_attempt_at: now,
        claim: Claim::new(now),
        deaths: Deaths::default(),
    });
    // Wherever the moment to leave lies, the lease begins there at the earliest.
    let lease_until = now + reach(cx) + lease;
    if let Some(batch) = &batch {
        db::batch_insert(&mut tx, batch, lease_until).await?;
    }
    let mails: Vec<Beginning<'_>> = group
        .iter()
        .map(|ready| Beginning {
            send: &ready.send,
            prepared: &ready.prepared,
            number: ready.number(),
            from: ready.restamped.then_some(ready.send.mail.from.as_str()),
        })
        .collect();
    let id = batch.as_ref().map(|batch| batch.id);
    db::attempts_begin(&mut tx, provider.id(), id, &mails, lease_until, now).await?;
    let call = super::open(cx, provider, group.first().copied(), batch.as_ref());
    let (call, slot) = reserve(cx, &mut tx, provider, call, now).await?;
    let going: Vec<SendId> = group.iter().map(|ready| ready.send.id).collect();
    let late = |ready: &&Ready| slot >= last_moment(&ready.send);
    if slot - now > reach(cx) || group.iter().any(late) {
        tx.rollback().await?;
        call.into_iter().for_each(Open::close);
        return Ok((None, Begun::TooLate(going, slot)));
    }
    let begun = Begun::Attempt {
        going,
        batch,
        doubted,
        slot,
        call,
    };
    Ok((Some(tx), begun))
}

/// Ends mails whose last useful moment passed.
pub(super) async fn expire(cx: &Context, sends: &[ClaimedSend]) -> db::Result<()> {
    let settled: Vec<Settled<'_>> = sends
        .iter()
        .map(|send| Settled::decided(send, expired(send)))
        .collect();
    super::conclude::decide(cx, &settled).await
}

/// Ends mails in whose calls workers ended three times.
pub(super) async fn give_up(cx: &Context, sends: &[ClaimedSend]) -> db::Result<()> {
    let settled: Vec<Settled<'_>> = sends
        .iter()
        .map(|send| {
            let reason = calls::verdict(&send.deaths);
            tracing::error!(send.id = %send.id, reason, "a mail ends its workers and is given up");
            let standing = if send.in_doubt {
                Standing::ambiguous(reason)
            } else {
                Standing::failed(reason)
            };
            Settled::decided(send, standing)
        })
        .collect();
    super::conclude::decide(cx, &settled).await?;
    super::forget(cx, sends.iter().map(|send| send.id.into())).await
}

/// A mail in doubt may have arrived; no other one goes out.
pub(super) fn expired(send: &ClaimedSend) -> Standing {
    if send.in_doubt {
        Standing::ambiguous(
            "its last useful moment passed before the provider said whether it has it",
        )
    } else {
        Standing::skipped(EXPIRED)
    }
}
