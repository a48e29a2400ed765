//! Step 2 for mails and batches in doubt: an attempt at them was cut off or got no clear answer.
//!
//! They are repeated at the provider that may have them, with the same bytes and key, if it treats
//! that as the same mail. Otherwise their category decides: a lifecycle mail ends as ambiguous, a
//! transactional one is repeated, because twice is better than never.

use super::give_up::{self, TOO_LATE, ambiguous, break_up};
use super::providers::{Providers, Way, sender_of};
use super::route::prepare;
use super::{Work, covers, postpone, reach};
use crate::calls;
use crate::context::Context;
use crate::db::{self, ClaimedBatch, ClaimedSend};
use crate::mail::fate::last_moment;
use crate::pauses::Pauses;
use crate::purpose::Purpose;

/// Decides on a single mail in doubt. A transactional one also goes to another provider if the first
/// is down.
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
        && let Way::Open(other, probes) = providers
            .choose(cx, Purpose::of(&send.mail), &sender)
            .await?
    {
        let group = prepare(cx, &other, vec![send.into()]).await?;
        return Ok(Work::of(other, group, probes));
    }
    let Some(provider) = provider else {
        let reason =
            format!("an attempt was cut off, and its provider '{before}' is no longer active");
        ambiguous(cx, &send, &reason).await?;
        return Ok(None);
    };
    let since = send.first_attempt_at.unwrap_or(send.created_at);
    if !send.transactional && !covers(&provider, since, cx.clock.now()) {
        ambiguous(cx, &send, TOO_LATE).await?;
        return Ok(None);
    }
    match providers.admit(cx, &provider, &sender).await? {
        Err(shut) => {
            postpone(cx, &[send], shut.until, &shut.reason).await?;
            Ok(None)
        }
        Ok(probes) => {
            let group = prepare(cx, &provider, vec![send.into()]).await?;
            Ok(Work::of(provider, group, probes))
        }
    }
}

/// Decides on a batch in doubt that the caller holds. It is repeated if it is still whole and its
/// provider still recognises its key.
pub(super) async fn decide_batch(
    cx: &Context,
    providers: &mut Providers,
    batch: ClaimedBatch,
) -> db::Result<Option<Work>> {
    let now = cx.clock.now();
    let members = {
        let mut conn = cx.db.conn().await?;
        let mut members = db::batch_members(&mut conn, batch.id).await?;
        let pauses = Pauses::load(&mut conn, now).await?;
        pauses.stop_clock(&mut conn, &mut members, now).await?;
        if members.iter().all(|send| !send.in_doubt) {
            // Webhooks reported every one of them.
            db::batch_end(&mut conn, &batch, Some("settled"), None, true, now).await?;
            return Ok(None);
        }
        members
    };
    calls::report("batch", batch.id, &batch.deaths);
    if batch.deaths.count >= calls::DEATHS_MAX {
        give_up::fatal_batch(cx, &batch, &members).await?;
        return Ok(None);
    }
    let Some(provider) = providers.find(&batch.provider) else {
        let reason = format!(
            "an attempt was cut off, and its provider '{}' is no longer active",
            batch.provider
        );
        break_up(cx, &batch, &members, &reason).await?;
        return Ok(None);
    };
    // If a member was erased since, the request would no longer be the same bytes.
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
