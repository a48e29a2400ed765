//! The conformance test of delivery plugins.

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use hogsend_plugin_api::{Body, HttpResponse};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{form, settings};
use crate::Mailgun;

pub const SIGNING_KEY: &str = "whisper-0123456789";

#[test]
fn mailgun_keeps_what_every_delivery_plugin_promises() {
    conformance::<Mailgun>(&Provider {
        settings: settings(&[("MAILGUN_WEBHOOK_SIGNING_KEY", SIGNING_KEY)]),
        contents,
        http: Some(Http { accepted, failure }),
        hooks: Some(Hooks {
            sign,
            known: &[
                r#"{"event":"delivered","id":"a","timestamp":1767225600.25,"recipient":"ann@example.com","message":{"headers":{"message-id":"1@acme.test"}}}"#,
                r#"{"event":"delivered","id":"a","timestamp":1767312000.25,"recipient":"ann@example.com","message":{"headers":{"message-id":"1@acme.test"}}}"#,
                r#"{"event":"failed","severity":"permanent","reason":"bounce","id":"b","timestamp":1767225600,"user-variables":{"send_id":"01234567-89ab-7cde-8f01-23456789abcd"}}"#,
            ],
            unknown: &[
                r#"{"event":"stored","timestamp":1767225600}"#,
                r#"{"event":"made_tomorrow"}"#,
                r#"{"event":"delivered","id":"c","timestamp":1767225600}"#,
            ],
            host: no_host,
        }),
    });
}

fn contents(body: &Body) -> Vec<Seen> {
    let form = form(body.as_slice());
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let headers = form.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("h:")?;
        Some((name.to_owned(), value.clone()))
    });
    vec![Seen {
        from: field("from").unwrap(),
        to: field("to").unwrap(),
        reply_to: field("h:Reply-To"),
        subject: field("subject").unwrap(),
        html: field("html").unwrap(),
        text: field("text").unwrap(),
        headers: headers.collect(),
    }]
}

fn accepted(ids: &[&str]) -> HttpResponse {
    let id = format!("<{}>", ids[0]);
    let body = json!({ "id": id, "message": "Queued. Thank you." });
    HttpResponse::new(200, &[], body.to_string())
}

fn failure(status: u16, words: &str) -> HttpResponse {
    HttpResponse::new(status, &[], json!({ "message": words }).to_string())
}

/// The signature for a time and a token.
pub fn proof(timestamp: &str, token: &str) -> Value {
    let mac = Hmac::<Sha256>::new_from_slice(SIGNING_KEY.as_bytes()).unwrap();
    let mac = mac.chain_update(timestamp).chain_update(token).finalize();
    let signature = hex::encode(mac.into_bytes());
    json!({ "timestamp": timestamp, "token": token, "signature": signature })
}

fn sign(body: &[u8], at: DateTime<Utc>) -> Signed {
    let Ok(data) = serde_json::from_slice::<Value>(body) else {
        return Signed::new(Vec::new(), body);
    };
    let token = &hex::encode(Sha256::digest(body))[..50];
    let proof = proof(&at.timestamp().to_string(), token);
    let body = json!({ "signature": proof, "event-data": data });
    Signed::new(Vec::new(), body.to_string())
}
