//! Mails that end without another attempt: too late, fatal to workers, or not safe to repeat.

use uuid::Uuid;

use crate::calls;
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend, Tx};
use crate::ids::SendId;
use crate::mail::fate::{EXPIRED, Settled, Standing, last_moment, settle};

/// Why a lifecycle mail in doubt is not repeated.
pub(super) const TOO_LATE: &str =
    "an attempt was cut off, and the provider cannot tell a repeat from a second mail";

/// Ends mails whose last useful moment passed.
pub(super) async fn expire(cx: &Context, sends: &[ClaimedSend]) -> db::Result<()> {
    let settled: Vec<Settled<'_>> = sends
        .iter()
        .map(|send| Settled::decided(send, expired(send)))
        .collect();
    end(cx, &settled).await
}

/// A mail in doubt may have arrived; another one surely was not sent.
fn expired(send: &ClaimedSend) -> Standing {
    if send.in_doubt {
        Standing::ambiguous(
            "its last useful moment passed before the provider said whether it has it",
        )
    } else {
        Standing::skipped(EXPIRED)
    }
}

/// Ends mails in whose plugin calls workers died three times.
pub(super) async fn fatal(cx: &Context, sends: &[ClaimedSend]) -> db::Result<()> {
    let settled: Vec<Settled<'_>> = sends
        .iter()
        .map(|send| {
            let reason = calls::verdict(&send.deaths);
            tracing::error!(email_id = %send.id, reason, "workers died repeatedly while delivering this mail: it is given up");
            let standing = if send.in_doubt {
                Standing::ambiguous(reason)
            } else {
                Standing::failed(reason)
            };
            Settled::decided(send, standing)
        })
        .collect();
    end(cx, &settled).await?;
    forget_calls(cx, sends.iter().map(|send| send.id.into())).await
}

/// Ends a batch in whose plugin calls workers died three times.
pub(super) async fn fatal_batch(
    cx: &Context,
    batch: &ClaimedBatch,
    members: &[ClaimedSend],
) -> db::Result<()> {
    let reason = calls::verdict(&batch.deaths);
    tracing::error!(batch_id = %batch.id, reason, "workers died repeatedly while delivering this batch: it is given up");
    break_up(cx, batch, members, &reason).await?;
    forget_calls(cx, [batch.id.into()]).await
}

/// Ends a mail that may have arrived.
pub(super) async fn ambiguous(cx: &Context, send: &ClaimedSend, reason: &str) -> db::Result<()> {
    end(cx, &[Settled::decided(send, Standing::ambiguous(reason))]).await
}

/// Ends a batch that cannot be repeated any longer. Its lifecycle mails in doubt become ambiguous;
/// each transactional one is retried alone while it is useful.
pub(super) async fn break_up(
    cx: &Context,
    batch: &ClaimedBatch,
    members: &[ClaimedSend],
    reason: &str,
) -> db::Result<()> {
    let now = cx.clock.now();
    let ids: Vec<SendId> = members.iter().map(|send| send.id).collect();
    let standing = |send: &ClaimedSend| match send {
        late if last_moment(late) <= now => expired(late),
        send if send.transactional => Standing::Alone {
            until: now,
            reason: reason.to_owned(),
            doubtful: true,
        },
        _ => Standing::ambiguous(reason),
    };
    let settled: Vec<Settled<'_>> = members
        .iter()
        .filter(|send| send.in_doubt)
        .map(|send| Settled {
            send,
            claim: None,
            attempt: None,
            standing: standing(send),
        })
        .collect();
    let work = async |mut tx: Tx| {
        db::sends_owners_lock(&mut tx, &ids).await?;
        if db::batch_end(&mut tx, batch, Some("unknown"), None, true, now).await? {
            settle(cx, &mut tx, None, Some(batch.id), &settled, now).await?;
        }
        db::Result::Ok((tx, ()))
    };
    cx.db.transact(work).await
}

/// Settles mails that the caller holds, without an attempt.
pub(super) async fn end(cx: &Context, settled: &[Settled<'_>]) -> db::Result<()> {
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

/// Removes the calls recorded for mails or batches, which no call concerns any longer.
async fn forget_calls(cx: &Context, subjects: impl IntoIterator<Item = Uuid>) -> db::Result<()> {
    let subjects: Vec<Uuid> = subjects.into_iter().collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let mut conn = cx.db.conn().await?;
    db::calls_forget(&mut conn, &subjects).await
}
