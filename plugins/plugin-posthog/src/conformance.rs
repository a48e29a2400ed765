//! What every event source and every analytics plugin promises.

use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::analytics::{self, Captures, People, Product, Seen};
use hogsend_plugin_kit::event_source::{self, Signed, Vendor, no_host};
use serde_json::{Value, json};

use crate::PostHog;

const SECRET: &str = "whisper-0123456789";

fn settings() -> Settings {
    Settings::from([
        ("POSTHOG_WEBHOOK_SECRET", SECRET),
        ("POSTHOG_HOST", "https://eu.posthog.com"),
        ("POSTHOG_PERSONAL_API_KEY", "phx_hush0123456789"),
        ("POSTHOG_API_KEY", "phc_hush0123456789"),
        ("POSTHOG_PROJECT_ID", "7"),
    ])
}

#[test]
fn posthog_keeps_what_every_event_source_promises() {
    event_source::conformance::<PostHog>(&Vendor {
        settings: settings(),
        sign: |body, _| {
            let header = ("x-posthog-webhook-secret".to_owned(), SECRET.to_owned());
            Signed::new(vec![header], body)
        },
        tolerance: None,
        events: vec![
            r#"{"event":{"uuid":"0190","event":"signed_up","distinct_id":"u1","timestamp":"2026-03-01T10:00:00+01:00","properties":{"plan":"pro","$set":{"email":"a@b.co"},"$unset":["x"]}},"person":{"id":"p","properties":{"email":"a@b.co","name":"A"}}}"#.into(),
            r#"{"event":{"uuid":"0191","event":"$identify","distinct_id":"u1","properties":{"$anon_distinct_id":"d1"}},"person":{"properties":{}}}"#.into(),
        ],
        others: Vec::new(),
        gives_ids: true,
        host: no_host,
    });
}

#[test]
fn posthog_keeps_what_every_analytics_plugin_promises() {
    analytics::conformance::<PostHog>(&Product {
        settings: settings(),
        captures: Some(Captures {
            event: "email.sent",
            updates: true,
            contents: |request| {
                let body: Value = serde_json::from_slice(request.body.as_slice()).unwrap();
                body["batch"].as_array().unwrap().iter().map(seen).collect()
            },
            accepted: |_| HttpResponse::new(200, &[], r#"{"status":"Ok"}"#),
            failure: |status, words| {
                let body = json!({ "type": "validation_error", "detail": words });
                HttpResponse::new(status, &[], body.to_string())
            },
        }),
        people: Some(People {
            known: |properties| {
                let page = json!({ "results": [{ "properties": properties }] });
                HttpResponse::new(200, &[], page.to_string())
            },
            unknown: || HttpResponse::new(200, &[], r#"{"results":[]}"#),
        }),
    });
}

fn seen(item: &Value) -> Seen {
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    let update = item["event"] == "$set";
    let properties = match update {
        true => &item["properties"]["$set"],
        false => &item["properties"],
    };
    Seen {
        id: text("uuid"),
        distinct_id: text("distinct_id"),
        event: if update {
            Some(String::new())
        } else {
            text("event")
        },
        properties: properties.as_object().cloned(),
    }
}
