//! Sends events and person properties to PostHog, in batches.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    Capture, Captured, Host, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse,
};
use serde_json::{Value, json};

use crate::{API_KEY, HOST};

/// The ingestion host where no host is set.
const DEFAULT_HOST: &str = "https://us.i.posthog.com";

/// PostHog's capture API: <https://posthog.com/docs/api/capture>, `POST /batch/`.
pub struct CaptureApi {
    url: String,
    key: String,
}

impl CaptureApi {
    pub fn new(host: Option<&str>, key: &str) -> Self {
        let base = host.unwrap_or(DEFAULT_HOST).trim_end_matches('/');
        // PostHog Cloud accepts events only at its ingestion hosts.
        let base = base
            .replace("://us.posthog.com", "://us.i.posthog.com")
            .replace("://eu.posthog.com", "://eu.i.posthog.com")
            .replace("://app.posthog.com", "://us.i.posthog.com");
        Self {
            url: format!("{base}/batch/"),
            key: key.to_owned(),
        }
    }

    pub async fn send(&self, host: &Host, batch: &[Capture]) -> Captured {
        let body = json!({
            "api_key": self.key,
            "batch": batch.iter().map(item).collect::<Vec<_>>(),
        });
        let request = HttpRequest::new(HttpMethod::Post, &self.url)
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes());
        match host.http(request).await {
            Ok(answer) => outcome(&answer, host.now()),
            Err(error) if error.kind == HttpErrorKind::Refused => {
                Captured::blocked(format!("{}; check {HOST}", error.message))
            }
            // A repeat is safe: PostHog drops an event with the same uuid, name, time and person.
            Err(error) => Captured::retry(error.message, None),
        }
    }
}

fn item(capture: &Capture) -> Value {
    let mut properties = capture.properties.clone();
    let event = match &capture.event {
        Some(event) => event.as_str(),
        None => {
            properties = [("$set".to_owned(), Value::Object(properties))]
                .into_iter()
                .collect();
            "$set"
        }
    };
    properties.insert("$lib".into(), crate::LIB.into());
    json!({
        "uuid": capture.id,
        "event": event,
        "distinct_id": capture.distinct_id,
        "timestamp": capture.occurred_at,
        "properties": properties,
    })
}

fn outcome(answer: &HttpResponse, now: DateTime<Utc>) -> Captured {
    let reason = format!("PostHog answered {}", answer.status);
    match answer.status {
        200..=299 => Captured::Taken,
        401..=403 => Captured::blocked(format!("{reason}: check {API_KEY}")),
        408 | 429 | 500.. => Captured::retry(reason, answer.retry_after_ms(now)),
        300..=399 | 404 | 405 => Captured::blocked(format!("{reason}: check {HOST}")),
        _ => Captured::rejected(reason),
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::call::method;
    use hogsend_plugin_api::{HttpRequest, Settings};
    use hogsend_plugin_kit as kit;

    use super::*;
    use crate::PostHog;

    fn batch() -> Vec<Capture> {
        let capture = |event: Option<&str>| {
            let event = event.map(str::to_owned);
            let capture = Capture::new(Default::default(), "user-1", event, kit::beginning());
            kit::with(capture, |capture| {
                capture.properties.insert("plan".into(), "pro".into());
            })
        };
        vec![capture(Some("email.sent")), capture(None)]
    }

    fn run(settings: &[(&str, &str)], status: u16) -> (Captured, Vec<HttpRequest>) {
        let settings: Settings = settings.iter().copied().collect();
        let plugin = kit::start::<PostHog>(&settings).unwrap();
        let mut requests = Vec::new();
        let captured = kit::call(
            plugin.as_ref(),
            method::ANALYTICS_CAPTURE,
            batch(),
            |asked| {
                requests.push(kit::request(asked));
                kit::response(status, &[("retry-after", "7")], "")
            },
        );
        (captured.unwrap(), requests)
    }

    #[test]
    fn a_batch_is_what_posthog_documents() {
        let (captured, requests) = run(
            &[
                ("POSTHOG_API_KEY", "phc_1"),
                ("POSTHOG_HOST", "https://eu.posthog.com"),
            ],
            200,
        );
        assert_eq!(captured, Captured::Taken);
        assert_eq!(requests[0].url, "https://eu.i.posthog.com/batch/");
        let body: Value = serde_json::from_slice(requests[0].body.as_slice()).unwrap();
        assert_eq!(body["api_key"], "phc_1");
        assert_eq!(body["batch"][0]["event"], "email.sent");
        assert_eq!(body["batch"][0]["distinct_id"], "user-1");
        assert_eq!(body["batch"][0]["properties"]["plan"], "pro");
        assert_eq!(body["batch"][0]["timestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(body["batch"][1]["event"], "$set");
        assert_eq!(body["batch"][1]["properties"]["$set"]["plan"], "pro");
    }

    #[test]
    fn without_a_key_nothing_is_sent() {
        let (captured, requests) = run(&[], 200);
        assert_eq!((captured, requests.len()), (Captured::Unwanted, 0));
    }

    #[test]
    fn temporary_faults_are_retried() {
        let key = [("POSTHOG_API_KEY", "phc_1")];
        for status in [429, 500, 503] {
            assert!(
                matches!(
                    run(&key, status).0,
                    Captured::Retry {
                        retry_after_ms: Some(7_000),
                        ..
                    }
                ),
                "{status}"
            );
        }
        // One capture may be too large or malformed while the others are fine.
        for status in [400, 413, 422] {
            assert!(
                matches!(run(&key, status).0, Captured::Rejected { .. }),
                "{status}"
            );
        }
        // The key or the host is wrong, not a capture.
        for status in [302, 401, 402, 403, 404] {
            assert!(
                matches!(run(&key, status).0, Captured::Blocked { .. }),
                "{status}"
            );
        }
    }
}
