//! The conformance test of delivery plugins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Body, HttpRequest, HttpResponse};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance};
use hogsend_plugin_kit_message::message;
use serde_json::{Value, json};

use super::sender::{CERTIFICATE, CERTIFICATE_URL};
use super::{TOPIC, notification, settings};
use crate::Ses;

#[test]
fn ses_keeps_what_every_delivery_plugin_promises() {
    conformance::<Ses>(&Provider {
        settings: settings(&[
            ("AWS_SESSION_TOKEN", "session-hush-0123456789"),
            ("SES_TOPIC_ARN", TOPIC),
        ]),
        contents,
        http: Some(Http { accepted, failure }),
        hooks: Some(Hooks {
            sign,
            known: &[
                r#"{"eventType":"Send","mail":{"timestamp":"2026-01-01T00:00:00.000Z","messageId":"0102","destination":["ann@example.com"]},"send":{}}"#,
                r#"{"eventType":"Delivery","mail":{"timestamp":"2026-01-01T00:00:00.000Z","messageId":"0102"},"delivery":{"timestamp":"2026-01-01T00:00:01.000Z","recipients":["ann@example.com"]}}"#,
                r#"{"notificationType":"Bounce","mail":{"timestamp":"2026-01-01T00:00:00.000Z","messageId":"0102"},"bounce":{"bounceType":"Permanent","feedbackId":"f-1","bouncedRecipients":[{"emailAddress":"ann@example.com"}]}}"#,
                r#"{"eventType":"Open","mail":{"timestamp":"2026-01-01T00:00:00.000Z","messageId":"0102"},"open":{}}"#,
                r#"{"eventType":"Open","mail":{"timestamp":"2026-01-01T00:00:00.000Z","messageId":"0102"},"open":{}}"#,
            ],
            unknown: &[
                r#"{"eventType":"MadeTomorrow"}"#,
                r#"{"eventType":"Subscription","mail":{"messageId":"0102"}}"#,
                "Successfully validated SNS topic for Amazon SES event publishing.",
            ],
            host,
        }),
    });
}

fn contents(body: &Body) -> Vec<Seen> {
    let body: Value = serde_json::from_slice(body.as_slice()).unwrap();
    let seen = message(&message_of(&body));
    assert_eq!(body["Destination"]["ToAddresses"], json!([seen.to]));
    vec![seen]
}

/// The message in a request.
pub fn message_of(body: &Value) -> Vec<u8> {
    let data = body["Content"]["Raw"]["Data"].as_str().unwrap();
    STANDARD.decode(data).unwrap()
}

fn accepted(ids: &[&str]) -> HttpResponse {
    HttpResponse::new(200, &[], json!({ "MessageId": ids[0] }).to_string())
}

fn failure(status: u16, words: &str) -> HttpResponse {
    let name = match status {
        400 | 422 => "BadRequestException",
        401 | 403 => "UnrecognizedClientException",
        404 => "NotFoundException",
        429 => "TooManyRequestsException",
        503 => "ServiceUnavailable",
        _ => "InternalServiceErrorException",
    };
    let header = format!("{name}:http://internal.amazon.com/coral/com.amazonaws.ses/");
    let body = json!({ "message": words }).to_string();
    HttpResponse::new(status, &[("x-amzn-errortype", &header)], body)
}

fn sign(body: &[u8], at: DateTime<Utc>) -> Signed {
    match std::str::from_utf8(body) {
        Ok(content) => notification(content, at),
        // SNS sends text only.
        Err(_) => Signed::new(Vec::new(), body),
    }
}

fn host(request: &HttpRequest) -> HttpResponse {
    assert_eq!(request.url, CERTIFICATE_URL);
    HttpResponse::new(200, &[], CERTIFICATE)
}
