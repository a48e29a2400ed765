//! Mailgun: sends mail through <https://www.mailgun.com> and reads its webhooks.

#![forbid(unsafe_code)]

mod answer;
mod body;
mod event;
mod failure;
mod signature;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, DeliveryReading, Host, HttpMethod, HttpRequest, Idempotency,
    Mail, Manifest, Plugin, Prepared, Refusal, SendOutcome, Sent, Setting, Settings, SetupItem,
    Webhook, export_plugin, feature,
};

use signature::Signature;

const API_KEY: &str = "MAILGUN_API_KEY";
const DOMAIN: &str = "MAILGUN_DOMAIN";
const REGION: &str = "MAILGUN_REGION";
const BASE_URL: &str = "MAILGUN_BASE_URL";
const FROM: &str = "MAILGUN_FROM";
const SIGNING_KEY: &str = "MAILGUN_WEBHOOK_SIGNING_KEY";
const PREVIOUS_KEY: &str = "MAILGUN_WEBHOOK_SIGNING_KEY_PREVIOUS";

const USER_AGENT: &str = concat!("hogsend-plugin-mailgun/", env!("CARGO_PKG_VERSION"));

/// The regions, and where each one's API is. A domain exists in one region only.
const REGIONS: [(&str, &str); 2] = [
    ("us", "https://api.mailgun.net"),
    ("eu", "https://api.eu.mailgun.net"),
];

pub struct Mailgun {
    key: Option<String>,
    /// `None` without a domain.
    url: Option<String>,
    signature: Option<Signature>,
}

impl Plugin for Mailgun {
    fn manifest() -> Manifest {
        Manifest::new("mailgun", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "a domain sending key, from the domain's page at https://app.mailgun.com, Sending keys; or an API key of the account",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(
                    DOMAIN,
                    "the verified sending domain, such as mg.example.com, from https://app.mailgun.com, Sending, Domains",
                )
                .required(),
            )
            .setting(
                Setting::new(REGION, "the region of the domain: us or eu")
                    .default("us"),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, at the sending domain",
            ))
            .setting(
                Setting::new(
                    SIGNING_KEY,
                    "the HTTP webhook signing key (not an API key), from https://app.mailgun.com, API Security; it verifies the webhooks at /v1/webhooks/mailgun",
                )
                .secret(),
            )
            .setting(
                Setting::new(BASE_URL, "the URL of Mailgun's API, if it is not that of the region")
                    .url(),
            )
            .setting(
                Setting::new(
                    PREVIOUS_KEY,
                    "the signing key before it, while it is being changed",
                )
                .secret(),
            )
            .webhook_secret(SIGNING_KEY)
            .sender(FROM)
            .needs(feature::WEBHOOK_REQUESTS)
            .http_host("api.mailgun.net")
            .http_host("api.eu.mailgun.net")
            .http_host("$MAILGUN_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        for name in [API_KEY, SIGNING_KEY, PREVIOUS_KEY] {
            if get(name).is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
                return Err(format!(
                    "{name} contains a space or another character that no key has: copy it again"
                ));
            }
        }
        let region = get(REGION).unwrap_or("us").to_ascii_lowercase();
        let known = REGIONS.iter().find(|(name, _)| *name == region);
        let (_, default) = known.ok_or_else(|| {
            format!(
                "{REGION} is '{}': use us or eu, the region in which the domain was created",
                region.escape_debug()
            )
        })?;
        let base = get(BASE_URL).unwrap_or(default).trim_end_matches('/');
        let domain = get(DOMAIN).map(domain).transpose()?;
        Ok(Self {
            key: get(API_KEY).map(str::to_owned),
            url: domain.map(|domain| format!("{base}/v3/{domain}/messages")),
            signature: Signature::any([SIGNING_KEY, PREVIOUS_KEY].into_iter().filter_map(get))?,
        })
    }

    fn setup(&self) -> Vec<SetupItem> {
        let place = "https://app.mailgun.com, Sending, Webhooks, your domain, Add webhook";
        vec![
            SetupItem::new("URL", "{url}/v1/webhooks/mailgun", place),
            SetupItem::new(
                "Event type, each in turn",
                "Accepted messages, Delivered messages, Permanent failure, Temporary failure, Spam complaints, Unsubscribes",
                place,
            ),
            SetupItem::new(
                "Unsubscribes",
                "off",
                "https://app.mailgun.com, Sending, Domain settings, Tracking",
            ),
        ]
    }
}

/// A domain, which becomes a part of the URL's path.
fn domain(text: &str) -> Result<&str, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if text.contains('.') && !text.contains("..") && text.chars().all(allowed) {
        Ok(text)
    } else {
        Err(format!(
            "{DOMAIN} is '{}', which is not a domain: use its name alone, such as mg.example.com",
            text.escape_debug()
        ))
    }
}

impl Delivery for Mailgun {
    fn capabilities(&self) -> Capabilities {
        // Mailgun has no idempotency keys. Its batches are one content for many recipients, and one
        // bad address refuses them all.
        Capabilities::new(Idempotency::None)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(key) = &self.key else {
            return SendOutcome::blocked(format!(
                "{API_KEY} is not set: create a sending key on the domain's page at https://app.mailgun.com"
            ))
            .into();
        };
        let Some(url) = &self.url else {
            return SendOutcome::blocked(format!(
                "{DOMAIN} is not set: it is the sending domain, from https://app.mailgun.com, Sending, Domains"
            ))
            .into();
        };
        let basic = basic(key);
        let request = HttpRequest::new(HttpMethod::Post, url)
            .header("accept", "application/json")
            .header("authorization", &format!("Basic {basic}"))
            .header("content-type", &attempt.prepared.content_type)
            .header("user-agent", USER_AGENT)
            .body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, key, host.now()).into(),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn read_webhook(
        &self,
        host: &Host,
        webhook: &Webhook,
    ) -> Result<DeliveryReading, Refusal> {
        event::read(host, self.signature.as_ref(), webhook).await
    }
}

/// The key as basic authentication.
fn basic(key: &str) -> String {
    STANDARD.encode(format!("api:{key}"))
}

export_plugin!(Mailgun: delivery);
