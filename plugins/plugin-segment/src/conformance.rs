//! What every analytics plugin promises.

use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::analytics::{Captures, People, Product, Seen, conformance};
use serde_json::{Value, json};

use crate::Segment;

#[test]
fn segment_keeps_what_every_analytics_plugin_promises() {
    conformance::<Segment>(&Product {
        settings: Settings::from([
            ("SEGMENT_WRITE_KEY", "wk-hush-0123456789"),
            ("SEGMENT_BASE_URL", "https://api.segment.io"),
            ("SEGMENT_PROFILE_SPACE_ID", "spa_1"),
            ("SEGMENT_PROFILE_TOKEN", "pt-whisper-0123456789"),
            ("SEGMENT_PROFILE_BASE_URL", "https://profiles.segment.com"),
        ]),
        captures: Some(Captures {
            event: "email.sent",
            updates: true,
            contents: |request| {
                let body: Value = serde_json::from_slice(request.body.as_slice()).unwrap();
                body["batch"].as_array().unwrap().iter().map(seen).collect()
            },
            accepted: |_| HttpResponse::new(200, &[], r#"{"success":true}"#),
            failure: |status, words| HttpResponse::new(status, &[], words),
        }),
        people: Some(People {
            known: |properties| {
                let page = json!({ "traits": properties, "cursor": { "has_more": false } });
                HttpResponse::new(200, &[], page.to_string())
            },
            unknown: || HttpResponse::new(404, &[], r#"{"error":{"code":"not_found"}}"#),
        }),
    });
}

fn seen(item: &Value) -> Seen {
    let text = |name: &str| Some(item[name].as_str().unwrap_or_default().to_owned());
    let properties = match item["type"].as_str() {
        Some("identify") => &item["traits"],
        _ => &item["properties"],
    };
    Seen {
        id: text("messageId"),
        distinct_id: text("userId"),
        event: text("event"),
        properties: properties.as_object().cloned(),
    }
}
