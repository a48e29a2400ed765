//! The conformance test passes a correct plugin and names the fault of every faulty one.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Capabilities, Delivery, DeliveryEvent,
    DeliveryEventKind, DeliveryReading, Host, HttpMethod, HttpRequest, HttpResponse, Idempotency,
    Mail, Manifest, Plugin, Prepared, Refusal, SendOutcome, Sent, Setting, Settings, Webhook,
    export_plugin,
};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use serde_json::{Value, json};

const KEY: &str = "hush-0123456789";
const SECRET: &str = "whisper-0123456789";

/// A plugin with the fault that its settings name, or none.
struct Courier {
    key: Option<String>,
    secret: String,
    fault: String,
}

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
        })
    }
}

impl Delivery for Courier {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Idempotency::ForSeconds(3_600)).batches_of(10)
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
                    let message_id = ids.remove(0);
                    SendOutcome::accepted(message_id).into()
                }
                Ok(_) if self.has("takes any 200 for a yes") => SendOutcome::accepted("?").into(),
                Ok(_) => unknown().into(),
                Err(failure) => failure.into(),
            },
            Err(_) if self.has("repeats what was lost") => SendOutcome::retry("no answer").into(),
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
                Ok(ids) if ids.len() == size || self.has("counts no ids") => BatchOutcome::Each(
                    ids.into_iter()
                        .map(|message_id| SendOutcome::accepted(message_id))
                        .collect(),
                ),
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
        if proof != Some(self.secret.as_str()) && !self.has("believes every webhook") {
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
fn every_fault_is_named() {
    for (fault, claim) in [
        ("takes a mail to nobody", "without a sender is refused"),
        ("drops plus-addresses", "the recipient ann+1@example.com"),
        ("drops headers", "the header List-Unsubscribe is sent once"),
        ("drops unicode", "the subject is sent unchanged"),
        ("drops reply-to", "the reply-to help+ann@acme.example"),
        ("drops the text", "the text is sent unchanged"),
        ("drops quotes", "stays quoted"),
        (
            "forgets the idempotency key",
            "sends the key run-0198-step-3",
        ),
        ("puts its key into the URL", "stays out of URLs"),
        ("takes any 200 for a yes", "200 without an id"),
        (
            "repeats what was lost",
            "a lost answer leaves the mail in doubt",
        ),
        ("does not wait", "pauses that long"),
        ("does not pause", "a pause for every mail"),
        ("gives up on a refused key", "a refused key blocks mails"),
        ("gives up on a fault", "may have come after acceptance"),
        ("repeats its key", "stays out of what is reported of a mail"),
        ("turns batches around", "the recipient ann+1@example.com"),
        ("counts no ids", "an answer with 1 ids to two mails"),
        ("rejects whole batches", "goes apart"),
        ("asks without a key", "nothing is asked of"),
        ("believes every webhook", "without its secret is refused"),
        ("forgets the key of an event", "has a dedupe key"),
        ("skips garbage", "that cannot be read is invalid"),
        ("takes every kind", "an unknown kind is skipped"),
    ] {
        let caught = catch_unwind(AssertUnwindSafe(|| check(fault)));
        let panic = caught.expect_err(fault);
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        assert!(
            said.is_some_and(|said| said.contains(claim)),
            "a plugin that {fault}: {said:?}"
        );
    }
}
