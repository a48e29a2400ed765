//! Acme for Hogsend: reads Acme's webhooks into events.
//!
//! The webhooks in this file are made up. Replace them by those of your vendor, in this order:
//!
//! 1. `is_genuine`: how the vendor proves that a webhook is its own.
//! 2. `read`: which webhooks are events, and about whom.
//! 3. `manifest`: what the operator enters, and where it is at the vendor.
//!
//! `tests/promises.rs` imitates the vendor; change it with each step and run `cargo test`. Webhooks arrive at
//! `POST /v1/webhooks/acme`.
//!
//! A vendor with an ordinary signature and a simple mapping needs no plugin: a file in `WEBHOOK_DIR` does.

#![forbid(unsafe_code)]

use hogsend_plugin_api::chrono::{DateTime, Utc};
use hogsend_plugin_api::serde_json::Value;
use hogsend_plugin_api::{
    EventSource, Host, Manifest, Plugin, Reading, Refusal, Setting, Settings, SetupItem,
    SourceEvent, Webhook, export_plugin,
};

const WEBHOOK_SECRET: &str = "ACME_WEBHOOK_SECRET";

pub struct AcmePlugin {
    /// `None` in development. In production Hogsend refuses webhooks until it is set.
    secret: Option<String>,
}

impl Plugin for AcmePlugin {
    fn manifest() -> Manifest {
        Manifest::new("acme", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(WEBHOOK_SECRET, "the secret of the webhook, from Acme's settings")
                    .secret(),
            )
            .webhook_secret(WEBHOOK_SECRET)
            // `hogsend dev` shows it as a first webhook to try.
            .sample_webhook(
                r#"{"id":"{uuid}","type":"order.placed","at":"{now}","customer":{"email":"ann@example.com"}}"#,
            )
        // `.untrusted()` where strangers can make the vendor send events, for example by a public key.
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            secret: settings.get(WEBHOOK_SECRET).map(str::to_owned),
        })
    }

    /// `hogsend plugins setup` prints it.
    fn setup(&self) -> Vec<SetupItem> {
        vec![SetupItem::new(
            "Webhook URL",
            "{url}/v1/webhooks/acme",
            "Settings, Webhooks",
        )]
    }
}

impl AcmePlugin {
    /// A vendor that signs its webhooks needs more: a MAC over `webhook.body`, with the crates `hmac` and
    /// `sha2`, compared in constant time.
    fn is_genuine(&self, webhook: &Webhook) -> bool {
        match &self.secret {
            Some(secret) => webhook.header("x-acme-secret") == Some(secret),
            None => true,
        }
    }
}

impl EventSource for AcmePlugin {
    async fn read(&self, _: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        if !self.is_genuine(webhook) {
            return Err(Refusal::unauthorized());
        }
        // This reader replaces what Postgres cannot store, such as U+0000.
        let body: Value = hogsend_plugin_api::json::from_slice(webhook.body.as_slice())
            .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
        let text = |place: &str| {
            let text = body.pointer(place).and_then(Value::as_str)?;
            Some(text.to_owned()).filter(|text| !text.trim().is_empty())
        };
        let name = match text("/type").as_deref() {
            Some("order.placed") => "order.placed",
            Some("customer.created") => "user.created",
            other => {
                let kind = other.unwrap_or("no type");
                return Ok(Reading::skipped(format!("'{kind}' is of no interest")));
            }
        };
        let mut event = SourceEvent::new(name);
        // The vendor's id of the event: a webhook that arrives twice counts once.
        event.dedupe_key = text("/id");
        // Whom it is about: your product's id, an address, or the vendor's id of the person.
        event.user_id = text("/customer/external_id");
        event.email = text("/customer/email");
        let vendor_id = text("/customer/id");
        event.identities = vendor_id
            .map(|id| ("acme_customer".into(), id))
            .into_iter()
            .collect();
        if event.user_id.is_none() && event.email.is_none() && event.identities.is_empty() {
            return Err(Refusal::invalid(
                "customer needs an id, an external_id or an email",
            ));
        }
        // When it happened; left out, it is the time of receipt.
        event.occurred_at = text("/at").and_then(|at| at.parse::<DateTime<Utc>>().ok());
        // Journeys see these as properties of the event.
        if let Some(Value::Object(order)) = body.get("order") {
            event.properties = order.clone();
        }
        Ok(Reading::Events(vec![event]))
    }
}

export_plugin!(AcmePlugin: event_source);
