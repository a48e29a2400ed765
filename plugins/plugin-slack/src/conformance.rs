//! What every analytics plugin promises.

use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::analytics::{Captures, Product, Seen, conformance};
use serde_json::Value;

use crate::Slack;

#[test]
fn slack_keeps_what_every_analytics_plugin_promises() {
    conformance::<Slack>(&Product {
        settings: Settings::from([
            (
                "SLACK_WEBHOOK_URL",
                "https://hooks.slack.com/services/T0/B0/hush0123456789",
            ),
            ("SLACK_EVENTS", "email.bounced"),
        ]),
        captures: Some(Captures {
            event: "email.bounced",
            updates: false,
            contents: |request| {
                let body: Value = serde_json::from_slice(request.body.as_slice()).unwrap();
                body["text"].as_str().unwrap().lines().map(seen).collect()
            },
            accepted: |_| HttpResponse::new(200, &[], "ok"),
            failure: |status, words| HttpResponse::new(status, &[], words),
        }),
        people: None,
    });
}

/// A line is for people: `*email.bounced* of user-1, 2026-01-01 00:00 UTC · plan: pro`.
fn seen(line: &str) -> Seen {
    let (event, rest) = line[1..].split_once("* of ").unwrap();
    let (person, _) = rest.split_once(", 2026").unwrap();
    let person = person
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    Seen {
        event: Some(event.into()),
        distinct_id: Some(person),
        ..Seen::default()
    }
}
