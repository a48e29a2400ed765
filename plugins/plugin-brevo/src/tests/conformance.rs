//! The conformance test of delivery plugins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hogsend_mime::NameAddr;
use hogsend_plugin_api::{Body, HttpResponse, Settings};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use serde_json::{Value, json};

use super::KEY;
use crate::Brevo;

const SECRET: &str = "whisper-0123456789";

#[test]
fn brevo_keeps_what_every_delivery_plugin_promises() {
    for sign in [basic, bearer, own_header] {
        conformance::<Brevo>(&Provider {
            settings: Settings::from([("BREVO_API_KEY", KEY), ("BREVO_WEBHOOK_SECRET", SECRET)]),
            contents,
            http: Some(Http { accepted, failure }),
            hooks: Some(Hooks {
                sign,
                known: &[
                    r#"{"event":"delivered","email":"ann@example.com","message-id":"<1@relay.test>","ts_epoch":1700000000000}"#,
                    r#"{"event":"hard_bounce","email":"ann@example.com","message-id":"<1@relay.test>","ts_epoch":1700000000000}"#,
                    r#"[{"event":"click","email":"ann@example.com","message-id":"<1@relay.test>","ts_epoch":1700000000000,"link":"https://acme.test/1"},{"event":"click","email":"ann@example.com","message-id":"<1@relay.test>","ts_epoch":1700000000000,"link":"https://acme.test/2"}]"#,
                ],
                unknown: &[
                    r#"{"event":"list_addition","email":"ann@example.com"}"#,
                    r#"{"event":"proxy_open","message-id":"<1@relay.test>","ts_epoch":1700000000000}"#,
                ],
                host: no_host,
            }),
        });
    }
}

fn contents(body: &Body) -> Vec<Seen> {
    let mail: Value = serde_json::from_slice(body.as_slice()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mailbox = |value: &Value| {
        let name = value["name"].as_str().map(str::to_owned);
        let address = text(&value["email"]);
        NameAddr { name, address }.to_string()
    };
    vec![Seen {
        from: mailbox(&mail["sender"]),
        to: mailbox(&mail["to"][0]),
        reply_to: mail.get("replyTo").map(mailbox),
        subject: text(&mail["subject"]),
        html: text(&mail["htmlContent"]),
        text: text(&mail["textContent"]),
        headers: mail["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    }]
}

fn accepted(ids: &[&str]) -> HttpResponse {
    HttpResponse::new(201, &[], json!({ "messageId": ids[0] }).to_string())
}

fn failure(status: u16, words: &str) -> HttpResponse {
    let code = match status {
        401 => "unauthorized",
        403 => "permission_denied",
        422 => "invalid_parameter",
        429 => "too_many_requests",
        _ => "internal_error",
    };
    let body = json!({ "code": code, "message": words });
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
    signed(body, "x-brevo-webhook-secret", SECRET.to_owned())
}
