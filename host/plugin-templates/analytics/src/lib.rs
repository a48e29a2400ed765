//! Acme for Hogsend: sends events to Acme, and reads what Acme knows of a person.
//!
//! The API in this file is made up. Replace it by that of your product, in this order:
//!
//! 1. `manifest`: the settings, and the hosts to which requests go.
//! 2. `item` and `outcome`: how an event looks in the product's API, and what its answers mean.
//! 3. `person`: what the product knows of a person. Return `Ok(None)` where it knows nobody.
//!
//! `tests/promises.rs` imitates the product; change it with each step and run `cargo test`.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use hogsend_plugin_api::serde_json::{Value, json};
use hogsend_plugin_api::{
    Analytics, Capture, Captured, Host, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse,
    Manifest, Plugin, Properties, Setting, Settings, export_plugin,
};

const API_KEY: &str = "ACME_API_KEY";

pub struct AcmePlugin {
    key: Option<String>,
}

impl Plugin for AcmePlugin {
    fn manifest() -> Manifest {
        Manifest::new("acme", env!("CARGO_PKG_VERSION"))
            .setting(Setting::new(API_KEY, "an API key, from Acme's settings").secret())
            // Without this setting Hogsend keeps no captures for the plugin.
            .captures_with(API_KEY)
            // Requests to other hosts are refused.
            .http_host("api.acme.example")
    }

    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            key: settings.get(API_KEY).map(str::to_owned),
        })
    }
}

impl Analytics for AcmePlugin {
    async fn person(&self, host: Host, distinct_id: String) -> Result<Option<Properties>, String> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let url = format!(
            "https://api.acme.example/v1/people?id={}",
            encode(&distinct_id)
        );
        let request = HttpRequest::new(HttpMethod::Get, url)
            .header("authorization", &format!("Bearer {key}"));
        let answer = host
            .http(request)
            .await
            .map_err(|error| error.to_string())?;
        match answer.status {
            // A product that allows few requests wants `host.cache_get` and `host.cache_put`.
            200 => match answer.json() {
                Ok(properties) => Ok(Some(properties)),
                Err(_) => Err("Acme's answer is no JSON object".into()),
            },
            404 => Ok(None),
            401 | 403 => Err(format!("Acme refused the key: check {API_KEY}")),
            status => Err(format!("Acme answered {status}")),
        }
    }

    async fn capture(&self, host: Host, batch: Vec<Capture>) -> Captured {
        let Some(key) = &self.key else {
            return Captured::Unwanted;
        };
        let items: Vec<Value> = batch.iter().map(item).collect();
        let request = HttpRequest::new(HttpMethod::Post, "https://api.acme.example/v1/events")
            .header("authorization", &format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(json!({ "events": items }).to_string());
        match host.http(request).await {
            Ok(answer) => outcome(&answer, &host),
            Err(error) if error.kind == HttpErrorKind::Refused => Captured::blocked(error.message),
            // The batch may have arrived: Acme must recognize its ids.
            Err(error) => Captured::retry(error.message, None),
        }
    }
}

fn item(capture: &Capture) -> Value {
    json!({
        // The same in every attempt, so that a repeat counts once.
        "id": capture.id,
        "user": capture.distinct_id,
        // Without a name it is an update of the person's properties.
        "name": capture.event.as_deref().unwrap_or("person.updated"),
        "properties": capture.properties,
        "at": capture.occurred_at,
    })
}

/// What an answer says of the batch.
fn outcome(answer: &HttpResponse, host: &Host) -> Captured {
    // Without the answer's own words, which may repeat the key.
    let reason = format!("Acme answered {}", answer.status);
    match answer.status {
        200..=299 => Captured::Taken,
        // Nothing is accepted until someone acts; Hogsend keeps everything.
        300..=399 | 401..=404 => Captured::blocked(format!("{reason}: check {API_KEY}")),
        408 | 429 | 500.. => Captured::retry(reason, answer.retry_after_ms(host.now())),
        // Hogsend halves the batch to find the captures at fault.
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

export_plugin!(AcmePlugin: analytics);
