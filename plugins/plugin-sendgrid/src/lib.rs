//! SendGrid: sends mail through <https://sendgrid.com> and reads its event webhooks.

#![forbid(unsafe_code)]

mod answer;
mod body;
mod signature;
#[cfg(test)]
mod tests;
mod webhook;

use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, DeliveryReading, Host, HttpMethod, HttpRequest, Idempotency,
    Mail, Manifest, Plugin, Prepared, Refusal, SendOutcome, Sent, Setting, Settings, Webhook,
    export_plugin,
};

use body::Pools;
use signature::Signature;

const API_KEY: &str = "SENDGRID_API_KEY";
const BASE_URL: &str = "SENDGRID_BASE_URL";
const FROM: &str = "SENDGRID_FROM_EMAIL";
const POOL: &str = "SENDGRID_IP_POOL";
const POOL_TRANSACTIONAL: &str = "SENDGRID_IP_POOL_TRANSACTIONAL";
const VERIFICATION_KEY: &str = "SENDGRID_WEBHOOK_VERIFICATION_KEY";
const PREVIOUS_KEY: &str = "SENDGRID_WEBHOOK_VERIFICATION_KEY_PREVIOUS";

const DEFAULT_BASE_URL: &str = "https://api.sendgrid.com";

const USER_AGENT: &str = concat!("hogsend-plugin-sendgrid/", env!("CARGO_PKG_VERSION"));

pub struct SendGrid {
    key: Option<String>,
    url: String,
    pools: Pools,
    /// Of the present verification key, and of the one before it.
    signatures: Vec<Signature>,
}

impl Plugin for SendGrid {
    fn manifest() -> Manifest {
        Manifest::new("sendgrid", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "an API key with the access Mail Send, from https://app.sendgrid.com/settings/api_keys",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(
                    BASE_URL,
                    "the URL of SendGrid's API; https://api.eu.sendgrid.com for a subuser in the EU",
                )
                .url()
                .default(DEFAULT_BASE_URL),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, at a domain authenticated at https://app.sendgrid.com/settings/sender_auth",
            ))
            .setting(Setting::new(
                POOL,
                "the pool of dedicated IP addresses that mail is sent from, from https://app.sendgrid.com/settings/ip_addresses",
            ))
            .setting(Setting::new(
                POOL_TRANSACTIONAL,
                "the pool for mail of the category transactional; by default that of SENDGRID_IP_POOL",
            ))
            // A public key: it verifies signatures and cannot make them.
            .setting(Setting::new(
                VERIFICATION_KEY,
                "the verification key of the signed event webhook that points at /v1/webhooks/sendgrid, from https://app.sendgrid.com/settings/mail_settings/webhook_settings",
            ))
            .setting(Setting::new(
                PREVIOUS_KEY,
                "the verification key before it, while it is being changed",
            ))
            .webhook_secret(VERIFICATION_KEY)
            .sender(FROM)
            .http_host("$SENDGRID_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        let key = get(API_KEY);
        if key.is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(format!(
                "{API_KEY} contains a space or another character that no key has: copy it again"
            ));
        }
        let mut signatures = Vec::new();
        for name in [VERIFICATION_KEY, PREVIOUS_KEY] {
            let signature = get(name).map(Signature::new).transpose();
            signatures.extend(signature.map_err(|fix| format!("{name} {fix}"))?);
        }
        let base = get(BASE_URL).unwrap_or(DEFAULT_BASE_URL);
        Ok(Self {
            signatures,
            key: key.map(str::to_owned),
            url: format!("{}/v3/mail/send", base.trim_end_matches('/')),
            pools: Pools {
                lifecycle: get(POOL).map(str::to_owned),
                transactional: get(POOL_TRANSACTIONAL).or(get(POOL)).map(str::to_owned),
            },
        })
    }
}

impl Delivery for SendGrid {
    fn capabilities(&self) -> Capabilities {
        // SendGrid has no idempotency keys. Recipients of one request share its content, so each mail
        // needs a request of its own.
        Capabilities::new(Idempotency::None)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(&self.pools, mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(key) = &self.key else {
            return SendOutcome::blocked(format!(
                "{API_KEY} is not set: create a key at https://app.sendgrid.com/settings/api_keys"
            ))
            .into();
        };
        let request = HttpRequest::new(HttpMethod::Post, &self.url)
            .header("authorization", &format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("user-agent", USER_AGENT)
            .body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, key, host.now()).into(),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        webhook::read(&self.signatures, webhook)
    }
}

export_plugin!(SendGrid: delivery);
