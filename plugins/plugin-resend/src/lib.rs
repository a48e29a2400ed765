//! Resend: sends mail through <https://resend.com> and reads its webhooks.

#![forbid(unsafe_code)]

mod answer;
mod batch;
mod body;
mod rate;
mod signature;
#[cfg(test)]
mod tests;
mod webhook;

use std::time::Duration;

use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Capabilities, CheckResult, Checked, Delivery,
    DeliveryReading, Host, HttpMethod, HttpRequest, Idempotency, Mail, Manifest, Plugin, Prepared,
    Refusal, SendOutcome, Sent, Setting, Settings, Webhook, export_plugin,
};

use rate::rate;
use signature::Signature;

const API_KEY: &str = "RESEND_API_KEY";
const BASE_URL: &str = "RESEND_BASE_URL";
const WEBHOOK_SECRET: &str = "RESEND_WEBHOOK_SECRET";
const PREVIOUS_SECRET: &str = "RESEND_WEBHOOK_SECRET_PREVIOUS";
const FROM: &str = "RESEND_FROM_EMAIL";

const DEFAULT_BASE_URL: &str = "https://api.resend.com";

/// Resend refuses requests without a user agent.
const USER_AGENT: &str = concat!("hogsend-plugin-resend/", env!("CARGO_PKG_VERSION"));

/// Resend remembers a key for 24 hours after the first request arrives; the host counts from the
/// start of the attempt. Half an hour less allows for clock differences and slow repeats.
const REMEMBERED_SECONDS: u64 = 24 * 3_600 - 30 * 60;

pub struct Resend {
    key: Option<String>,
    url: String,
    signature: Option<Signature>,
}

impl Plugin for Resend {
    fn manifest() -> Manifest {
        Manifest::new("resend", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "an API key (re_…) with sending access; create one at https://resend.com/api-keys",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(BASE_URL, "the URL of Resend's API")
                    .url()
                    .default(DEFAULT_BASE_URL),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, at a domain verified at https://resend.com/domains",
            ))
            .setting(
                Setting::new(
                    WEBHOOK_SECRET,
                    "the signing secret (whsec_…) of the webhook that points at /v1/webhooks/resend; see https://resend.com/webhooks",
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
            .http_host("$RESEND_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let key = settings.get(API_KEY).filter(|key| !key.is_empty());
        if key.is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(format!(
                "{API_KEY} contains a space or another character that no key has: copy it again"
            ));
        }
        let base = settings.get(BASE_URL).unwrap_or(DEFAULT_BASE_URL);
        let mut signature: Option<Signature> = None;
        for name in [WEBHOOK_SECRET, PREVIOUS_SECRET] {
            let Some(secret) = settings.get(name).filter(|secret| !secret.is_empty()) else {
                continue;
            };
            let added = match signature.take() {
                Some(signature) => signature.or(secret),
                None => Signature::new(secret),
            };
            signature = Some(added.map_err(|fix| format!("{name} {fix}"))?);
        }
        Ok(Self {
            signature,
            key: key.map(str::to_owned),
            url: format!("{}/emails", base.trim_end_matches('/')),
        })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        vec![self.check_key(host).await]
    }
}

/// What Resend says about a request that it does not allow.
#[derive(serde::Deserialize)]
struct Said {
    name: String,
}

/// What Resend answers to a key that may only send, when it is asked for something else
/// (<https://resend.com/docs/api-reference/errors>).
const SENDING_ONLY: &str = "restricted_api_key";

impl Resend {
    /// Whether the key works, by the list of domains.
    async fn check_key(&self, host: &Host) -> Checked {
        const WHAT: &str = "the API key";
        let Some(key) = &self.key else {
            return Checked::not_set(WHAT, API_KEY);
        };
        let url = format!("{}/domains", self.url.trim_end_matches("/emails"));
        let request = HttpRequest::new(HttpMethod::Get, &url)
            .header("authorization", &format!("Bearer {key}"))
            .header("user-agent", USER_AGENT)
            .timeout(Duration::from_secs(10));
        let Ok(answer) = host.http(request).await else {
            return Checked::unknown(WHAT);
        };
        let name = answer.json::<Said>().map(|said| said.name);
        let name = name.unwrap_or_default();
        match answer.status {
            200 => Checked::sound(WHAT),
            _ if name == SENDING_ONLY => {
                let detail = Some("it may only send".to_owned());
                Checked::new(WHAT, CheckResult::sound(detail))
            }
            status @ (400 | 401 | 403) => Checked::faulty(
                WHAT,
                format!("Resend answered {status} {name}"),
                format!("create a key at https://resend.com/api-keys and set {API_KEY} to it"),
            ),
            _ => Checked::unknown(WHAT),
        }
    }
}

impl Delivery for Resend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Idempotency::ForSeconds(REMEMBERED_SECONDS))
            .batches_of(batch::MAX)
            .rate(2, Duration::from_secs(1))
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(key) = &self.key else {
            return no_key().into();
        };
        let Attempt {
            idempotency_key,
            prepared,
            ..
        } = attempt;
        let request = request(&self.url, key, &idempotency_key)
            .header("content-type", &prepared.content_type)
            .body(prepared.body);
        match host.http(request).await {
            Ok(answer) => Sent::new(answer::outcome(&answer, key, host.now()), rate(&answer)),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn send_batch(&self, host: Host, batch: BatchAttempt) -> BatchSent {
        let Some(key) = &self.key else {
            return BatchOutcome::All(no_key()).into();
        };
        let url = format!("{}/batch", self.url);
        let request = request(&url, key, &batch.idempotency_key)
            .header("content-type", "application/json")
            // Resend then accepts the valid mails of a batch with an invalid one.
            .header("x-batch-validation", "permissive")
            // Resend compares the bytes when a key is used again.
            .body(batch.json_array());
        match host.http(request).await {
            Ok(answer) => BatchSent::new(
                batch::outcome(&answer, batch.mails.len(), key, host.now()),
                rate(&answer),
            ),
            Err(error) => BatchOutcome::All(error.into()).into(),
        }
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        webhook::read(self.signature.as_ref(), webhook)
    }
}

fn request(url: &str, key: &str, idempotency_key: &str) -> HttpRequest {
    HttpRequest::new(HttpMethod::Post, url)
        .header("authorization", &format!("Bearer {key}"))
        .header("idempotency-key", idempotency_key)
        .header("user-agent", USER_AGENT)
}

fn no_key() -> SendOutcome {
    SendOutcome::blocked(format!(
        "{API_KEY} is not set: create a key at https://resend.com/api-keys"
    ))
}

export_plugin!(Resend: delivery);
