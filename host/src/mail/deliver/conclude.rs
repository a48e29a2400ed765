//! The end of an attempt.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BatchOutcome, SendOutcome, StepError};
use serde_json::{Value, json};

use super::{BLOCKED, Ready, Request};
use crate::app::App;
use crate::backoff::{self, ATTEMPTS_MAX};
use crate::db::{self, ClaimedSend, Conn, SendEnd, StepEnd, Topic};
use crate::ids::{BatchId, SendId, StateId};
use crate::mail::status::{About, Told, announce_failed, tell};
use crate::plugins::DeliveryRef;

/// How a mail stands now, and what the step that waits for it learns once it is over.
pub(super) struct Settled {
    pub end: SendEnd,
    pub result: Result<Value, StepError>,
    /// The run and the number of its step.
    pub step: Option<(StateId, i32)>,
}

/// Records the end of an attempt for every mail in it, and lets their journeys go on, in one commit.
pub(super) async fn conclude(
    app: &App,
    provider: &DeliveryRef,
    request: Request,
    outcome: BatchOutcome,
) -> db::Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let people: Vec<_> = request
        .mails
        .iter()
        .map(|one| one.send.contact_id)
        .collect();
    db::contact_lock(&mut tx, &people).await?;
    if let Some((until, reason)) = pause_of(&outcome, now) {
        db::provider_pause(&mut tx, provider.id(), until, reason, now).await?;
    }
    let fate = Fate::of(&request, &outcome, now);
    if let Some(batch) = &request.batch {
        let (word, retry_at, counted) = match &fate {
            Fate::Open {
                retry_at, counted, ..
            } => (None, Some(*retry_at), *counted),
            Fate::Over => (Some(word(&outcome)), None, true),
        };
        if !db::batch_end(&mut tx, batch, word, retry_at, counted, now).await? {
            return Ok(());
        }
    }
    let mut settled = Vec::with_capacity(request.mails.len());
    for (place, ready) in request.mails.iter().enumerate() {
        let one = one_of(&outcome, place);
        log(&ready.send, provider, &one, ready.number());
        settled.push(match &outcome {
            BatchOutcome::Apart { .. } => alone(ready, one, now),
            BatchOutcome::Each(_) if refused_for_now(&one) => alone(ready, one, now),
            _ => end(ready, &request, &fate, one, now),
        });
    }
    let batch = request.batch.as_ref().map(|batch| batch.id);
    let held = settle(&mut tx, batch, settled, now).await?;
    let sent: Vec<&ClaimedSend> = request
        .mails
        .iter()
        .enumerate()
        .filter(|(place, ready)| {
            held.contains(&ready.send.id)
                && matches!(one_of(&outcome, *place), SendOutcome::Accepted { .. })
        })
        .map(|(_, ready)| &ready.send)
        .collect();
    tell_sent(app, &mut tx, &sent, now).await?;
    let topics = [Topic::Runs, Topic::Captures, Topic::Mails];
    app.db.commit_and_wake(tx, &topics).await
}

/// Whether a batch is to be asked about again as it is.
enum Fate {
    /// It may have arrived: the same mails, order and key again at this moment.
    Open {
        retry_at: DateTime<Utc>,
        counted: bool,
    },
    /// Everything about it is known, or given up.
    Over,
}

impl Fate {
    fn of(request: &Request, outcome: &BatchOutcome, now: DateTime<Utc>) -> Self {
        let BatchOutcome::All(outcome) = outcome else {
            return Self::Over;
        };
        if request.batch.is_none() {
            return Self::Over;
        }
        match outcome {
            SendOutcome::Unknown { .. } if request.number < ATTEMPTS_MAX => Self::Open {
                retry_at: now + backoff::wait(request.number, None),
                counted: true,
            },
            SendOutcome::Retry {
                retry_after_ms,
                pause,
                ..
            } if request.doubted && (*pause || request.number < ATTEMPTS_MAX) => Self::Open {
                retry_at: now + backoff::wait(request.number, *retry_after_ms),
                counted: !pause,
            },
            SendOutcome::Blocked { retry_after_ms, .. } if request.doubted => Self::Open {
                retry_at: now + wish(*retry_after_ms),
                counted: false,
            },
            _ => Self::Over,
        }
    }
}

fn wish(retry_after_ms: Option<u64>) -> chrono::TimeDelta {
    retry_after_ms.map_or(BLOCKED, |ms| backoff::wait(1, Some(ms)))
}

/// Until when no mail may go to the provider, whoever asks.
fn pause_of(outcome: &BatchOutcome, now: DateTime<Utc>) -> Option<(DateTime<Utc>, &str)> {
    match outcome {
        BatchOutcome::All(SendOutcome::Retry {
            reason,
            retry_after_ms,
            pause: true,
            ..
        }) => Some((now + backoff::wait(1, *retry_after_ms), reason)),
        BatchOutcome::All(SendOutcome::Blocked {
            reason,
            retry_after_ms,
            ..
        }) => Some((now + wish(*retry_after_ms), reason)),
        _ => None,
    }
}

/// What the answer says of the mail at this place.
fn one_of(outcome: &BatchOutcome, place: usize) -> SendOutcome {
    match outcome {
        BatchOutcome::Each(each) => each[place].clone(),
        BatchOutcome::All(one) => one.clone(),
        BatchOutcome::Apart { reason } => SendOutcome::retry(reason).after(Some(0)),
    }
}

fn refused_for_now(outcome: &SendOutcome) -> bool {
    matches!(
        outcome,
        SendOutcome::Retry { .. } | SendOutcome::Blocked { .. }
    )
}

/// The provider took the batch without this mail, or refused it as such: the mail is tried by
/// itself.
fn alone(ready: &Ready, outcome: SendOutcome, now: DateTime<Utc>) -> Settled {
    let (name, reason) = describe(&outcome);
    waiting(SendEnd {
        id: ready.send.id,
        claim: None,
        attempt: Some((ready.number(), name)),
        status: "queued",
        reason: reason.map(clean),
        message_id: None,
        retry_at: Some(now),
        in_doubt: false,
        counted: false,
        leaves_batch: true,
        alone: true,
    })
}

/// How the mail stands after it.
fn end(
    ready: &Ready,
    request: &Request,
    fate: &Fate,
    outcome: SendOutcome,
    now: DateTime<Utc>,
) -> Settled {
    let send = &ready.send;
    let (name, reason) = describe(&outcome);
    let reason = reason.map(clean);
    let in_batch = request.batch.is_some();
    let mut end = SendEnd {
        id: send.id,
        claim: send.claim.filter(|_| !in_batch),
        attempt: Some((ready.number(), name)),
        status: "queued",
        reason: reason.clone(),
        message_id: None,
        retry_at: None,
        in_doubt: request.doubted,
        counted: true,
        leaves_batch: false,
        alone: false,
    };
    let over = |mut end: SendEnd, status: &'static str, result| {
        end.status = status;
        Settled {
            end,
            result,
            step: send.state_id.zip(send.step_seq),
        }
    };
    match outcome {
        SendOutcome::Accepted { message_id } => {
            end.message_id = Some(message_id);
            end.in_doubt = false;
            let result = Ok(json!({ "sent": { "id": send.id } }));
            return over(end, "sent", result);
        }
        SendOutcome::Rejected { reason, .. } => {
            end.in_doubt = false;
            return over(end, "failed", failed(send.id, &reason));
        }
        _ => {}
    }
    if let Fate::Open { counted, .. } = fate {
        end.in_doubt = true;
        end.counted = *counted;
        return waiting(end);
    }
    match outcome {
        SendOutcome::Unknown { .. } => {
            end.in_doubt = true;
            end.retry_at = Some(now + backoff::wait(request.number, None));
        }
        SendOutcome::Retry {
            retry_after_ms,
            pause,
            ..
        } => {
            end.counted = !pause;
            let tries = if pause { 1 } else { request.number };
            end.retry_at = Some(now + backoff::wait(tries, retry_after_ms));
        }
        SendOutcome::Blocked { retry_after_ms, .. } => {
            end.counted = false;
            end.retry_at = Some(now + wish(retry_after_ms));
        }
        SendOutcome::Accepted { .. } | SendOutcome::Rejected { .. } => {}
    }
    end.leaves_batch = in_batch && !end.in_doubt;
    let tries = request.number.max(ready.number());
    let used_up = end.counted && tries >= ATTEMPTS_MAX;
    if used_up || in_batch && end.in_doubt {
        let text = format!(
            "given up after {tries} attempts: {}",
            reason.as_deref().unwrap_or(name)
        );
        end.retry_at = None;
        end.reason = Some(text.clone());
        // In doubt the mail may have arrived; only a provider's webhook can tell.
        let status = if end.in_doubt { "ambiguous" } else { "failed" };
        return over(end, status, failed(send.id, &text));
    }
    waiting(end)
}

fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Nothing to tell its journey yet.
fn waiting(end: SendEnd) -> Settled {
    Settled {
        end,
        result: Ok(Value::Null),
        step: None,
    }
}

/// Writes how mails stand and completes the steps of those that are over. Returns the mails that
/// were still the caller's.
pub(super) async fn settle(
    conn: &mut Conn,
    batch: Option<BatchId>,
    settled: Vec<Settled>,
    now: DateTime<Utc>,
) -> db::Result<std::collections::HashSet<SendId>> {
    if settled.is_empty() {
        return Ok(Default::default());
    }
    let ends: Vec<SendEnd> = settled.iter().map(|one| one.end.clone()).collect();
    let held = db::sends_end(conn, batch, &ends, now).await?;
    let failed: Vec<(SendId, Option<&str>)> = ends
        .iter()
        .filter(|end| end.status == "failed" && held.contains(&end.id))
        .map(|end| (end.id, end.reason.as_deref()))
        .collect();
    announce_failed(conn, &failed, now).await?;
    let steps: Vec<StepEnd> = settled
        .into_iter()
        .filter(|one| held.contains(&one.end.id))
        .filter_map(|one| {
            let (state, seq) = one.step?;
            let result = one.result;
            Some(StepEnd { state, seq, result })
        })
        .collect();
    db::steps_complete(conn, &steps, now).await?;
    Ok(held)
}

/// A mail that cannot be sent at all.
pub(super) async fn fail(app: &App, send: &ClaimedSend, reason: &str) -> db::Result<()> {
    over(app, send, "failed", reason, false).await
}

/// A mail whose fate is unknown and that may not be repeated.
pub(super) async fn give_up_doubt(app: &App, send: &ClaimedSend, reason: &str) -> db::Result<()> {
    over(app, send, "ambiguous", reason, true).await
}

async fn over(
    app: &App,
    send: &ClaimedSend,
    status: &'static str,
    reason: &str,
    in_doubt: bool,
) -> db::Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    db::contact_lock(&mut tx, &[send.contact_id]).await?;
    let settled = Settled {
        end: SendEnd {
            id: send.id,
            claim: send.claim,
            attempt: None,
            status,
            reason: Some(reason.to_owned()),
            message_id: None,
            retry_at: None,
            in_doubt,
            counted: true,
            leaves_batch: false,
            alone: false,
        },
        result: failed(send.id, reason),
        step: send.state_id.zip(send.step_seq),
    };
    settle(&mut tx, None, vec![settled], now).await?;
    app.db.commit_and_wake(tx, &[Topic::Runs]).await
}

pub(super) fn failed(send: SendId, reason: &str) -> Result<Value, StepError> {
    Ok(json!({ "failed": { "id": send, "reason": reason } }))
}

async fn tell_sent(
    app: &App,
    conn: &mut Conn,
    sent: &[&ClaimedSend],
    now: DateTime<Utc>,
) -> db::Result<()> {
    let runs: Vec<StateId> = sent.iter().filter_map(|send| send.state_id).collect();
    let origins = db::send_origins(conn, &runs).await?;
    let told = sent.iter().map(|send| {
        let origin = send.state_id.and_then(|state| origins.get(&state));
        let about = About {
            id: send.id,
            template_key: &send.template_key,
            category: &send.category,
        };
        Told {
            contact: send.contact_id,
            name: "email.sent",
            properties: about.properties(origin, Default::default()),
            occurred_at: now,
            depth: origin.map_or(0, |run| run.depth),
        }
    });
    tell(app, conn, told.collect(), now).await
}

fn log(send: &ClaimedSend, provider: &DeliveryRef, outcome: &SendOutcome, number: i32) {
    let (name, reason) = describe(outcome);
    let Some(reason) = reason else { return };
    tracing::warn!(send.id = %send.id, provider = provider.id(), outcome = name, reason,
        attempt = number, "a mail was not accepted");
}

fn word(outcome: &BatchOutcome) -> &'static str {
    match outcome {
        BatchOutcome::Each(_) => "accepted",
        BatchOutcome::Apart { .. } => "apart",
        BatchOutcome::All(one) => describe(one).0,
    }
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
        SendOutcome::Rejected { reason, .. } => ("rejected", Some(reason)),
        SendOutcome::Unknown { reason } => ("unknown", Some(reason)),
    }
}
