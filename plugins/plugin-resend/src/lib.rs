//! Resend: mail out through <https://resend.com>.

#![forbid(unsafe_code)]

mod answer;
mod body;
mod rate;
#[cfg(test)]
mod tests;

use rate::rate;

use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, Host, HttpMethod, HttpRequest, Idempotency, Mail, Manifest,
    Plugin, Prepared, SendOutcome, Sent, Setting, Settings, export_plugin,
};

const API_KEY: &str = "RESEND_API_KEY";
const BASE_URL: &str = "RESEND_BASE_URL";
const FROM: &str = "RESEND_FROM_EMAIL";

const DEFAULT_BASE_URL: &str = "https://api.resend.com";

/// Resend turns away requests that do not say who makes them.
const USER_AGENT: &str = concat!("hogsend-plugin-resend/", env!("CARGO_PKG_VERSION"));

/// Resend remembers a key for 24 hours from when the first request arrived, the host counts from
/// when it began. The half hour between covers clocks that differ and a repeat that travels long.
const REMEMBERED_SECONDS: u64 = 24 * 3_600 - 30 * 60;

pub struct Resend {
    key: Option<String>,
    url: String,
}

impl Plugin for Resend {
    fn manifest() -> Manifest {
        Manifest::new("resend", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "an API key (re_…) that may send; make one at https://resend.com/api-keys",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(BASE_URL, "where Resend's API is")
                    .url()
                    .default(DEFAULT_BASE_URL),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, Name <address>, at a domain verified at https://resend.com/domains",
            ))
            .sender(FROM)
            .http_host("$RESEND_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let key = settings.get(API_KEY).filter(|key| !key.is_empty());
        if key.is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(format!(
                "{API_KEY} holds a space or another character no key has: copy it again"
            ));
        }
        let base = settings.get(BASE_URL).unwrap_or(DEFAULT_BASE_URL);
        Ok(Self {
            key: key.map(str::to_owned),
            url: format!("{}/emails", base.trim_end_matches('/')),
        })
    }
}

impl Delivery for Resend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Idempotency::ForSeconds(REMEMBERED_SECONDS))
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> Sent {
        let Some(key) = &self.key else {
            return SendOutcome::Blocked {
                reason: format!("{API_KEY} is not set: make a key at https://resend.com/api-keys"),
                retry_after_ms: None,
            }
            .into();
        };
        let request = HttpRequest::new(HttpMethod::Post, &self.url)
            .header("authorization", &format!("Bearer {key}"))
            .header("content-type", &attempt.prepared.content_type)
            .header("idempotency-key", &attempt.idempotency_key)
            .header("user-agent", USER_AGENT)
            .body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => Sent {
                outcome: answer::outcome(&answer, key, host.now()),
                rate: rate(&answer),
            },
            Err(error) => SendOutcome::from(error).into(),
        }
    }
}

export_plugin!(Resend: delivery);
