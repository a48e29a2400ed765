//! Requests recorded from the npm client `resend` 6.38.0 for the same mails.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{Attempt, BatchAttempt, BatchSent, HttpRequest, Prepared, SendOutcome};
use hogsend_plugin_kit::{self as kit, request, response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{plugin, prepare};

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body: Value,
}

fn recorded() -> [Recorded; 2] {
    serde_json::from_str(include_str!("fixtures/npm_client.json")).unwrap()
}

fn mail(number: u32) -> Prepared {
    let mail = json!({
        "id": format!("01234567-89ab-7cde-8f01-23456789abc{number}"),
        "from": "Acme <hello@acme.test>",
        "to": format!("ann+{number}@example.com"),
        "reply_to": "help@acme.test",
        "subject": "Wélcome, \"Ann\" 🎉",
        "html": "<p>Hi & hí</p>",
        "text": "Hi\n",
        "headers": [
            ["List-Unsubscribe", "<https://acme.test/u>"],
            ["List-Unsubscribe-Post", "List-Unsubscribe=One-Click"],
        ],
        "tags": [["template", "welcome"]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    });
    prepare(&mail).unwrap()
}

/// The same except for the name of the client and the order of fields.
fn assert_same(ours: &HttpRequest, theirs: &Recorded) {
    assert_eq!(json!(ours.method), json!(theirs.method));
    let url = format!("https://api.resend.com{}", theirs.path);
    assert_eq!(ours.url, url);
    let body: Value = serde_json::from_slice(ours.body.as_slice()).unwrap();
    assert_eq!(body, theirs.body);
    let mut headers: std::collections::BTreeMap<_, _> = ours.headers.iter().cloned().collect();
    let agent = headers.insert("user-agent".into(), theirs.headers["user-agent"].clone());
    assert!(agent.unwrap().starts_with("hogsend-plugin-resend/"));
    // The default of fetch.
    headers.insert("accept".into(), "*/*".into());
    assert_eq!(headers, theirs.headers);
}

#[test]
fn a_mail_is_the_request_resends_own_client_makes() {
    let attempt = Attempt::new("run-1-3", mail(1), kit::beginning(), 1);
    let _: SendOutcome = kit::call(
        plugin().as_ref(),
        method::DELIVERY_SEND,
        attempt,
        |command| {
            assert_same(&request(command), &recorded()[0]);
            response(200, &[], r#"{"id":"1"}"#)
        },
    )
    .unwrap();
}

#[test]
fn a_batch_is_the_request_resends_own_client_makes() {
    let batch = BatchAttempt::new("batch-7", vec![mail(1), mail(2)], 1);
    let _: BatchSent = kit::call(
        plugin().as_ref(),
        method::DELIVERY_SEND_BATCH,
        batch,
        |command| {
            assert_same(&request(command), &recorded()[1]);
            response(200, &[], r#"{"data":[{"id":"1"},{"id":"2"}]}"#)
        },
    )
    .unwrap();
}
