//! Step 3 for a batch in doubt: the commit that another attempt at it begins.

use chrono::{DateTime, Utc};

use super::begin::{plugin_call, reserve};
use super::give_up::{TOO_LATE, break_up};
use super::{Ready, Request, lease, reach};
use crate::calls::Open;
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend, Tx};
use crate::ids::SendId;
use crate::mail::fate::last_moment;
use crate::plugins::DeliveryRef;

/// Result of the transaction.
enum Again {
    /// Another worker holds the batch.
    Lost,
    /// A mail in it would be useless by the time it leaves; nothing was committed.
    TooLate,
    /// The attempt leaves then.
    Attempt(DateTime<Utc>, Option<Open>),
}

/// Commits that another attempt at the batch begins: with the same mails, bytes, order and key.
pub(super) async fn begin_again(
    cx: &Context,
    provider: &DeliveryRef,
    batch: ClaimedBatch,
    members: Vec<ClaimedSend>,
) -> db::Result<Option<Request>> {
    let now = cx.clock.now();
    let mails: Vec<Ready> = members
        .into_iter()
        .filter_map(|send| {
            let prepared = send.prepared.clone()?;
            Some(Ready {
                send,
                prepared,
                restamped: false,
            })
        })
        .collect();
    let work = |tx| repeat_in(cx, tx, provider, (&batch, &mails), now);
    match cx.db.transact(work).await? {
        Again::Lost => Ok(None),
        Again::TooLate => {
            let members: Vec<ClaimedSend> = mails.into_iter().map(|ready| ready.send).collect();
            break_up(cx, &batch, &members, TOO_LATE).await?;
            Ok(None)
        }
        Again::Attempt(slot, call) => Ok(Some(Request {
            mails,
            number: batch.attempts + 1,
            call,
            batch: Some(batch),
            doubted: true,
            began: now,
            slot,
        })),
    }
}

async fn repeat_in(
    cx: &Context,
    mut tx: Tx,
    provider: &DeliveryRef,
    (batch, mails): (&ClaimedBatch, &[Ready]),
    now: DateTime<Utc>,
) -> db::Result<(Option<Tx>, Again)> {
    let open: Vec<&ClaimedSend> = mails
        .iter()
        .map(|ready| &ready.send)
        .filter(|send| send.in_doubt)
        .collect();
    let ids: Vec<SendId> = open.iter().map(|send| send.id).collect();
    db::sends_owners_lock(&mut tx, &ids).await?;
    if !db::batch_attempt(&mut tx, batch, now + reach(cx) + lease(cx), now).await? {
        return Ok((Some(tx), Again::Lost));
    }
    db::attempts_repeat(&mut tx, provider.id(), batch.id, &open, now).await?;
    let call = plugin_call(cx, provider, mails.first(), Some(batch));
    let (call, slot) = reserve(cx, &mut tx, provider, call, now).await?;
    if open.iter().any(|send| last_moment(send) <= slot) {
        tx.rollback().await?;
        call.into_iter().for_each(Open::close);
        return Ok((None, Again::TooLate));
    }
    Ok((Some(tx), Again::Attempt(slot, call)))
}
