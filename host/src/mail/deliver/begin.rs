//! Step 3: the last checks before a first attempt, and the commit that it begins.
//!
//! The provider's bytes are frozen in the same transaction, and the moment at which the request may
//! leave is reserved. So whatever happens afterwards, the mails are known to be in doubt.

use chrono::{DateTime, Utc};

use super::{Ready, Request, give_up, lease, postpone, providers, put_aside, reach};
use crate::calls::Open;
use crate::context::Context;
use crate::db::{
    self, Beginning, CallSwitch, ClaimedBatch, ClaimedSend, Conn, Deaths, PluginCall, Tx,
};
use crate::ids::{BatchId, Claim, SendId};
use crate::mail::fate::{Settled, Standing, last_moment, settle};
use crate::mail::frequency::{Pace, pace_all};
use crate::pauses::Pauses;
use crate::plugins::DeliveryRef;

/// Result of the transaction.
enum Begun {
    /// None of the mails goes out now.
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

/// Decides which of these mails go out now, and commits that an attempt at them begins. None if
/// there is nothing left to send.
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
            let sends = of(ids, group).into_iter().map(|ready| ready.send);
            let (late, others): (Vec<ClaimedSend>, Vec<ClaimedSend>) =
                sends.partition(|send| slot >= last_moment(send));
            give_up::expire(cx, &late).await?;
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
    let cleared = cleared(cx, &mut tx, group, now).await?;
    if cleared.is_empty() {
        return Ok((Some(tx), Begun::Nothing));
    }
    open_attempt(cx, tx, provider, &cleared, now).await
}

/// The mails that may go out now, among those the caller still holds. The others are skipped or
/// postponed. A mail in doubt is not checked: an attempt that began is finished, whatever changed
/// since.
async fn cleared<'g>(
    cx: &Context,
    conn: &mut Conn,
    group: &'g [Ready],
    now: DateTime<Utc>,
) -> db::Result<Vec<&'g Ready>> {
    let ids: Vec<SendId> = group.iter().map(|ready| ready.send.id).collect();
    let contacts = db::sends_owners_lock(conn, &ids).await?;
    let sends: Vec<&ClaimedSend> = group.iter().map(|ready| &ready.send).collect();
    let held = db::sends_hold(conn, &sends).await?;
    let group: Vec<&'g Ready> = group
        .iter()
        .filter(|ready| held.contains(&ready.send.id))
        .collect();

    let fresh = group.iter().map(|ready| &ready.send);
    let fresh: Vec<ClaimedSend> = fresh.filter(|send| !send.in_doubt).cloned().collect();
    // A pause may have begun since the claim.
    let pauses = Pauses::load(conn, now).await?;
    let (asked, stopped) = pauses.split(conn, fresh).await?;
    put_aside(conn, &stopped).await?;
    let asked: Vec<&ClaimedSend> = asked.iter().collect();
    let paces = pace_all(cx, conn, &asked, &contacts, now).await?;
    let mut skipped = Vec::new();
    let mut going = Vec::new();
    for (send, pace) in asked.iter().zip(paces) {
        match pace {
            Pace::Go => going.push(send.id),
            Pace::Skip(reason) => {
                skipped.push(Settled::decided(send, Standing::skipped(reason)));
            }
            Pace::Later(until) => {
                db::sends_postpone(conn, &[send], until, "outside_send_window").await?;
            }
        }
    }
    settle(cx, conn, None, None, &skipped, now).await?;
    Ok(group
        .into_iter()
        .filter(|ready| ready.send.in_doubt || going.contains(&ready.send.id))
        .collect())
}

/// Freezes the mails and reserves the moment at which their request leaves. Rolls back if that is
/// too late.
async fn open_attempt(
    cx: &Context,
    mut tx: Tx,
    provider: &DeliveryRef,
    group: &[&Ready],
    now: DateTime<Utc>,
) -> db::Result<(Option<Tx>, Begun)> {
    let batch = (group.len() > 1).then(|| ClaimedBatch {
        id: BatchId::new(now),
        provider: provider.id().to_owned(),
        size: group.len() as i32,
        attempts: 1,
        first_attempt_at: now,
        claim: Claim::new(now),
        deaths: Deaths::default(),
    });
    // The lease begins when the request leaves, at the earliest.
    let lease_until = now + reach(cx) + lease(cx);
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
    let call = plugin_call(cx, provider, group.first().copied(), batch.as_ref());
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
        doubted: group.iter().any(|ready| ready.send.in_doubt),
        slot,
        call,
    };
    Ok((Some(tx), begun))
}

/// The plugin call that hands the mails to the provider; None if nobody holds them.
pub(super) fn plugin_call(
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

/// Records the call in the transaction in which an attempt begins, and reserves the moment at which
/// the request leaves. The provider's row comes last, so that other workers wait for it as briefly as
/// possible. On an error the call is not recorded.
pub(super) async fn reserve(
    cx: &Context,
    conn: &mut Conn,
    provider: &DeliveryRef,
    call: Option<Open>,
    now: DateTime<Utc>,
) -> db::Result<(Option<Open>, DateTime<Utc>)> {
    let reserved = async {
        if let Some(call) = &call {
            let begins = CallSwitch {
                ended: None,
                begun: Some(call.call().clone()),
            };
            db::calls_switch(&mut *conn, &[begins], true, now).await?;
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
