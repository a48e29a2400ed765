//! The conformance test of a provider that signs inside the body, with a key the host fetches.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, DeliveryEvent, DeliveryEventKind, DeliveryReading, Host,
    HttpMethod, HttpRequest, HttpResponse, Idempotency, Mail, Manifest, Plugin, Prepared, Refusal,
    SendOutcome, Sent, Setting, Settings, Webhook, export_plugin,
};
use hogsend_plugin_kit::delivery::{Hooks, Provider, Seen, Signed, conformance};
use serde_json::{Value, json};

const SECRET: &str = "whisper-0123456789";

/// Its fault is to look at the signature's presence alone.
struct Inside {
    secret: String,
    trusting: bool,
}

impl Plugin for Inside {
    fn manifest() -> Manifest {
        Manifest::new("inside", "1.0.0")
            .setting(Setting::new("INSIDE_SECRET", "of the webhook").secret())
            .setting(Setting::new("INSIDE_TRUSTING", "what to do wrong"))
            .webhook_secret("INSIDE_SECRET")
            .http_host("inside.example")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let secret = settings.get("INSIDE_SECRET").unwrap_or_default();
        Ok(Self {
            secret: secret.to_owned(),
            trusting: settings.get("INSIDE_TRUSTING").is_some(),
        })
    }
}

/// What stands for a signature here.
fn signature(secret: &str, salt: &str, event: &Value) -> String {
    let mut sum = 0_u64;
    for byte in format!("{secret}.{salt}.{event}").bytes() {
        sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    }
    sum.to_string()
}

impl Delivery for Inside {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Idempotency::None)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        for (what, text) in [("sender", &mail.from), ("recipient", &mail.to)] {
            if text.trim().is_empty() {
                return Err(format!("the mail has no {what}"));
            }
        }
        Ok(Prepared::new("application/json", json!(mail).to_string()))
    }

    async fn send(&self, _: Host, _: Attempt) -> Sent {
        SendOutcome::blocked("this test sends nothing").into()
    }

    async fn read_webhook(
        &self,
        host: &Host,
        webhook: &Webhook,
    ) -> Result<DeliveryReading, Refusal> {
        let body: Value = webhook_json(webhook)?;
        let Some(given) = body["signature"].as_str() else {
            return Err(Refusal::unauthorized_because("it has no signature"));
        };
        let salt = HttpRequest::new(HttpMethod::Get, "https://inside.example/salt");
        let salt = host.http(salt).await.map_err(|_| Refusal::unauthorized())?;
        let salt = salt.body.text_lossy().into_owned();
        if given != signature(&self.secret, &salt, &body["event"]) && !self.trusting {
            return Err(Refusal::unauthorized_because(
                "its signature does not match",
            ));
        }
        let id = match (&body["event"]["delivered"], &body["event"]) {
            (Value::String(id), _) => id.clone(),
            (_, Value::Object(_)) => return Ok(DeliveryReading::skipped("about no mail")),
            _ => return Err(Refusal::invalid("event is required")),
        };
        let mut event = DeliveryEvent::new(DeliveryEventKind::Delivered, webhook.received_at);
        event.dedupe_key = Some(id.clone());
        event.message_id = Some(id);
        Ok(DeliveryReading::Events(vec![event]))
    }
}

/// What is not JSON has no signature either.
fn webhook_json(webhook: &Webhook) -> Result<Value, Refusal> {
    serde_json::from_slice(webhook.body.as_slice()).map_err(|_| Refusal::unauthorized())
}

export_plugin!(Inside: delivery);

fn check(settings: Settings) {
    conformance::<Inside>(&Provider {
        settings,
        contents: |body| {
            let mail: Mail = serde_json::from_slice(body.as_slice()).unwrap();
            vec![Seen {
                from: mail.from,
                to: mail.to,
                reply_to: mail.reply_to,
                subject: mail.subject,
                html: mail.html,
                text: mail.text,
                headers: mail.headers,
            }]
        },
        http: None,
        hooks: Some(Hooks {
            sign: |body: &[u8], _: DateTime<Utc>| match serde_json::from_slice::<Value>(body) {
                Ok(event) => {
                    let signature = signature(SECRET, "salt", &event);
                    let signed = json!({ "event": event, "signature": signature });
                    Signed::new(Vec::new(), signed.to_string())
                }
                Err(_) => Signed::new(Vec::new(), body),
            },
            known: &[r#"{"delivered":"1"}"#, r#"{"delivered":"2"}"#],
            unknown: &[r#"{"domain":"created"}"#],
            host: |request| {
                assert_eq!(request.url, "https://inside.example/salt");
                HttpResponse::new(200, &[], "salt")
            },
        }),
    });
}

#[test]
fn a_plugin_whose_webhooks_are_signed_inside_passes() {
    check(Settings::from([("INSIDE_SECRET", SECRET)]));
}

#[test]
fn a_plugin_that_does_not_compare_signatures_is_found_out() {
    let settings = Settings::from([("INSIDE_SECRET", SECRET), ("INSIDE_TRUSTING", "yes")]);
    let caught = catch_unwind(AssertUnwindSafe(|| check(settings)));
    let panic = caught.unwrap_err();
    let said = panic.downcast_ref::<String>().map(String::as_str);
    assert!(
        said.is_some_and(|said| said.contains("signed with another secret is refused")),
        "{said:?}"
    );
}
