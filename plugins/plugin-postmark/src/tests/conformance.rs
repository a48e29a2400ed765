//! The conformance test of delivery plugins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Body, HttpResponse, Settings};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use serde_json::{Value, json};

use crate::Postmark;

const TOKEN: &str = "0123hush-4567-89ab-cdef-0123456789ab";
const SECRET: &str = "whisper-0123456789";

#[test]
fn postmark_keeps_what_every_delivery_plugin_promises() {
    for sign in [basic, bearer, own_header] {
        conformance::<Postmark>(&Provider {
            settings: Settings::from([
                ("POSTMARK_SERVER_TOKEN", TOKEN),
                ("POSTMARK_WEBHOOK_SECRET", SECRET),
            ]),
            contents,
            http: Some(Http { accepted, failure }),
            hooks: Some(Hooks {
                sign,
                known: &[
                    r#"{"RecordType":"Delivery","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","DeliveredAt":"2026-01-01T00:00:00.9070259Z"}"#,
                    r#"{"RecordType":"Click","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","ReceivedAt":"2026-01-01T00:00:00.9070259Z"}"#,
                    r#"{"RecordType":"Click","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","ReceivedAt":"2026-01-01T00:00:00.9070260Z"}"#,
                    r#"{"RecordType":"Bounce","ID":7,"Type":"HardBounce","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","BouncedAt":"2026-01-01T00:00:00Z"}"#,
                ],
                unknown: &[
                    r#"{"RecordType":"MadeTomorrow"}"#,
                    r#"{"RecordType":"Bounce","ID":8,"Type":"AutoResponder","BouncedAt":"2026-01-01T00:00:00Z"}"#,
                ],
                host: no_host,
            }),
        });
    }
}

fn contents(body: &Body) -> Vec<Seen> {
    let body: Value = serde_json::from_slice(body.as_slice()).unwrap();
    let all = match body {
        Value::Array(all) => all,
        one => vec![one],
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let seen = |mail: &Value| Seen {
        from: text(&mail["From"]),
        to: text(&mail["To"]),
        reply_to: mail["ReplyTo"].as_str().map(str::to_owned),
        subject: text(&mail["Subject"]),
        html: text(&mail["HtmlBody"]),
        text: text(&mail["TextBody"]),
        headers: mail["Headers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|header| (text(&header["Name"]), text(&header["Value"])))
            .collect(),
    };
    all.iter().map(seen).collect()
}

fn accepted(ids: &[&str]) -> HttpResponse {
    let one = |id: &&str| json!({ "ErrorCode": 0, "Message": "OK", "MessageID": id });
    match ids {
        [id] => answer(200, &one(id)),
        _ => answer(200, &ids.iter().map(one).collect()),
    }
}

fn failure(status: u16, words: &str) -> HttpResponse {
    let code = match status {
        401 => 10,
        422 => 300,
        429 => 429,
        503 => 100,
        _ => 500,
    };
    answer(status, &json!({ "ErrorCode": code, "Message": words }))
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, &[], body.to_string())
}

fn signed(body: &[u8], name: &str, value: String) -> Signed {
    Signed::new(vec![(name.to_owned(), value)], body)
}

fn basic(body: &[u8], _: DateTime<Utc>) -> Signed {
    let pair = STANDARD.encode(format!("anyone:{SECRET}"));
    signed(body, "authorization", format!("Basic {pair}"))
}

fn bearer(body: &[u8], _: DateTime<Utc>) -> Signed {
    signed(body, "authorization", format!("Bearer {SECRET}"))
}

fn own_header(body: &[u8], _: DateTime<Utc>) -> Signed {
    signed(body, "x-postmark-webhook-secret", SECRET.to_owned())
}
