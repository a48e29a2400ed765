//! An event source that only tests need: it tells what it was given, and answers challenges.

use hogsend_plugin_api::{
    EventSource, Manifest, Plugin, Reading, Refusal, Settings, SourceEvent, Webhook, export_plugin,
};
use serde_json::json;

pub struct TestSource;

impl Plugin for TestSource {
    fn manifest() -> Manifest {
        Manifest::new("test-source", "0.0.1")
    }

    fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
}

impl EventSource for TestSource {
    fn read(&self, webhook: &Webhook) -> Result<Reading, Refusal> {
        if webhook.header("x-test-secret") == Some("wrong") {
            return Err(Refusal::Unauthorized);
        }
        if let Some(answer) = webhook.query.strip_prefix("challenge=") {
            return Ok(Reading::Challenge {
                answer: answer.to_owned(),
            });
        }
        let body = String::from_utf8_lossy(webhook.body.as_slice());
        let seen = json!({
            "method": webhook.method, "path": webhook.path, "query": webhook.query, "body": body,
        });
        let event = json!({ "name": "test.seen", "user_id": "u1", "properties": seen });
        let event: SourceEvent = serde_json::from_value(event).expect("an event");
        Ok(Reading::Events(vec![event]))
    }
}

export_plugin!(TestSource: event_source);
