//! Any collector that takes events as JSON by HTTP, one by line.
//!
//! `POST $COLLECTOR_URL/events` takes lines of JSON and answers 2xx; a line whose id it knows counts once.
//! `GET $COLLECTOR_URL/people?id=<id>` answers with an object, or 404.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::time::Duration;

use hogsend_plugin_api::serde_json::{self, json};
use hogsend_plugin_api::{
    Analytics, Capture, Captured, Checked, Host, HttpErrorKind, HttpMethod, HttpRequest,
    HttpResponse, Manifest, Plugin, Properties, Setting, Settings, export_plugin,
};

const URL: &str = "COLLECTOR_URL";
const TOKEN: &str = "COLLECTOR_TOKEN";

/// How long the properties of a person are kept.
const KEPT: Duration = Duration::from_secs(60);

pub struct Collector {
    access: Option<Access>,
}

struct Access {
    url: String,
    token: String,
}

impl Plugin for Collector {
    fn manifest() -> Manifest {
        Manifest::new("http-collector", env!("CARGO_PKG_VERSION"))
            .setting(Setting::new(URL, "the URL of the collector, without /events").url())
            .setting(Setting::new(TOKEN, "the token that the collector expects").secret())
            .captures_with(URL)
            // The host of the URL in the setting.
            .http_host("$COLLECTOR_URL")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        let access = match (settings.get(URL), settings.get(TOKEN)) {
            (Some(url), Some(token)) => Some(Access {
                url: url.trim_end_matches('/').to_owned(),
                token: token.to_owned(),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(format!("{URL} is set without {TOKEN}: set both")),
            (None, Some(_)) => return Err(format!("{TOKEN} is set without {URL}: set both")),
        };
        Ok(Self { access })
    }

    async fn check(&self, host: &Host) -> Vec<Checked> {
        let what = "the token";
        let Some(access) = &self.access else {
            return vec![Checked::not_set(what, URL)];
        };
        let checked = match access.get(host, "people?id=nobody").await {
            Ok(answer) => match answer.status {
                200 | 404 => Checked::sound(what),
                401 | 403 => {
                    Checked::faulty(what, "the collector refuses it", format!("set {TOKEN}"))
                }
                _ => Checked::unknown(what),
            },
            Err(_) => Checked::unknown(what),
        };
        vec![checked]
    }
}

impl Access {
    async fn get(&self, host: &Host, path: &str) -> Result<HttpResponse, String> {
        let request = HttpRequest::new(HttpMethod::Get, format!("{}/{path}", self.url))
            .header("authorization", &format!("Bearer {}", self.token))
            .timeout(Duration::from_secs(5));
        host.http(request).await.map_err(|error| error.to_string())
    }

    async fn person(&self, host: &Host, id: &str) -> Result<Option<Properties>, String> {
        let answer = self.get(host, &format!("people?id={}", encode(id))).await?;
        match answer.status {
            200 => match answer.json() {
                Ok(properties) => Ok(Some(properties)),
                Err(_) => Err(format!("the answer is no JSON object: check {URL}")),
            },
            404 => Ok(None),
            401 | 403 => Err(format!("the collector refused the token: check {TOKEN}")),
            status => Err(format!("the collector answered {status}")),
        }
    }
}

impl Analytics for Collector {
    async fn person(&self, host: Host, distinct_id: String) -> Result<Option<Properties>, String> {
        let Some(access) = &self.access else {
            return Ok(None);
        };
        let key = format!("person:{distinct_id}");
        if let Some(kept) = host.cache_get(&key).await
            && let Ok(known) = serde_json::from_str(&kept)
        {
            return Ok(known);
        }
        let known = access.person(&host, &distinct_id).await?;
        // An unknown person is kept too. An error is not.
        host.cache_put(&key, &json!(known).to_string(), KEPT).await;
        Ok(known)
    }

    async fn capture(&self, host: Host, batch: Vec<Capture>) -> Captured {
        let Some(access) = &self.access else {
            return Captured::Unwanted;
        };
        let mut lines = String::new();
        for capture in &batch {
            let line = json!({
                // The same in every attempt, so that a repeat counts once.
                "id": capture.id,
                "user": capture.distinct_id,
                // Null for an update of the person's properties.
                "event": capture.event,
                "properties": capture.properties,
                "at": capture.occurred_at,
            });
            let _ = writeln!(lines, "{line}");
        }
        let request = HttpRequest::new(HttpMethod::Post, format!("{}/events", access.url))
            .header("authorization", &format!("Bearer {}", access.token))
            .header("content-type", "application/x-ndjson")
            .body(lines);
        match host.http(request).await {
            Ok(answer) => outcome(&answer, &host),
            Err(error) if error.kind == HttpErrorKind::Refused => {
                Captured::blocked(format!("{}; check {URL}", error.message))
            }
            Err(error) => Captured::retry(error.message, None),
        }
    }
}

/// What an answer says of the batch. The answer's own words may repeat the token.
fn outcome(answer: &HttpResponse, host: &Host) -> Captured {
    let reason = format!("the collector answered {}", answer.status);
    match answer.status {
        200..=299 => Captured::Taken,
        401 | 403 => Captured::blocked(format!("{reason}: check {TOKEN}")),
        // The host follows no redirects.
        300..=399 | 404 | 405 => Captured::blocked(format!("{reason}: check {URL}")),
        408 | 429 | 500.. => Captured::retry(reason, answer.retry_after_ms(host.now())),
        _ => Captured::rejected(reason),
    }
}

/// Percent-encodes everything except RFC 3986's unreserved characters (§2.3).
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

export_plugin!(Collector: analytics);
