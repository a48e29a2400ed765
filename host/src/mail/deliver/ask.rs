//! Step 4: hands the mails to the provider's plugin, and renews the lease until it answers.

use std::time::{Duration, Instant};

use hogsend_plugin_api::{Attempt, BatchAttempt, BatchOutcome, Rate};
use tracing::Span;

use super::conclude::conclude;
use super::providers::{self, Asked, sender_of};
use super::{Ready, Request, lease};
use crate::context::Context;
use crate::db;
use crate::mail::fate::{Answer, Fate};
use crate::plugins::DeliveryRef;
use crate::telemetry::Outage;
use crate::telemetry::metrics::MAIL_SECONDS;

/// How long the host waits for a plugin beyond the deadline it was given.
const GRACE: Duration = Duration::from_secs(2);
/// The longest an attempt may take, whatever a plugin asks for.
const PATIENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Asks the provider, records its answer, and renews the lease meanwhile. Returns whether the answer says
/// anything about the provider.
pub(super) async fn ask(
    cx: &Context,
    provider: &DeliveryRef,
    mut request: Request,
) -> db::Result<bool> {
    let call = request.call.take();
    let request = request;
    let done = async {
        cx.clock.sleep_until(request.slot).await;
        if let Some(batch) = &request.batch {
            Span::current().record("batch_id", tracing::field::display(batch.id));
        }
        let began = Instant::now();
        let sent = send(cx, provider, &request);
        let (answer, rate) = match call {
            Some(call) => call.run(sent).await,
            None => sent.await,
        };
        MAIL_SECONDS.took(&[provider.id()], began.elapsed());
        Span::current().record("outcome", answer.word());
        if let Some(rate) = rate {
            providers::note_rate(cx, provider.id(), rate).await;
        }
        let first = &request.mails[0].send;
        let asked = Asked {
            provider,
            sender: &sender_of(&first.mail.from),
            given: first.sender_given == Some(true),
            began: request.began,
            fresh: request.batch.is_none() && request.number == 1,
        };
        let telling = providers::note(cx, asked, &answer).await;
        conclude(cx, provider, &request, &answer).await?;
        Ok(telling)
    };
    tokio::select! {
        done = done => done,
        () = renew(cx, &request) => Ok(true),
    }
}

/// Renews the lease for as long as it is awaited.
async fn renew(cx: &Context, request: &Request) {
    let every = (cx.config.lease / 3).max(Duration::from_millis(100));
    let sends: Vec<_> = request
        .mails
        .iter()
        .map(|ready| (ready.send.id, ready.send.claim))
        .collect();
    let outage = Outage::new();
    loop {
        tokio::time::sleep(every).await;
        let until = cx.clock.now() + lease(cx);
        let renewed = async {
            let mut conn = cx.db.conn().await?;
            match &request.batch {
                Some(batch) => db::batch_renew(&mut conn, batch, until).await,
                None => db::sends_renew(&mut conn, &sends, until).await,
            }
        };
        if let Err(error) = renewed.await
            && let Some(failing) = outage.failed()
        {
            tracing::warn!(
                sends = sends.len(),
                failures = failing.failures,
                %error,
                "the lease of mails could not be renewed"
            );
        }
    }
}

async fn send(cx: &Context, provider: &DeliveryRef, request: &Request) -> (Answer, Option<Rate>) {
    let patience = patience(cx, provider);
    let deadline_ms = u64::try_from(patience.as_millis()).ok();
    let asked = async {
        if let Some(batch) = &request.batch {
            let mails = request.mails.iter().map(|ready| ready.prepared.clone());
            let number = request.number as u32;
            let mut attempt = BatchAttempt::new(batch.id.to_string(), mails.collect(), number);
            attempt.deadline_ms = deadline_ms;
            let sent = provider.send_batch(attempt).await?;
            return Ok((sent.outcome, sent.rate));
        }
        let Ready { send, prepared, .. } = &request.mails[0];
        let mut attempt = Attempt::new(
            send.idempotency_key.clone(),
            prepared.clone(),
            send.created_at,
            request.number as u32,
        );
        attempt.deadline_ms = deadline_ms;
        let sent = provider.send(attempt).await?;
        Ok((BatchOutcome::All(sent.outcome), sent.rate))
    };
    match tokio::time::timeout(patience + GRACE.min(patience), asked).await {
        Ok(Ok((outcome, rate))) => (Answer::of(outcome, request.mails.len()), rate),
        Ok(Err(error)) => (Answer::of_error(&error), None),
        Err(_) => {
            let reason = format!("no answer within {patience:?}");
            (Answer::All(Fate::Doubtful { reason }), None)
        }
    }
}

/// How long an attempt may take. The lease does not limit it, because it is renewed.
fn patience(cx: &Context, provider: &DeliveryRef) -> Duration {
    let asked = provider.capabilities().attempt_ms.unwrap_or(0);
    cx.config
        .attempt
        .max(Duration::from_millis(asked))
        .min(PATIENCE_MAX)
}
