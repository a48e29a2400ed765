//! Sends events and traits by the HTTP tracking API, in batches
//! (<https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>).
//!
//! Its 200 does not mean that Segment keeps an item: one without user or name is lost. What Segment
//! would lose is therefore refused here.

use hogsend_plugin_api::{
    Capture, Captured, Host, HttpErrorKind, HttpMethod, HttpRequest, HttpResponse, RefusedCapture,
};
use serde_json::{Value, json};

use crate::basic;
use crate::{BASE_URL, WRITE_KEY};

/// The most bytes of one item.
const ITEM_MAX: usize = 32 * 1024;
/// The most bytes of the items of a request. Segment accepts 500 KB.
const REQUEST_MAX: usize = 480 * 1024;
/// The most items of a request. Segment answers 200 to more and drops them.
const ITEMS_MAX: usize = 2_500;

pub struct TrackingApi {
    url: String,
    key: String,
}

impl TrackingApi {
    pub fn new(base: &str, key: &str) -> Self {
        Self {
            url: format!("{}/v1/batch", base.trim_end_matches('/')),
            key: key.to_owned(),
        }
    }

    /// Sends a batch, in several requests where it is too large for one. A repeat is safe: Segment
    /// drops an item whose `messageId` it knows.
    pub async fn send(&self, host: &Host, batch: &[Capture]) -> Captured {
        let (requests, refused) = pack(batch);
        for items in requests {
            let body = json!({ "batch": items, "sentAt": host.now() });
            let request = HttpRequest::new(HttpMethod::Post, &self.url)
                .header("authorization", &basic::auth(&self.key))
                .header("content-type", "application/json")
                .body(body.to_string());
            let outcome = match host.http(request).await {
                Ok(answer) => outcome(&answer, host),
                Err(error) if error.kind == HttpErrorKind::Refused => {
                    Captured::blocked(format!("{}; check {BASE_URL}", error.message))
                }
                Err(error) => Captured::retry(error.message, None),
            };
            if outcome != Captured::Taken {
                return outcome;
            }
        }
        if refused.is_empty() {
            Captured::Taken
        } else {
            Captured::partly(refused)
        }
    }
}

/// The items of each request, in order, and the captures that Segment would lose.
fn pack(batch: &[Capture]) -> (Vec<Vec<Value>>, Vec<RefusedCapture>) {
    let (mut requests, mut refused) = (Vec::new(), Vec::new());
    let (mut items, mut bytes) = (Vec::new(), 0);
    for capture in batch {
        let item = item(capture);
        let size = item.to_string().len();
        if let Some(reason) = unfit(capture, size) {
            refused.push(RefusedCapture::new(capture.id, reason));
            continue;
        }
        if !items.is_empty() && (bytes + size > REQUEST_MAX || items.len() == ITEMS_MAX) {
            requests.push(std::mem::take(&mut items));
            bytes = 0;
        }
        // With the comma after it.
        bytes += size + 1;
        items.push(item);
    }
    if !items.is_empty() {
        requests.push(items);
    }
    (requests, refused)
}

/// Why Segment would lose the item.
fn unfit(capture: &Capture, size: usize) -> Option<String> {
    if capture.distinct_id.trim().is_empty() {
        return Some("Segment drops an item without a user id".into());
    }
    if capture
        .event
        .as_ref()
        .is_some_and(|name| name.trim().is_empty())
    {
        return Some("Segment drops an event without a name".into());
    }
    (size > ITEM_MAX).then(|| {
        format!(
            "it has {size} bytes with its properties, and Segment accepts {ITEM_MAX}: send fewer or shorter properties"
        )
    })
}

fn item(capture: &Capture) -> Value {
    let mut item = json!({
        // Segment compares these ids across all its customers.
        "messageId": format!("hogsend-{}", capture.id),
        "userId": capture.distinct_id,
        "timestamp": capture.occurred_at,
        "context": { "library": { "name": "hogsend", "version": env!("CARGO_PKG_VERSION") } },
    });
    match &capture.event {
        Some(event) => {
            item["type"] = json!("track");
            item["event"] = json!(event);
            item["properties"] = json!(capture.properties);
        }
        None => {
            item["type"] = json!("identify");
            item["traits"] = json!(capture.properties);
        }
    }
    item
}

fn outcome(answer: &HttpResponse, host: &Host) -> Captured {
    let reason = format!("Segment answered {}", answer.status);
    match answer.status {
        200..=299 => Captured::Taken,
        401..=403 => Captured::blocked(format!("{reason}: check {WRITE_KEY}")),
        300..=399 | 404 | 405 | 501 | 505 => {
            Captured::blocked(format!("{reason}: check {BASE_URL}"))
        }
        // Those that Segment's own libraries retry.
        408 | 410 | 429 | 460 | 500.. => Captured::retry(reason, answer.retry_after_ms(host.now())),
        // Segment answers 400 to a request that is too large or no JSON.
        _ => Captured::rejected(reason),
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::call::method;
    use hogsend_plugin_api::{HttpError, HttpErrorKind, HttpRequest, Settings};
    use hogsend_plugin_kit as kit;

    use super::*;
    use crate::Segment;

    const KEY: &str = "wk-hush-0123";

    fn capture(number: u128, event: Option<&str>) -> Capture {
        serde_json::from_value(json!({
            "id": uuid(number), "distinct_id": "user-1", "event": event,
            "properties": { "plan": "pro" }, "occurred_at": kit::beginning(),
        }))
        .unwrap()
    }

    fn uuid(number: u128) -> String {
        format!("00000000-0000-0000-0000-{number:012x}")
    }

    /// Sends the batch; the answers come in turn, and the last one again.
    fn send(
        settings: &[(&str, &str)],
        batch: &[Capture],
        statuses: &[u16],
    ) -> (Captured, Vec<HttpRequest>) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings = settings.iter().map(own).collect::<Settings>();
        let plugin = kit::start::<Segment>(&settings).unwrap();
        let mut requests = Vec::new();
        let captured = kit::call(
            plugin.as_ref(),
            method::ANALYTICS_CAPTURE,
            batch.to_vec(),
            |asked| {
                let at = requests.len().min(statuses.len() - 1);
                requests.push(kit::request(asked));
                kit::response(statuses[at], &[("retry-after", "7")], KEY)
            },
        );
        (captured.unwrap(), requests)
    }

    fn body(request: &HttpRequest) -> Value {
        serde_json::from_slice(request.body.as_slice()).unwrap()
    }

    #[test]
    fn a_batch_is_what_segment_documents() {
        let batch = [capture(1, Some("email.sent")), capture(2, None)];
        let (captured, requests) = send(&[("SEGMENT_WRITE_KEY", "abc123")], &batch, &[200]);
        assert_eq!((captured, requests.len()), (Captured::Taken, 1));
        assert_eq!(requests[0].url, "https://api.segment.io/v1/batch");
        let auth = ("authorization".to_owned(), "Basic YWJjMTIzOg==".to_owned());
        assert!(requests[0].headers.contains(&auth));
        let context =
            json!({ "library": { "name": "hogsend", "version": env!("CARGO_PKG_VERSION") } });
        let expected = json!({
            "batch": [
                {
                    "type": "track", "messageId": format!("hogsend-{}", uuid(1)), "userId": "user-1",
                    "event": "email.sent", "properties": { "plan": "pro" },
                    "timestamp": "2026-01-01T00:00:00Z", "context": context,
                },
                {
                    "type": "identify", "messageId": format!("hogsend-{}", uuid(2)),
                    "userId": "user-1", "traits": { "plan": "pro" },
                    "timestamp": "2026-01-01T00:00:00Z", "context": context,
                },
            ],
            "sentAt": "2026-01-01T00:00:00Z",
        });
        assert_eq!(body(&requests[0]), expected);
    }

    #[test]
    fn the_base_url_may_be_another_regions_or_products() {
        for (base, url) in [
            (
                "https://events.eu1.segmentapis.com",
                "https://events.eu1.segmentapis.com/v1/batch",
            ),
            ("http://localhost:8080/", "http://localhost:8080/v1/batch"),
        ] {
            let settings = [("SEGMENT_WRITE_KEY", KEY), ("SEGMENT_BASE_URL", base)];
            let (_, requests) = send(&settings, &[capture(1, Some("e"))], &[200]);
            assert_eq!(requests[0].url, url);
        }
    }

    #[test]
    fn without_a_write_key_nothing_is_sent() {
        let (captured, requests) = send(&[], &[capture(1, Some("e"))], &[200]);
        assert_eq!((captured, requests.len()), (Captured::Unwanted, 0));
    }

    #[test]
    fn what_segment_would_lose_is_refused_by_itself() {
        let mut batch = [
            capture(1, Some("ok")),
            capture(2, Some(" ")),
            capture(3, Some("e")),
            capture(4, Some("e")),
            capture(5, None),
        ];
        batch[2].distinct_id = String::new();
        let long = json!("x".repeat(40_000));
        batch[3].properties.insert("long".into(), long);
        let (captured, requests) = send(&[("SEGMENT_WRITE_KEY", KEY)], &batch, &[200]);
        let Captured::Partly { refused, .. } = captured else {
            panic!("{captured:?}");
        };
        let reasons: Vec<_> = refused.iter().map(|one| one.reason.as_str()).collect();
        let ids: Vec<_> = refused.iter().map(|one| one.id.to_string()).collect();
        assert_eq!(ids, [uuid(2), uuid(3), uuid(4)]);
        for (reason, word) in reasons.iter().zip(["name", "user id", "32768"]) {
            assert!(reason.contains(word), "{reason}");
        }
        let sent = body(&requests[0])["batch"].as_array().unwrap().len();
        assert_eq!((requests.len(), sent), (1, 2));
    }

    #[test]
    fn a_batch_too_large_for_a_request_is_sent_in_several() {
        let mut batch: Vec<_> = (0..100).map(|number| capture(number, Some("e"))).collect();
        for capture in &mut batch {
            let long = json!("x".repeat(20_000));
            capture.properties.insert("long".into(), long);
        }
        let key = [("SEGMENT_WRITE_KEY", KEY)];
        let (captured, requests) = send(&key, &batch, &[200]);
        assert_eq!(captured, Captured::Taken);
        assert!(requests.len() > 1);
        let mut ids = Vec::new();
        for request in &requests {
            assert!(request.body.as_slice().len() < 500_000);
            for item in body(request)["batch"].as_array().unwrap() {
                ids.push(item["messageId"].as_str().unwrap().to_owned());
            }
        }
        let expected: Vec<_> = (0..100).map(|n| format!("hogsend-{}", uuid(n))).collect();
        assert_eq!(ids, expected);
        // Repeats are dropped by their ids, so all of it is sent again.
        let (captured, requests) = send(&key, &batch, &[200, 503]);
        assert!(matches!(captured, Captured::Retry { .. }) && requests.len() == 2);
    }

    #[test]
    fn each_answer_means_what_segment_documents() {
        for (status, word) in [
            (200, "taken"),
            (400, "rejected"),
            (413, "rejected"),
            (401, "blocked"),
            (403, "blocked"),
            (302, "blocked"),
            (404, "blocked"),
            (501, "blocked"),
            (505, "blocked"),
            (408, "retry"),
            (410, "retry"),
            (429, "retry"),
            (460, "retry"),
            (500, "retry"),
            (503, "retry"),
        ] {
            let batch = [capture(1, Some("e"))];
            let (captured, _) = send(&[("SEGMENT_WRITE_KEY", KEY)], &batch, &[status]);
            assert!(!format!("{captured:?}").contains("hush"), "{captured:?}");
            let found = match captured {
                Captured::Taken => "taken",
                Captured::Rejected { .. } => "rejected",
                Captured::Blocked { reason, .. } => {
                    assert!(reason.contains("SEGMENT_"), "{reason}");
                    "blocked"
                }
                Captured::Retry { retry_after_ms, .. } => {
                    assert_eq!(retry_after_ms, Some(7_000));
                    "retry"
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(found, word, "{status}");
        }
    }

    #[test]
    fn a_missing_answer_is_retried_and_a_refused_request_waits_for_a_fix() {
        let plugin = kit::start::<Segment>(&Settings::from([("SEGMENT_WRITE_KEY", KEY)])).unwrap();
        for (kind, blocked) in [
            (HttpErrorKind::Lost, false),
            (HttpErrorKind::Connect, false),
            (HttpErrorKind::Refused, true),
        ] {
            let error = HttpError::new(kind, "no answer");
            let batch = vec![capture(1, Some("e"))];
            let captured: Captured =
                kit::call(plugin.as_ref(), method::ANALYTICS_CAPTURE, batch, |_| {
                    Err(error.clone().into_step_error())
                })
                .unwrap();
            let found = matches!(captured, Captured::Blocked { .. });
            assert_eq!(found, blocked, "{captured:?}");
        }
    }
}
