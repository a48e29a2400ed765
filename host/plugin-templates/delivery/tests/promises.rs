//! What Hogsend relies on in every delivery plugin. This file imitates the provider.

use hogsend_plugin_acme::AcmePlugin;
use hogsend_plugin_api::serde_json::{self, Value, json};
use hogsend_plugin_api::{HttpResponse, Settings};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};

const KEY: &str = "hush-0123456789";
const SECRET: &str = "whisper-0123456789";

#[test]
fn acme_keeps_what_every_delivery_plugin_promises() {
    conformance::<AcmePlugin>(&Provider {
        // No output may contain a secret, so take some that appear nowhere else.
        settings: Settings::from([("ACME_API_KEY", KEY), ("ACME_WEBHOOK_SECRET", SECRET)]),
        // The mails in the body of a request.
        contents: |body| vec![seen(&serde_json::from_slice(body.as_slice()).unwrap())],
        http: Some(Http {
            accepted: |ids| answer(200, &json!({ "id": ids[0] })),
            failure: |status, words| answer(status, &json!({ "error": words })),
        }),
        hooks: Some(Hooks {
            sign: |body, _at| Signed::new(vec![("x-acme-secret".into(), SECRET.into())], body),
            known: &[
                r#"{"type":"delivered","id":"evt_1","message_id":"msg_1"}"#,
                r#"{"type":"complained","id":"evt_2","message_id":"msg_1"}"#,
            ],
            unknown: &[r#"{"type":"domain.verified","id":"evt_3"}"#],
            // Answers what `read_webhook` asks the host for.
            host: no_host,
        }),
    });
}

fn seen(mail: &Value) -> Seen {
    let text = |name: &str| mail[name].as_str().unwrap_or_default().to_owned();
    let headers = mail["headers"].as_array().unwrap();
    Seen {
        from: text("from"),
        to: text("to"),
        reply_to: mail["reply_to"].as_str().map(str::to_owned),
        subject: text("subject"),
        html: text("html"),
        text: text("text"),
        headers: headers
            .iter()
            .map(|header| {
                let text = |name: &str| header[name].as_str().unwrap().to_owned();
                (text("name"), text("value"))
            })
            .collect(),
    }
}

fn answer(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status, &[], body.to_string())
}
