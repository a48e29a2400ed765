//! Brevo: sends mail through <https://www.brevo.com> and reads its transactional webhooks.

#![forbid(unsafe_code)]

mod answer;
mod body;
mod key;
mod secret;
#[cfg(test)]
mod tests;
mod webhook;

use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, DeliveryReading, Host, HttpMethod, HttpRequest, Idempotency,
    Mail, Manifest, Plugin, Prepared, Refusal, SendOutcome, Sent, Setting, Settings, Webhook,
    export_plugin,
};

const API_KEY: &str = "BREVO_API_KEY";
const BASE_URL: &str = "BREVO_BASE_URL";
const FROM: &str = "BREVO_FROM_EMAIL";
const WEBHOOK_SECRET: &str = "BREVO_WEBHOOK_SECRET";
const PREVIOUS_SECRET: &str = "BREVO_WEBHOOK_SECRET_PREVIOUS";

const DEFAULT_BASE_URL: &str = "https://api.brevo.com";

/// How long Brevo surely recognises an idempotency key. It documents 30 minutes, and 15 minutes in an
/// older place (<https://developers.brevo.com/docs/heterogenous-versions-batch-emails>).
const REMEMBERED_SECONDS: u64 = 15 * 60;

const USER_AGENT: &str = concat!("hogsend-plugin-brevo/", env!("CARGO_PKG_VERSION"));

pub struct Brevo {
    key: Option<String>,
    url: String,
    /// The present one and the one before it.
    webhook_secrets: Vec<String>,
}

impl Plugin for Brevo {
    fn manifest() -> Manifest {
        Manifest::new("brevo", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "an API key (xkeysib-…, not an SMTP key), from https://app.brevo.com/settings/keys/api",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(BASE_URL, "the URL of Brevo's API")
                    .url()
                    .default(DEFAULT_BASE_URL),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, at a domain authenticated at https://app.brevo.com/senders/domain/list",
            ))
            .setting(
                Setting::new(
                    WEBHOOK_SECRET,
                    "the token, the password or user:password with which the webhook that points at /v1/webhooks/brevo authenticates",
                )
                .secret(),
            )
            .setting(
                Setting::new(
                    PREVIOUS_SECRET,
                    "the secret before it, while the webhook is being changed",
                )
                .secret(),
            )
            .webhook_secret(WEBHOOK_SECRET)
            .sender(FROM)
            .http_host("$BREVO_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        let key = get(API_KEY);
        if key.is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(format!(
                "{API_KEY} contains a space or another character that no key has: copy it again"
            ));
        }
        let base = get(BASE_URL).unwrap_or(DEFAULT_BASE_URL);
        Ok(Self {
            key: key.map(str::to_owned),
            url: format!("{}/v3/smtp/email", base.trim_end_matches('/')),
            webhook_secrets: [WEBHOOK_SECRET, PREVIOUS_SECRET]
                .into_iter()
                .filter_map(get)
                .map(str::to_owned)
                .collect(),
        })
    }
}

impl Delivery for Brevo {
    fn capabilities(&self) -> Capabilities {
        // No batches: `messageVersions` share one sender, Brevo does not document headers of their
        // own for them, which `List-Unsubscribe` needs, and one bad address refuses the request. A
        // request for each mail is fast enough: Brevo allows 1,000 a second.
        Capabilities::new(Idempotency::ForSeconds(REMEMBERED_SECONDS))
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(api_key) = &self.key else {
            return SendOutcome::blocked(format!(
                "{API_KEY} is not set: create a key at https://app.brevo.com/settings/keys/api"
            ))
            .into();
        };
        let key = key::of(&attempt.idempotency_key);
        let body = match body::under_key(&attempt.prepared, key) {
            Ok(body) => body,
            Err(reason) => return SendOutcome::rejected(reason).into(),
        };
        let request = HttpRequest::new(HttpMethod::Post, &self.url)
            .header("accept", "application/json")
            .header("api-key", api_key)
            .header("content-type", "application/json")
            .header("user-agent", USER_AGENT)
            .body(body);
        match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, key, api_key, host.now()).into(),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        webhook::read(&self.webhook_secrets, webhook)
    }
}

export_plugin!(Brevo: delivery);
