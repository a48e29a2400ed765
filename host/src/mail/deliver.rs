//! Attempts at delivery, and what the ledger keeps of them.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{Attempt, Prepared, SendOutcome, StepError};
use serde_json::{Value, json};

use super::pace::{Pace, pace};
use crate::app::App;
use crate::backoff::{self, ATTEMPTS_MAX};
use crate::db::{self, ClaimedSend, Conn, Contact, SendEnd, Topic, Tx};
use crate::plugins::DeliveryRef;

/// How long a mail waits where no provider can take it.
const BLOCKED: TimeDelta = TimeDelta::minutes(5);

/// What became of a claimed mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Its fate is recorded.
    Ended,
    /// It is due again later.
    Later,
    /// The provider takes no mail for now.
    Paused,
    /// Another worker holds it.
    Lost,
}

/// Makes one attempt at a claimed mail.
///
/// The provider's bytes and the fact that an attempt begins are committed before the provider is
/// asked. So a mail whose attempt was cut off is known to be in doubt, and is repeated with the
/// same bytes and key where the provider makes that harmless; where it does not, the mail's
/// category decides.
pub async fn deliver(app: &App, send: &ClaimedSend) -> db::Result<Delivered> {
    let now = app.clock.now();
    let Some(provider) = app.plugins.delivery() else {
        return postpone(app, send, now + BLOCKED, "no delivery plugin is active").await;
    };
    if let Some(frozen_for) = send.provider.as_deref().filter(|id| *id != provider.id())
        && send.in_doubt
    {
        // The other provider may have it; handing it to this one could make it two mails.
        return give_up_doubt(
            app,
            send,
            &format!("its attempt at '{frozen_for}' was cut off"),
        )
        .await;
    }
    let prepared = match frozen(send, &provider) {
        Some(prepared) => prepared,
        None => match provider.prepare(&send.mail).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(reason)) => return fail(app, send, &reason).await,
            Err(error) => {
                tracing::error!(send.id = %send.id, %error, "the provider's plugin gave no answer");
                return postpone(
                    app,
                    send,
                    now + BLOCKED,
                    "the provider's plugin gave no answer",
                )
                .await;
            }
        },
    };

    let number = send.attempts + 1;
    let mut tx = app.db.begin().await?;
    let contact = db::contact_lock(&mut tx, &[send.contact_id]).await?.pop();
    match decide(app, &mut tx, send, contact.as_ref(), &provider, now).await? {
        Decision::Attempt => {}
        Decision::Later(until) => {
            drop(tx);
            return postpone(app, send, until, "outside_send_window").await;
        }
        Decision::Skip(reason) => {
            let end = SendEnd {
                status: "skipped",
                reason: Some(reason),
                counted: true,
                ..SendEnd::default()
            };
            let result = Ok(json!({ "skipped": { "reason": reason } }));
            return settle(app, tx, send, &end, result, now).await;
        }
        Decision::Ambiguous => {
            drop(tx);
            return give_up_doubt(
                app,
                send,
                "an attempt was cut off, and the provider cannot tell a repeat from a second mail",
            )
            .await;
        }
        Decision::Paused(until) => {
            drop(tx);
            postpone(app, send, until, "the provider takes no mail for now").await?;
            return Ok(Delivered::Paused);
        }
    }
    if !db::attempt_begin(&mut tx, send, provider.id(), &prepared, number, now).await? {
        return Ok(Delivered::Lost);
    }
    tx.commit().await?;

    let attempt = Attempt {
        idempotency_key: send.idempotency_key.clone(),
        prepared,
        created_at: send.created_at,
        number: number as u32,
    };
    // Past the lease another worker may take over; half of it leaves time to record the answer.
    let bound = app.config.lease / 2;
    let outcome = match tokio::time::timeout(bound, provider.send(attempt)).await {
        Ok(Ok(sent)) => sent.outcome,
        Ok(Err(error)) => SendOutcome::Unknown {
            reason: error.to_string(),
        },
        Err(_) => SendOutcome::Unknown {
            reason: format!("no answer within {bound:?}"),
        },
    };
    conclude(app, send, &provider, number, outcome).await
}

/// The bytes frozen for this provider, if an attempt was made before.
fn frozen(send: &ClaimedSend, provider: &DeliveryRef) -> Option<Prepared> {
    let same = send.provider.as_deref() == Some(provider.id());
    send.prepared.clone().filter(|_| same)
}

enum Decision {
    Attempt,
    Skip(&'static str),
    Ambiguous,
    Later(DateTime<Utc>),
    Paused(DateTime<Utc>),
}

/// Whether the mail may still go out. An attempt that began is finished, whatever changed since.
async fn decide(
    app: &App,
    conn: &mut Conn,
    send: &ClaimedSend,
    contact: Option<&Contact>,
    provider: &DeliveryRef,
    now: DateTime<Utc>,
) -> db::Result<Decision> {
    if send.in_doubt {
        let elapsed = send
            .first_attempt_at
            .map(|first| now - first)
            .unwrap_or_default();
        let covered = provider
            .capabilities()
            .idempotency
            .covers(elapsed.to_std().unwrap_or_default());
        if !covered && !send.transactional {
            return Ok(Decision::Ambiguous);
        }
    } else {
        match pace(app, conn, send, contact, now).await? {
            Pace::Go => {}
            Pace::Skip(reason) => return Ok(Decision::Skip(reason)),
            Pace::Later(until) => return Ok(Decision::Later(until)),
        }
    }
    let pause = db::provider_pause_active(conn, provider.id(), now).await?;
    Ok(pause.map_or(Decision::Attempt, |pause| Decision::Paused(pause.until)))
}

/// Records the end of an attempt.
async fn conclude(
    app: &App,
    send: &ClaimedSend,
    provider: &DeliveryRef,
    number: i32,
    outcome: SendOutcome,
) -> db::Result<Delivered> {
    let now = app.clock.now();
    let (name, reason) = describe(&outcome);
    let reason = reason.map(|text| text.replace('\0', "\u{fffd}"));
    let reason = reason.as_deref();
    if let Some(reason) = reason {
        tracing::warn!(send.id = %send.id, provider = provider.id(), outcome = name, reason,
            attempt = number, "a mail was not accepted");
    }
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &[send.contact_id]).await?;
    db::attempt_end(&mut tx, send.id, number, name, reason, now).await?;

    let mut end = SendEnd {
        status: "queued",
        reason,
        counted: true,
        in_doubt: send.in_doubt,
        ..SendEnd::default()
    };
    match &outcome {
        SendOutcome::Accepted { message_id } => {
            end = SendEnd {
                status: "sent",
                message_id: Some(message_id),
                counted: true,
                ..SendEnd::default()
            };
            let result = Ok(json!({ "sent": { "id": send.id } }));
            return settle(app, tx, send, &end, result, now).await;
        }
        SendOutcome::Rejected { reason: text } => {
            end.status = "failed";
            end.in_doubt = false;
            return settle(app, tx, send, &end, failed(send, text), now).await;
        }
        SendOutcome::Retry {
            retry_after_ms,
            pause: true,
            ..
        } => {
            let until = now + backoff::wait(1, *retry_after_ms);
            return pause(app, tx, send, provider, end, until, now).await;
        }
        SendOutcome::Blocked {
            reason,
            retry_after_ms,
        } => {
            tracing::error!(
                provider = provider.id(),
                reason,
                "the provider takes no mail until someone acts; mails are kept"
            );
            let until = now + retry_after_ms.map_or(BLOCKED, |ms| backoff::wait(1, Some(ms)));
            return pause(app, tx, send, provider, end, until, now).await;
        }
        SendOutcome::Retry { retry_after_ms, .. } => {
            end.retry_at = Some(now + backoff::wait(number, *retry_after_ms));
        }
        SendOutcome::Unknown { .. } => {
            end.in_doubt = true;
            end.retry_at = Some(now + backoff::wait(number, None));
        }
    }
    if number >= ATTEMPTS_MAX {
        end.retry_at = None;
        let text = format!(
            "given up after {number} attempts: {}",
            reason.unwrap_or(name)
        );
        end.reason = Some(&text);
        // In doubt the mail may have arrived; only a provider's webhook can tell.
        end.status = if end.in_doubt { "ambiguous" } else { "failed" };
        let result = failed(send, &text);
        return settle(app, tx, send, &end, result, now).await;
    }
    let held = db::send_end(&mut tx, send, &end, now).await?;
    app.db.commit_and_wake(tx, &[]).await?;
    Ok(if held {
        Delivered::Later
    } else {
        Delivered::Lost
    })
}

/// Keeps the mail and the attempt it would have used up, and pauses the provider for everyone.
async fn pause(
    app: &App,
    mut tx: Tx,
    send: &ClaimedSend,
    provider: &DeliveryRef,
    mut end: SendEnd<'_>,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> db::Result<Delivered> {
    end.counted = false;
    end.retry_at = Some(until);
    db::provider_pause_set(
        &mut tx,
        provider.id(),
        until,
        end.reason.unwrap_or("paused"),
        now,
    )
    .await?;
    db::send_end(&mut tx, send, &end, now).await?;
    app.db.commit_and_wake(tx, &[]).await?;
    Ok(Delivered::Paused)
}

/// Writes the mail's end and lets its journey go on, in one commit.
async fn settle(
    app: &App,
    mut tx: Tx,
    send: &ClaimedSend,
    end: &SendEnd<'_>,
    result: Result<Value, StepError>,
    now: DateTime<Utc>,
) -> db::Result<Delivered> {
    if !db::send_end(&mut tx, send, end, now).await? {
        return Ok(Delivered::Lost);
    }
    if let (Some(state), Some(seq)) = (send.state_id, send.step_seq) {
        db::step_complete(&mut tx, state, seq, &result, now).await?;
    }
    app.db.commit_and_wake(tx, &[Topic::Runs]).await?;
    Ok(Delivered::Ended)
}

/// A mail that cannot be sent at all.
async fn fail(app: &App, send: &ClaimedSend, reason: &str) -> db::Result<Delivered> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &[send.contact_id]).await?;
    let end = SendEnd {
        status: "failed",
        reason: Some(reason),
        counted: true,
        ..SendEnd::default()
    };
    settle(app, tx, send, &end, failed(send, reason), now).await
}

/// A mail whose fate is unknown and that may not be repeated.
async fn give_up_doubt(app: &App, send: &ClaimedSend, reason: &str) -> db::Result<Delivered> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &[send.contact_id]).await?;
    let end = SendEnd {
        status: "ambiguous",
        reason: Some(reason),
        counted: true,
        in_doubt: true,
        ..SendEnd::default()
    };
    settle(app, tx, send, &end, failed(send, reason), now).await
}

async fn postpone(
    app: &App,
    send: &ClaimedSend,
    until: DateTime<Utc>,
    reason: &str,
) -> db::Result<Delivered> {
    let mut conn = app.db.conn().await?;
    db::send_postpone(&mut conn, send, until, reason).await?;
    Ok(Delivered::Later)
}

fn failed(send: &ClaimedSend, reason: &str) -> Result<Value, StepError> {
    Ok(json!({ "failed": { "id": send.id, "reason": reason } }))
}

fn describe(outcome: &SendOutcome) -> (&'static str, Option<&str>) {
    match outcome {
        SendOutcome::Accepted { .. } => ("accepted", None),
        SendOutcome::Retry {
            reason,
            pause: true,
            ..
        } => ("paused", Some(reason)),
        SendOutcome::Retry { reason, .. } => ("retry", Some(reason)),
        SendOutcome::Blocked { reason, .. } => ("blocked", Some(reason)),
        SendOutcome::Rejected { reason } => ("rejected", Some(reason)),
        SendOutcome::Unknown { reason } => ("unknown", Some(reason)),
    }
}
