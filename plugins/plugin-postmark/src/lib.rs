//! Postmark: sends mail through <https://postmarkapp.com> and reads its webhooks.

#![forbid(unsafe_code)]

mod answer;
mod batch;
mod body;
mod bounce;
mod secret;
#[cfg(test)]
mod tests;
mod webhook;

use hogsend_plugin_api::{
    Attempt, BatchAttempt, BatchOutcome, BatchSent, Capabilities, Delivery, DeliveryReading, Host,
    HttpMethod, HttpRequest, Idempotency, Mail, Manifest, Plugin, Prepared, Refusal, SendOutcome,
    Sent, Setting, Settings, Webhook, export_plugin,
};

use body::Streams;

const TOKEN: &str = "POSTMARK_SERVER_TOKEN";
const BASE_URL: &str = "POSTMARK_BASE_URL";
const STREAM: &str = "POSTMARK_STREAM";
const STREAM_TRANSACTIONAL: &str = "POSTMARK_TRANSACTIONAL_STREAM";
const FROM: &str = "POSTMARK_FROM";
const WEBHOOK_SECRET: &str = "POSTMARK_WEBHOOK_SECRET";
const PREVIOUS_SECRET: &str = "POSTMARK_WEBHOOK_SECRET_PREVIOUS";

const DEFAULT_BASE_URL: &str = "https://api.postmarkapp.com";
/// The ids of the two streams of a new server.
const DEFAULT_STREAM: &str = "broadcast";
const DEFAULT_STREAM_TRANSACTIONAL: &str = "outbound";

const USER_AGENT: &str = concat!("hogsend-plugin-postmark/", env!("CARGO_PKG_VERSION"));

pub struct Postmark {
    token: Option<String>,
    url: String,
    streams: Streams,
    /// The present one and the one before it.
    webhook_secrets: Vec<String>,
}

impl Plugin for Postmark {
    fn manifest() -> Manifest {
        Manifest::new("postmark", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    TOKEN,
                    "a server's API token, from its API Tokens page at https://account.postmarkapp.com/servers",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(BASE_URL, "the URL of Postmark's API")
                    .url()
                    .default(DEFAULT_BASE_URL),
            )
            .setting(
                Setting::new(STREAM, "the message stream for lifecycle mail, of the type broadcast")
                    .default(DEFAULT_STREAM),
            )
            .setting(
                Setting::new(
                    STREAM_TRANSACTIONAL,
                    "the message stream for mail of the category transactional",
                )
                .default(DEFAULT_STREAM_TRANSACTIONAL),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, confirmed at https://account.postmarkapp.com/signature_domains",
            ))
            .setting(
                Setting::new(
                    WEBHOOK_SECRET,
                    "the password, or user:password, of the basic auth of the webhook that points at /v1/webhooks/postmark",
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
            .http_host("$POSTMARK_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let get = |name| settings.get(name).filter(|value| !value.is_empty());
        let token = get(TOKEN);
        if token.is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic())) {
            return Err(format!(
                "{TOKEN} contains a space or another character that no token has: copy it again"
            ));
        }
        let base = get(BASE_URL).unwrap_or(DEFAULT_BASE_URL);
        Ok(Self {
            token: token.map(str::to_owned),
            url: format!("{}/email", base.trim_end_matches('/')),
            streams: Streams {
                lifecycle: get(STREAM).unwrap_or(DEFAULT_STREAM).to_owned(),
                transactional: get(STREAM_TRANSACTIONAL)
                    .unwrap_or(DEFAULT_STREAM_TRANSACTIONAL)
                    .to_owned(),
            },
            webhook_secrets: [WEBHOOK_SECRET, PREVIOUS_SECRET]
                .into_iter()
                .filter_map(get)
                .map(str::to_owned)
                .collect(),
        })
    }
}

impl Delivery for Postmark {
    fn capabilities(&self) -> Capabilities {
        // Postmark has no idempotency keys and states no rate limit.
        Capabilities::new(Idempotency::None).batches_of(batch::MAX)
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(&self.streams, mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(token) = &self.token else {
            return no_token().into();
        };
        let request = request(&self.url, token).body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, token, host.now()).into(),
            Err(error) => SendOutcome::from(error).into(),
        }
    }

    async fn send_batch(&self, host: Host, batch: BatchAttempt) -> BatchSent {
        let Some(token) = &self.token else {
            return BatchOutcome::All(no_token()).into();
        };
        let url = format!("{}/batch", self.url);
        let request = request(&url, token).body(batch.json_array());
        match host.http(request).await {
            Ok(answer) => batch::outcome(&answer, batch.mails.len(), token, host.now()).into(),
            Err(error) => BatchOutcome::All(error.into()).into(),
        }
    }

    async fn read_webhook(&self, _: &Host, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        webhook::read(&self.webhook_secrets, webhook)
    }
}

fn request(url: &str, token: &str) -> HttpRequest {
    HttpRequest::new(HttpMethod::Post, url)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", USER_AGENT)
        .header("x-postmark-server-token", token)
}

fn no_token() -> SendOutcome {
    SendOutcome::blocked(format!(
        "{TOKEN} is not set: copy one from the server's API Tokens page at https://account.postmarkapp.com/servers"
    ))
}

export_plugin!(Postmark: delivery);
