//! What Hogsend relies on in every delivery plugin.

use hmac::{Hmac, Mac};
use hogsend_example_json_mail::JsonMail;
use hogsend_plugin_api::chrono::{DateTime, Utc};
use hogsend_plugin_api::serde_json::{self, Value, json};
use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use sha2::Sha256;

const SECRET: &str = "whisper-0123456789";

fn sign(body: &[u8], at: DateTime<Utc>) -> Signed {
    let time = at.timestamp().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let code = hex::encode(mac.finalize().into_bytes());
    Signed::new(
        vec![("x-signature".into(), format!("t={time},v1={code}"))],
        body,
    )
}

#[test]
fn the_api_keeps_what_every_delivery_plugin_promises() {
    conformance::<JsonMail>(&Provider {
        settings: Settings::from([
            ("JSON_MAIL_URL", "https://mail.example/v1"),
            ("JSON_MAIL_KEY", "hush-0123456789"),
            ("JSON_MAIL_WEBHOOK_SECRET", SECRET),
        ]),
        contents: |body| vec![seen(&serde_json::from_slice(body.as_slice()).unwrap())],
        http: Some(Http {
            accepted: |ids| answer(200, &json!({ "id": ids[0] })),
            failure: |status, words| answer(status, &json!({ "error": words })),
        }),
        hooks: Some(Hooks {
            sign,
            known: &[
                r#"{"type":"delivered","id":"evt_1","message_id":"msg_1","at":"2026-01-01T00:00:00Z"}"#,
                r#"{"type":"bounced","id":"evt_2","message_id":"msg_1","permanent":true,"reason":"no such user"}"#,
                r#"{"type":"complained","id":"evt_3","message_id":"msg_1"}"#,
            ],
            unknown: &[r#"{"type":"domain.verified","id":"evt_4"}"#],
            host: no_host,
        }),
    });
}

fn seen(mail: &Value) -> Seen {
    let text = |name: &str| mail[name].as_str().unwrap_or_default().to_owned();
    Seen {
        from: text("from"),
        to: text("to"),
        reply_to: mail["reply_to"].as_str().map(str::to_owned),
        subject: text("subject"),
        html: text("html"),
        text: text("text"),
        headers: serde_json::from_value(mail["headers"].clone()).unwrap(),
    }
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, &[], body.to_string())
}
