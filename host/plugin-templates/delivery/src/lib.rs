//! Acme for Hogsend: sends mail through Acme's API and reads its webhooks.
//!
//! The API in this file is made up. Replace it by that of your provider, in this order:
//!
//! 1. `manifest`: the settings, and the hosts to which requests go.
//! 2. `prepare`: how a mail looks in the provider's API.
//! 3. `send` and `outcome`: what its answers mean. A wrong guess loses mail or sends it twice.
//! 4. `read_webhook`: how it signs webhooks, and what they say.
//!
//! `tests/promises.rs` imitates the provider; change it with each step and run `cargo test`.

#![forbid(unsafe_code)]

use hogsend_plugin_api::serde_json::{Value, json};
use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, DeliveryEvent, DeliveryEventKind, DeliveryReading, Host,
    HttpMethod, HttpRequest, HttpResponse, Idempotency, Mail, Manifest, Plugin, Prepared, Refusal,
    SendOutcome, Sent, Setting, Settings, Webhook, export_plugin,
};

const API_KEY: &str = "ACME_API_KEY";
const WEBHOOK_SECRET: &str = "ACME_WEBHOOK_SECRET";

pub struct AcmePlugin {
    /// `None` where the setting is missing. `new` runs all the same: the plugin may not be in use.
    key: Option<String>,
    secret: Option<String>,
}

impl Plugin for AcmePlugin {
    fn manifest() -> Manifest {
        Manifest::new("acme", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "an API key with the right to send, from Acme's settings",
                )
                .required()
                .secret(),
            )
            .setting(Setting::new(WEBHOOK_SECRET, "the secret of the webhook at Acme").secret())
            .webhook_secret(WEBHOOK_SECRET)
            // Requests to other hosts are refused.
            .http_host("api.acme.example")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).map(str::to_owned);
        Ok(Self {
            key: get(API_KEY),
            secret: get(WEBHOOK_SECRET),
        })
    }
}

impl Delivery for AcmePlugin {
    fn capabilities(&self) -> Capabilities {
        // How long the provider recognizes a mail that is sent again by its key. `Idempotency::None` where
        // it does not: Hogsend then never repeats a mail whose answer was lost.
        Capabilities::new(Idempotency::ForSeconds(24 * 60 * 60))
    }

    /// Freezes the bytes of a mail. They are stored, and sent as often as needed.
    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        for (what, address) in [("sender", &mail.from), ("recipient", &mail.to)] {
            if address.trim().is_empty() {
                return Err(format!("the mail has no {what}"));
            }
        }
        let headers = mail.headers.iter();
        let headers: Vec<Value> = headers
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let body = json!({
            "from": mail.from,
            "to": mail.to,
            "reply_to": mail.reply_to,
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
            "headers": headers,
            // A label that the webhooks repeat, so that a mail is found whose answer was lost.
            "reference": mail.id,
        });
        Ok(Prepared::new("application/json", body.to_string()))
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(key) = &self.key else {
            return SendOutcome::blocked(format!("{API_KEY} is not set")).into();
        };
        let request = HttpRequest::new(HttpMethod::Post, "https://api.acme.example/v1/messages")
            .header("authorization", &format!("Bearer {key}"))
            .header("content-type", &attempt.prepared.content_type)
            .header("idempotency-key", &attempt.idempotency_key)
            .body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => outcome(&answer, &host, key).into(),
            // Whether the mail may have been sent is known from the error.
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        // A provider that signs its webhooks needs more: check the signature over `webhook.body`.
        if webhook.header("x-acme-secret") != self.secret.as_deref() {
            return Err(Refusal::unauthorized());
        }
        let body: Value = hogsend_plugin_api::json::from_slice(webhook.body.as_slice())
            .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
        let kind = match body["type"].as_str() {
            Some("delivered") => DeliveryEventKind::Delivered,
            Some("complained") => DeliveryEventKind::Complained,
            // Add bounces: `DeliveryEventKind` says which kinds there are.
            other => {
                let reason = format!("'{}' is about no mail", other.unwrap_or("no type"));
                return Ok(DeliveryReading::skipped(reason));
            }
        };
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let (Some(id), Some(message_id)) = (text("id"), text("message_id")) else {
            return Err(Refusal::invalid("id and message_id are required"));
        };
        let mut event = DeliveryEvent::new(kind, webhook.received_at);
        event.dedupe_key = Some(id);
        event.message_id = Some(message_id);
        event.send_id = text("reference").and_then(|id| id.parse().ok());
        Ok(DeliveryReading::Events(vec![event]))
    }
}

/// What an answer says of the mail.
fn outcome(answer: &HttpResponse, host: &Host, key: &str) -> SendOutcome {
    let body: Value = answer.json().unwrap_or_default();
    let words = body["error"].as_str().unwrap_or_default();
    // A provider may repeat the key in its error, and reasons are shown.
    let reason = format!(
        "Acme answered {}: {}",
        answer.status,
        words.replace(key, "[key]")
    );
    match answer.status {
        200..=299 => match body["id"].as_str() {
            Some(id) => SendOutcome::accepted(id),
            None => SendOutcome::unknown("Acme accepted the mail without an id"),
        },
        // Nobody's mail is sent until someone acts.
        401 | 403 => SendOutcome::blocked(format!("{reason}; check {API_KEY}")),
        // Every mail waits.
        429 => SendOutcome::pause(reason).after(answer.retry_after_ms(host.now())),
        // The fault may have come after the mail was accepted.
        408 | 500.. => SendOutcome::unknown(reason),
        // This mail will never be accepted.
        _ => SendOutcome::rejected(reason),
    }
}

export_plugin!(AcmePlugin: delivery);
