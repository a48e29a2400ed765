//! The conformance test passes a correct delivery plugin and names the promise that a faulty one breaks.

#![forbid(unsafe_code)]

mod report;

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Capabilities, Delivery, DeliveryEvent,
    DeliveryEventKind, DeliveryReading, Host, HttpMethod, HttpRequest, HttpResponse, Idempotency,
    Mail, Manifest, Plugin, Prepared, Refusal, SendOutcome, Sent, Setting, Settings, Webhook,
    export_plugin,
};
use hogsend_plugin_kit::delivery::{
    Hooks, Http, PROMISES, Provider, Seen, Signed, conformance, no_host,
};
use serde_json::{Value, json};

const KEY: &str = "hush-0123456789";
const SECRET: &str = "whisper-0123456789";

/// A plugin with the fault that its settings name, or none.
struct Courier {
    key: Option<String>,
    secret: String,
    fault: String,
    number: u32,
}

static INSTANCES: AtomicU32 = AtomicU32::new(0);

impl Courier {
    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }
}

impl Plugin for Courier {
    fn manifest() -> Manifest {
        Manifest::new("courier", "1.0.0")
            .setting(Setting::new("COURIER_KEY", "a key").required().secret())
            .setting(Setting::new("COURIER_SECRET", "of the webhook").secret())
            .setting(Setting::new("COURIER_FAULT", "what to do wrong"))
            .webhook_secret("COURIER_SECRET")
            .http_host("courier.example")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).map(str::to_owned);
        Ok(Self {
            key: get("COURIER_KEY"),
            secret: get("COURIER_SECRET").unwrap_or_default(),
            fault: get("COURIER_FAULT").unwrap_or_default(),
            number: INSTANCES.fetch_add(1, Ordering::Relaxed),
        })
    }
}

impl Delivery for Courier {
    fn capabilities(&self) -> Capabilities {
        let more = if self.has("has larger batches each time") {
            self.number
        } else {
            0
        };
        Capabilities::new(Idempotency::ForSeconds(3_600)).batches_of(10 + more)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        for (what, text) in [("sender", &mail.from), ("recipient", &mail.to)] {
            if text.trim().is_empty() && !self.has("takes a mail to nobody") {
                return Err(format!("the mail has no {what}"));
            }
        }
        let mut body = json!(mail);
        match self.fault.as_str() {
            "drops plus-addresses" => body["to"] = json!("ann@example.com"),
            "drops headers" => body["headers"] = json!([]),
            "drops unicode" => body["subject"] = json!(mail.subject.replace('é', "e")),
            "drops reply-to" => body["reply_to"] = Value::Null,
            "drops the text" => body["text"] = json!(""),
            "numbers its mails" => body["number"] = json!(self.number),
            "drops quotes" => body["from"] = json!(mail.from.replace('"', "")),
            _ => {}
        }
        Ok(Prepared::new("application/json", body.to_string()))
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(request) = self.request("mail", &attempt.idempotency_key) else {
            return no_key().into();
        };
        match host.http(request.body(attempt.prepared.body)).await {
            Ok(answer) => match self.ids(&answer) {
                Ok(mut ids) if ids.len() == 1 => {
                    let given = ids.remove(0);
                    let message_id = match self.has("invents ids") {
                        true => "mine".into(),
                        false => given,
                    };
                    SendOutcome::accepted(message_id).into()
                }
                Ok(_) if self.has("takes any 200 for a yes") => SendOutcome::accepted("?").into(),
                Ok(_) => unknown().into(),
                Err(failure) => failure.into(),
            },
            Err(_) if self.has("repeats what was lost") => SendOutcome::retry("no answer").into(),
            Err(_) if self.has("fears every missing answer") => unknown().into(),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn send_batch(&self, host: Host, mut batch: BatchAttempt) -> BatchSent {
        let Some(request) = self.request("batch", &batch.idempotency_key) else {
            return BatchOutcome::All(no_key()).into();
        };
        if self.has("turns batches around") {
            batch.mails.reverse();
        }
        let size = batch.mails.len();
        let outcome = match host.http(request.body(batch.json_array())).await {
            Ok(answer) => match self.ids(&answer) {
                Ok(ids) if ids.len() == size || self.has("counts no ids") => {
                    BatchOutcome::Each(ids.into_iter().map(SendOutcome::accepted).collect())
                }
                Ok(_) => BatchOutcome::All(unknown()),
                Err(SendOutcome::Rejected { reason, .. }) if !self.has("rejects whole batches") => {
                    BatchOutcome::apart(reason)
                }
                Err(failure) => BatchOutcome::All(failure),
            },
            Err(error) => BatchOutcome::All(error.into()),
        };
        outcome.into()
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        let proof = webhook.header("x-secret");
        let half = proof.is_some_and(|proof| proof.starts_with(&self.secret[..4]));
        let passes = self.has("believes every webhook") || self.has("looks at the start") && half;
        if proof != Some(self.secret.as_str()) && !passes {
            return Err(Refusal::unauthorized());
        }
        let invalid = |details: &str| Refusal::invalid(details);
        let body: Value = match serde_json::from_slice(webhook.body.as_slice()) {
            Ok(body) => body,
            Err(_) if self.has("skips garbage") => Value::Null,
            Err(_) => return Err(invalid("the body is not valid JSON")),
        };
        if body["kind"] != "delivered" && !self.has("takes every kind") {
            return Ok(DeliveryReading::skipped("about no mail"));
        }
        let id = body["id"].as_str().unwrap_or("?").to_owned();
        let mut event = DeliveryEvent::new(DeliveryEventKind::Delivered, webhook.received_at);
        if !self.has("forgets the key of an event") {
            event.dedupe_key = Some(format!("delivered:{id}"));
        }
        event.message_id = Some(id);
        Ok(DeliveryReading::Events(vec![event]))
    }
}

impl Courier {
    fn request(&self, path: &str, key: &str) -> Option<HttpRequest> {
        let secret = match &self.key {
            Some(secret) => secret,
            None if self.has("asks without a key") => "none",
            None => return None,
        };
        let mut url = format!("https://courier.example/{path}");
        if self.has("puts its key into the URL") {
            url += &format!("?key={secret}");
        }
        let request = HttpRequest::new(HttpMethod::Post, url).header("x-key", secret);
        let sent = !self.has("forgets the idempotency key");
        Some(match sent {
            true => request.header("idempotency-key", key),
            false => request,
        })
    }

    /// The ids in an answer, or the outcome it means.
    fn ids(&self, answer: &HttpResponse) -> Result<Vec<String>, SendOutcome> {
        let said: Value = answer.json().unwrap_or_default();
        if answer.status == 200 {
            return Ok(serde_json::from_value(said["ids"].clone()).unwrap_or_default());
        }
        let words = said["error"].as_str().unwrap_or_default();
        let reason = match self.has("repeats its key") {
            true => words.to_owned(),
            false => words.replace(self.key.as_deref().unwrap_or_default(), "[key]"),
        };
        // The kit's clock does not move while it judges one answer.
        let wait = answer.retry_after_ms(DateTime::UNIX_EPOCH);
        Err(match answer.status {
            401 if !self.has("gives up on a refused key") => SendOutcome::blocked(reason),
            429 => {
                let limited = match self.has("does not pause") {
                    true => SendOutcome::retry(reason),
                    false => SendOutcome::pause(reason),
                };
                limited.after(wait.filter(|_| !self.has("does not wait")))
            }
            500..=599 if !self.has("gives up on a fault") => SendOutcome::unknown(reason),
            422 if self.has("keeps a refused mail") => SendOutcome::blocked(reason),
            _ => SendOutcome::rejected(reason),
        })
    }
}

fn no_key() -> SendOutcome {
    SendOutcome::blocked("COURIER_KEY is not set")
}

fn unknown() -> SendOutcome {
    SendOutcome::unknown("an answer without ids")
}

export_plugin!(Courier: delivery);

fn check(fault: &str) {
    conformance::<Courier>(&Provider {
        settings: Settings::from([
            ("COURIER_KEY", KEY),
            ("COURIER_SECRET", SECRET),
            ("COURIER_FAULT", fault),
        ]),
        contents: |body| match serde_json::from_slice(body.as_slice()).unwrap() {
            Value::Array(all) => all.iter().map(seen).collect(),
            one => vec![seen(&one)],
        },
        http: Some(Http {
            accepted: |ids| answer(200, &json!({ "ids": ids })),
            failure: |status, words| answer(status, &json!({ "error": words })),
        }),
        hooks: Some(Hooks {
            sign: |body: &[u8], _: DateTime<Utc>| {
                Signed::new(vec![("x-secret".into(), SECRET.into())], body)
            },
            known: &[
                r#"{"kind":"delivered","id":"1"}"#,
                r#"{"kind":"delivered","id":"2"}"#,
            ],
            unknown: &[r#"{"kind":"domain.created"}"#],
            host: no_host,
        }),
    });
}

fn seen(body: &Value) -> Seen {
    let mail: Mail = serde_json::from_value(body.clone()).unwrap();
    Seen {
        from: mail.from,
        to: mail.to,
        reply_to: mail.reply_to,
        subject: mail.subject,
        html: mail.html,
        text: mail.text,
        headers: mail.headers,
    }
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, &[], body.to_string())
}

#[test]
fn a_sound_plugin_passes() {
    check("");
}

#[test]
fn every_broken_promise_is_named() {
    let faults = [
        (
            "has larger batches each time",
            "capabilities",
            "the same for every instance",
        ),
        ("numbers its mails", "same-bytes", "the same bytes"),
        (
            "takes a mail to nobody",
            "sender-and-recipient",
            "without a sender is refused",
        ),
        (
            "drops plus-addresses",
            "whole-mail",
            "the recipient ann+1@example.com",
        ),
        (
            "drops headers",
            "whole-mail",
            "the header List-Unsubscribe is sent once",
        ),
        (
            "drops unicode",
            "whole-mail",
            "the subject is sent unchanged",
        ),
        (
            "drops reply-to",
            "whole-mail",
            "the reply-to help+ann@acme.example",
        ),
        ("drops the text", "whole-mail", "the text is sent unchanged"),
        ("drops quotes", "quoted-names", "stays quoted"),
        ("invents ids", "accepted", "the provider's id"),
        (
            "forgets the idempotency key",
            "idempotency-key",
            "sends the key run-0198-step-3",
        ),
        (
            "puts its key into the URL",
            "secrets",
            "a URL contains a secret",
        ),
        (
            "takes any 200 for a yes",
            "answer-without-id",
            "200 without an id",
        ),
        (
            "repeats what was lost",
            "lost-answer",
            "leaves the mail in doubt",
        ),
        (
            "repeats what was lost",
            "refused-request",
            "waits for a fix",
        ),
        (
            "fears every missing answer",
            "no-connection",
            "a refused connection is retried",
        ),
        ("does not wait", "rate-limit", "pauses that long"),
        ("does not pause", "rate-limit", "a pause for every mail"),
        (
            "gives up on a refused key",
            "refused-key",
            "a refused key blocks mails",
        ),
        ("keeps a refused mail", "refused-mail", "is rejected"),
        (
            "gives up on a fault",
            "provider-fault",
            "may have come after acceptance",
        ),
        (
            "repeats its key",
            "secrets",
            "the result of a call contains a secret",
        ),
        (
            "turns batches around",
            "batch-order",
            "the recipient ann+1@example.com",
        ),
        (
            "counts no ids",
            "batch-ids",
            "an answer with 1 ids to two mails",
        ),
        ("rejects whole batches", "refused-batch", "goes apart"),
        (
            "asks without a key",
            "missing-settings",
            "nothing is asked of",
        ),
        (
            "believes every webhook",
            "unsigned-webhook",
            "without its secret is refused",
        ),
        (
            "looks at the start",
            "other-secret",
            "another secret is refused",
        ),
        (
            "forgets the key of an event",
            "event-keys",
            "has a dedupe key",
        ),
        (
            "skips garbage",
            "unreadable-webhook",
            "that cannot be read is invalid",
        ),
        (
            "takes every kind",
            "other-webhooks",
            "an unknown kind is skipped",
        ),
    ];
    report::every_promise_is_checked(&[&PROMISES], &faults, check);
}
