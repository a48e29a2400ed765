//! Resend: mail out through <https://resend.com>.

#![forbid(unsafe_code)]

mod answer;
mod body;

use hogsend_plugin_api::{
    Attempt, Capabilities, Delivery, Host, HttpErrorKind, HttpMethod, HttpRequest, Idempotency,
    Mail, Manifest, Plugin, Prepared, SendOutcome, Setting, Settings, export_plugin,
};

const API_KEY: &str = "RESEND_API_KEY";
const BASE_URL: &str = "RESEND_BASE_URL";
const FROM: &str = "RESEND_FROM_EMAIL";

/// Resend remembers a key for 24 hours from the request's arrival. The margin covers clocks that
/// differ and attempts that travel for a while.
const REMEMBERED: u64 = 23 * 3_600 + 30 * 60;

pub struct Resend {
    key: String,
    url: String,
}

impl Plugin for Resend {
    fn manifest() -> Manifest {
        Manifest::new("resend", env!("CARGO_PKG_VERSION"))
            .setting(
                Setting::new(
                    API_KEY,
                    "an API key that may send; make one at https://resend.com/api-keys",
                )
                .required()
                .secret(),
            )
            .setting(
                Setting::new(BASE_URL, "where the API is")
                    .url()
                    .default("https://api.resend.com"),
            )
            .setting(Setting::new(
                FROM,
                "the default sender, at a domain you verified with Resend",
            ))
            .sender(FROM)
            .http_host("$RESEND_BASE_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let key = settings.get(API_KEY).unwrap_or_default();
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!(
                "{API_KEY} holds characters no key has: copy it again"
            ));
        }
        let base = settings
            .get(BASE_URL)
            .unwrap_or_default()
            .trim_end_matches('/');
        Ok(Self {
            key: key.to_owned(),
            url: format!("{base}/emails"),
        })
    }
}

impl Delivery for Resend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotency: Idempotency::ForSeconds(REMEMBERED),
        }
    }

    fn prepare(&self, mail: &Mail) -> Result<Prepared, String> {
        body::prepare(mail)
    }

    async fn send(&self, host: Host, attempt: Attempt) -> SendOutcome {
        let request = HttpRequest::new(HttpMethod::Post, &self.url)
            .header("authorization", &format!("Bearer {}", self.key))
            .header("content-type", &attempt.prepared.content_type)
            .header("idempotency-key", &attempt.idempotency_key)
            .body(attempt.prepared.body);
        match host.http(request).await {
            Ok(answer) => answer::outcome(&answer, host.now()),
            Err(error) => match error.kind {
                HttpErrorKind::Connect => SendOutcome::Retry {
                    reason: error.message,
                    retry_after_ms: None,
                    pause: false,
                },
                HttpErrorKind::Lost => SendOutcome::Unknown {
                    reason: error.message,
                },
                HttpErrorKind::Refused => SendOutcome::Blocked {
                    reason: error.message,
                    retry_after_ms: None,
                },
            },
        }
    }
}

export_plugin!(Resend: delivery);
