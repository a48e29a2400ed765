//! Mails whose last attempt was cut off or got no clear answer.

use chrono::{DateTime, Utc};

use super::begin::expired;
use super::conclude::decide as settle_decided;
use super::providers::{Providers, Way, sender_of};
use super::route::prepare;
use super::{Ready, Request, Work, covers, lease, postpone, reach, reserve};
use crate::calls::{self, Open};
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend, Tx};
use crate::ids::SendId;
use crate::mail::fate::{Settled, Standing, last_moment, settle};
use crate::plugins::DeliveryRef;

const TOO_LATE: &str =
    "an attempt was cut off, and the provider cannot tell a repeat from a second mail";

/// Decides on a single mail in doubt: it is repeated at the provider that may have it, with the same
/// bytes and key. Where that could make it two mails, its category decides: a lifecycle mail is not
/// repeated, a transactional one is, at another provider too if the first is down.
pub(super) async fn decide(
    cx: &Context,
    providers: &mut Providers,
    send: ClaimedSend,
) -> db::Result<Option<Work>> {
    let before = send.provider.clone().unwrap_or_default();
    let sender = sender_of(&send.mail.from);
    let provider = providers.find(&before);
    if send.transactional
        && (provider.is_none() || providers.is_down(&before, &sender))
        && let Way::Open(other, tried) = providers.choose(cx, &sender).await?
    {
        let group = prepare(cx, &other, vec![(send, false)]).await?;
        return Ok(Work::of(other, group, tried));
    }
    let Some(provider) = provider else {
        let reason = format!("its attempt at '{before}' was cut off, which is no longer in use");
        give_up(cx, &send, &reason).await?;
        return Ok(None);
    };
    let since = send.first_attempt_at.unwrap_or(send.created_at);
    if !send.transactional && !covers(&provider, since, cx.clock.now()) {
        give_up(cx, &send, TOO_LATE).await?;
        return Ok(None);
    }
    match providers.admit(cx, &provider, &sender).await? {
        Err(shut) => {
            postpone(cx, &[send], shut.until, &shut.reason).await?;
            Ok(None)
        }
        Ok(tried) => {
            let group = prepare(cx, &provider, vec![(send, false)]).await?;
            Ok(Work::of(provider, group, tried))
        }
    }
}

async fn give_up(cx: &Context, send: &ClaimedSend, reason: &str) -> db::Result<()> {
    let settled = [Settled::decided(send, Standing::ambiguous(reason))];
    settle_decided(cx, &settled).await
}

/// Decides on a batch in doubt that the caller holds: whole, and still known to its provider, it is
/// asked about again.
pub(super) async fn decide_batch(
    cx: &Context,
    providers: &mut Providers,
    batch: ClaimedBatch,
) -> db::Result<Option<Work>> {
    let now = cx.clock.now();
    let members = {
        let mut conn = cx.db.conn().await?;
        let members = db::batch_members(&mut conn, batch.id).await?;
        if members.iter().all(|send| !send.in_doubt) {
            // Webhooks told of every one of them.
            db::batch_end(&mut conn, &batch, Some("settled"), None, true, now).await?;
            return Ok(None);
        }
        members
    };
    calls::report("batch", batch.id, &batch.deaths);
    if batch.deaths.count >= calls::DEATHS_MAX {
        let reason = calls::verdict(&batch.deaths);
        tracing::error!(batch.id = %batch.id, reason, "a batch ends its workers and is given up");
        break_up(cx, &batch, &members, &reason).await?;
        super::forget(cx, [batch.id.into()]).await?;
        return Ok(None);
    }
    let Some(provider) = providers.find(&batch.provider) else {
        let reason = format!(
            "its attempt at '{}' was cut off, which is no longer in use",
            batch.provider
        );
        break_up(cx, &batch, &members, &reason).await?;
        return Ok(None);
    };
    // If a member was erased since, the request would no longer be the same, byte for byte.
    let whole = members.len() as i32 == batch.size;
    let late = members
        .iter()
        .any(|send| send.in_doubt && last_moment(send) <= now + reach(cx));
    if !whole || late || !covers(&provider, batch.first_attempt_at, now) {
        break_up(cx, &batch, &members, TOO_LATE).await?;
        return Ok(None);
    }
    let sender = sender_of(&members[0].mail.from);
    match providers.admit(cx, &provider, &sender).await? {
        Err(shut) => {
            let mut conn = cx.db.conn().await?;
            db::batch_end(&mut conn, &batch, None, Some(shut.until), true, now).await?;
            Ok(None)
        }
        Ok(_) => Ok(Some(Work::Repeat {
            provider,
            batch,
            members,
        })),
    }
}

/// Commits that another attempt at the batch begins.
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

/// What became of a batch that was about to be asked about again.
enum Again {
    /// Somebody else holds it.
    Lost,
    /// A mail of it would be useless by the time it leaves; nothing was committed.
    TooLate,
    /// The attempt leaves then.
    Attempt(DateTime<Utc>, Option<Open>),
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
    let call = super::open(cx, provider, mails.first(), Some(batch));
    let (call, slot) = reserve(cx, &mut tx, provider, call, now).await?;
    if open.iter().any(|send| last_moment(send) <= slot) {
        tx.rollback().await?;
        call.into_iter().for_each(Open::close);
        return Ok((None, Again::TooLate));
    }
    Ok((Some(tx), Again::Attempt(slot, call)))
}

/// Ends a batch that can no longer be repeated. Each lifecycle mail in doubt stays so for good; a
/// transactional one is tried again by itself while it is useful.
async fn break_up(
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
