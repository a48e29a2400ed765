//! Mails whose last attempt was cut off or got no clear answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::conclude::{Settled, failed, give_up_doubt, settle};
use super::providers::Providers;
use super::{Ready, Request, ask, postpone, prepare, providers};
use crate::app::App;
use crate::db::{self, ClaimedBatch, ClaimedSend, SendEnd, Topic};
use crate::plugins::DeliveryRef;

const TOO_LATE: &str =
    "an attempt was cut off, and the provider cannot tell a repeat from a second mail";

/// Decides on a single mail in doubt: it is repeated at the provider that may have it, with the same
/// bytes and key. Where that could make it two mails, its category decides: a lifecycle mail is not
/// repeated, a transactional one is, at another provider too if the first is down.
pub(super) async fn decide(
    app: &App,
    providers: &Providers,
    send: ClaimedSend,
) -> db::Result<Option<(DeliveryRef, Ready)>> {
    let before = send.provider.clone().unwrap_or_default();
    let provider = providers.find(&before);
    if send.transactional
        && (provider.is_none() || providers.is_down(&before))
        && let Ok(other) = providers.first()
    {
        let mut ready = prepare(app, &other, vec![send]).await?;
        return Ok(ready.pop().map(|ready| (other, ready)));
    }
    let Some(provider) = provider else {
        let reason = format!("its attempt at '{before}' was cut off, which is no longer in use");
        give_up_doubt(app, &send, &reason).await?;
        return Ok(None);
    };
    let since = send.first_attempt_at.unwrap_or(send.created_at);
    if !send.transactional && !covers(&provider, since, app.clock.now()) {
        give_up_doubt(app, &send, TOO_LATE).await?;
        return Ok(None);
    }
    if let Some(pause) = providers.pause_of(&before) {
        postpone(app, &[send], pause.until, &pause.reason).await?;
        return Ok(None);
    }
    let mut ready = prepare(app, &provider, vec![send]).await?;
    Ok(ready.pop().map(|ready| (provider, ready)))
}

fn covers(provider: &DeliveryRef, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let elapsed: Duration = (now - since).to_std().unwrap_or_default();
    provider.capabilities().idempotency.covers(elapsed)
}

/// Asks again about a batch in doubt.
pub async fn repeat_batch(app: &App, batch: ClaimedBatch) -> db::Result<()> {
    let now = app.clock.now();
    let members = {
        let mut conn = app.db.conn().await?;
        db::batch_members(&mut conn, batch.id).await?
    };
    if members.iter().all(|send| !send.in_doubt) {
        // Webhooks told of every one of them.
        let mut conn = app.db.conn().await?;
        db::batch_end(&mut conn, &batch, Some("settled"), None, true, now).await?;
        return Ok(());
    }
    let providers = Providers::look(app).await?;
    let Some(provider) = providers.find(&batch.provider) else {
        let reason = format!(
            "its attempt at '{}' was cut off, which is no longer in use",
            batch.provider
        );
        break_up(app, &batch, &members, &reason).await?;
        return Ok(());
    };
    // Without a mail that was erased since, it would be another request.
    let whole = members.len() as i32 == batch.size;
    if !whole || !covers(&provider, batch.first_attempt_at, now) {
        break_up(app, &batch, &members, TOO_LATE).await?;
        return Ok(());
    }
    if let Some(pause) = providers.pause_of(&batch.provider) {
        let mut conn = app.db.conn().await?;
        db::batch_end(&mut conn, &batch, None, Some(pause.until), true, now).await?;
        return Ok(());
    }
    if let Some(request) = begin_again(app, &provider, batch, members).await? {
        ask(app, &provider, request).await?;
    }
    Ok(())
}

/// Commits that another attempt at the batch begins.
async fn begin_again(
    app: &App,
    provider: &DeliveryRef,
    batch: ClaimedBatch,
    members: Vec<ClaimedSend>,
) -> db::Result<Option<Request>> {
    let now = app.clock.now();
    let mails: Vec<Ready> = members
        .into_iter()
        .filter_map(|send| {
            let prepared = send.prepared.clone()?;
            Some(Ready { send, prepared })
        })
        .collect();
    let open: Vec<&ClaimedSend> = mails
        .iter()
        .map(|ready| &ready.send)
        .filter(|send| send.in_doubt)
        .collect();
    let people: Vec<_> = open.iter().map(|send| send.contact_id).collect();
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &people).await?;
    if !db::batch_attempt(&mut tx, &batch, now).await? {
        return Ok(None);
    }
    db::attempts_repeat(&mut tx, provider.id(), batch.id, &open, now).await?;
    let first = provider.capabilities().rate.map(providers::slot_us);
    let slot = db::provider_slot(&mut tx, provider.id(), first, now).await?;
    tx.commit().await?;
    Ok(Some(Request {
        mails,
        number: batch.attempts + 1,
        batch: Some(batch),
        doubted: true,
        slot,
    }))
}

/// Ends a batch that can no longer be repeated. Each lifecycle mail in doubt stays so for good; a
/// transactional one is tried again by itself.
async fn break_up(
    app: &App,
    batch: &ClaimedBatch,
    members: &[ClaimedSend],
    reason: &str,
) -> db::Result<()> {
    let now = app.clock.now();
    let people: Vec<_> = members.iter().map(|send| send.contact_id).collect();
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &people).await?;
    if !db::batch_end(&mut tx, batch, Some("unknown"), None, true, now).await? {
        return Ok(());
    }
    let settled = members.iter().map(|send| {
        let end = SendEnd {
            id: send.id,
            claim: None,
            attempt: None,
            status: "ambiguous",
            reason: Some(reason.to_owned()),
            message_id: None,
            retry_at: None,
            in_doubt: true,
            counted: true,
            leaves_batch: false,
            alone: true,
        };
        if send.transactional {
            return Settled {
                end: SendEnd {
                    status: "queued",
                    retry_at: Some(now),
                    leaves_batch: true,
                    ..end
                },
                result: Ok(Value::Null),
                step: None,
            };
        }
        Settled {
            end,
            result: failed(send.id, reason),
            step: send.state_id.zip(send.step_seq),
        }
    });
    settle(&mut tx, Some(batch.id), settled.collect(), now).await?;
    app.db
        .commit_and_wake(tx, &[Topic::Runs, Topic::Mails])
        .await
}
