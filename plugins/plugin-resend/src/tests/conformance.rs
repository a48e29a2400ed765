//! The conformance test of delivery plugins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use hogsend_plugin_api::{Body, HttpResponse, Settings};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::Resend;

const KEY: &str = "re_hush_0123456789";
const SECRET: &str = "whsec_aHVzaCBodXNoIGh1c2ggaHVzaA==";

#[test]
fn resend_keeps_what_every_delivery_plugin_promises() {
    conformance::<Resend>(&Provider {
        settings: Settings::from([("RESEND_API_KEY", KEY), ("RESEND_WEBHOOK_SECRET", SECRET)]),
        contents,
        http: Some(Http { accepted, failure }),
        hooks: Some(Hooks {
            sign,
            known: &[
                r#"{"type":"email.delivered","created_at":"2026-01-01T00:00:00Z","data":{"email_id":"4ef9","to":["ann@example.com"]}}"#,
                r#"{"type":"email.bounced","created_at":"2026-01-01T00:00:00Z","data":{"email_id":"4ef9","to":["ann@example.com"],"bounce":{"type":"Permanent"}}}"#,
            ],
            unknown: &[
                r#"{"type":"contact.created","created_at":"2026-01-01T00:00:00Z","data":{}}"#,
                r#"{"type":"email.made_tomorrow"}"#,
            ],
            host: no_host,
        }),
    });
}

fn contents(body: &Body) -> Vec<Seen> {
    let body: Value = serde_json::from_slice(body.as_slice()).unwrap();
    let all = match body {
        Value::Array(all) => all,
        one => vec![one],
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let seen = |mail: &Value| Seen {
        from: text(&mail["from"]),
        to: text(&mail["to"][0]),
        reply_to: mail["reply_to"].as_str().map(str::to_owned),
        subject: text(&mail["subject"]),
        html: text(&mail["html"]),
        text: text(&mail["text"]),
        headers: mail["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    };
    all.iter().map(seen).collect()
}

fn accepted(ids: &[&str]) -> HttpResponse {
    let all: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    // One id may belong to a single mail or to a batch: this answer fits both.
    let body = match ids {
        [id] => json!({ "id": id, "data": all }),
        _ => json!({ "data": all }),
    };
    answer(200, &body)
}

fn failure(status: u16, words: &str) -> HttpResponse {
    let name = match status {
        401 => "restricted_api_key",
        403 => "invalid_api_key",
        409 => "concurrent_idempotent_requests",
        422 => "validation_error",
        429 => "rate_limit_exceeded",
        _ => "application_error",
    };
    answer(
        status,
        &json!({ "statusCode": status, "name": name, "message": words }),
    )
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, &[], body.to_string())
}

fn sign(body: &[u8], at: DateTime<Utc>) -> Signed {
    let (id, time) = (
        format!("msg_{}", at.timestamp()),
        at.timestamp().to_string(),
    );
    let key = STANDARD
        .decode(SECRET.trim_start_matches("whsec_"))
        .unwrap();
    let signed = Hmac::<Sha256>::new_from_slice(&key)
        .unwrap()
        .chain_update(format!("{id}.{time}."))
        .chain_update(body)
        .finalize();
    let signature = STANDARD.encode(signed.into_bytes());
    let proof = [
        ("svix-id", id),
        ("svix-timestamp", time),
        ("svix-signature", format!("v1,{signature}")),
    ];
    Signed::new(
        proof.map(|(name, value)| (name.to_owned(), value)).into(),
        body,
    )
}
