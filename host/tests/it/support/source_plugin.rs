//! The event source of the tests' plugin: it tells what it was given, and answers challenges.

use hogsend_plugin_api::{EventSource, Host, Reading, Refusal, SourceEvent, Webhook};
use serde_json::json;

use super::journeys_plugin::TestJourneys;

impl EventSource for TestJourneys {
    async fn read(&self, _: &Host, webhook: &Webhook) -> Result<Reading, Refusal> {
        if webhook.header("x-test-secret") == Some("wrong") {
            return Err(Refusal::unauthorized());
        }
        if let Some(answer) = webhook.query.strip_prefix("challenge=") {
            return Ok(Reading::challenge(answer.to_owned()));
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
