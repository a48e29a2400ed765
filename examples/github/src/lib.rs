//! GitHub's webhooks: stars, issues and releases become events.
//!
//! GitHub signs the body (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>),
//! names the event in one header and gives each delivery an id in another. A redelivery has the same id.

#![forbid(unsafe_code)]

use hmac::{Hmac, Mac};
use hogsend_plugin_api::chrono::{DateTime, Utc};
use hogsend_plugin_api::serde_json::Value;
use hogsend_plugin_api::{
    EventSource, Host, Manifest, Plugin, Reading, Refusal, Setting, Settings, SetupItem,
    SourceEvent, Webhook, export_plugin, json,
};
use sha2::Sha256;

const SECRET: &str = "GITHUB_WEBHOOK_SECRET";

pub struct GitHub {
    /// `None` in development. In production Hogsend refuses webhooks until it is set.
    secret: Option<String>,
}

impl Plugin for GitHub {
    fn manifest() -> Manifest {
        Manifest::new("github", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(SECRET, "the secret of the webhook, as entered at GitHub").secret(),
            )
            .webhook_secret(SECRET)
            // Anyone may star a public repository and open issues in it.
            .untrusted()
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            secret: settings.get(SECRET).map(str::to_owned),
        })
    }

    fn setup(&self) -> Vec<SetupItem> {
        let place = "the repository's Settings, Webhooks, Add webhook";
        vec![
            SetupItem::new("Payload URL", "{url}/v1/webhooks/github", place),
            SetupItem::new("Content type", "application/json", place),
            SetupItem::new("Secret", "the value of GITHUB_WEBHOOK_SECRET", place),
        ]
    }
}

impl GitHub {
    fn verify(&self, webhook: &Webhook) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let given = webhook
            .header("x-hub-signature-256")
            .and_then(|value| hex::decode(value.strip_prefix("sha256=")?).ok())
            .ok_or_else(|| Refusal::unauthorized_because("it has no x-hub-signature-256"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|_| Refusal::unauthorized())?;
        mac.update(webhook.body.as_slice());
        // Compares in constant time.
        mac.verify_slice(&given).map_err(|_| {
            Refusal::unauthorized_because(format!("its signature is not one of {SECRET}"))
        })
    }
}

impl EventSource for GitHub {
    async fn read(&self, _: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        self.verify(webhook)?;
        let body: Value = json::from_slice(webhook.body.as_slice())
            .map_err(|error| Refusal::invalid(format!("the body is not valid JSON: {error}")))?;
        let text = |place: &str| {
            let text = body.pointer(place).and_then(Value::as_str)?;
            Some(text.to_owned()).filter(|text| !text.trim().is_empty())
        };
        let kind = webhook.header("x-github-event").unwrap_or_default();
        let action = text("/action").unwrap_or_default();
        let (name, time, about) = match (kind, action.as_str()) {
            ("star", "created") => ("github.starred", "/starred_at", "/repository/html_url"),
            ("issues", "opened") => (
                "github.issue_opened",
                "/issue/created_at",
                "/issue/html_url",
            ),
            ("release", "published") => (
                "github.released",
                "/release/published_at",
                "/release/html_url",
            ),
            _ => {
                let reason = format!("'{kind} {action}' is of no interest");
                return Ok(Reading::skipped(reason));
            }
        };
        // GitHub tells no address. The id finds a contact to whom your product has given it, as the identity
        // `github_user`; until then the event is stored, and creates no contact.
        let sender = body.pointer("/sender/id").and_then(Value::as_u64);
        let sender = sender.ok_or_else(|| Refusal::invalid("sender.id is required"))?;
        let mut event = SourceEvent::new(name);
        event.identities = vec![("github_user".into(), sender.to_string())];
        event.dedupe_key = webhook.header("x-github-delivery").map(str::to_owned);
        event.occurred_at = text(time).and_then(|at| at.parse::<DateTime<Utc>>().ok());
        for (property, place) in [
            ("repository", "/repository/full_name"),
            ("login", "/sender/login"),
            ("url", about),
            ("title", "/issue/title"),
            ("tag", "/release/tag_name"),
        ] {
            if let Some(value) = text(place) {
                event.properties.insert(property.into(), value.into());
            }
        }
        Ok(Reading::Events(vec![event]))
    }
}

export_plugin!(GitHub: event_source);
