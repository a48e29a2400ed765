//! Requests recorded from the npm client `postmark` 5.1.0 for the same mails.

use std::collections::BTreeMap;

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{Attempt, BatchAttempt, BatchSent, HttpRequest, Prepared, SendOutcome};
use hogsend_plugin_kit::{self as kit, request, response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{prepare, start};

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
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
        "subject": "Wélcome",
        "html": "<p>Hi</p>",
        "text": "Hi\n",
        "headers": [["List-Id", "<a.b>"]],
        "tags": [["template", "welcome"]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    });
    prepare(start(&[]).as_ref(), &mail)
}

/// The same except for the name of the client and the order of fields.
fn assert_same(ours: &HttpRequest, theirs: &Recorded) {
    assert_eq!(json!(ours.method), json!(theirs.method));
    let url = format!("https://api.postmarkapp.com{}", theirs.path);
    assert_eq!(ours.url, url);
    let body: Value = serde_json::from_slice(ours.body.as_slice()).unwrap();
    assert_eq!(body, theirs.body);
    let mut headers: BTreeMap<_, _> = ours.headers.iter().cloned().collect();
    let agent = headers.insert("user-agent".into(), theirs.headers["user-agent"].clone());
    assert!(agent.unwrap().starts_with("hogsend-plugin-postmark/"));
    assert_eq!(headers, theirs.headers);
}

#[test]
fn a_mail_is_the_request_postmarks_own_client_makes() {
    let attempt = Attempt::new("run-1-3", mail(1), kit::beginning(), 1);
    let plugin = start(&[]);
    let _: SendOutcome = kit::call(plugin.as_ref(), method::DELIVERY_SEND, attempt, |command| {
        assert_same(&request(command), &recorded()[0]);
        response(200, &[], "{}")
    })
    .unwrap();
}

#[test]
fn a_batch_is_the_request_postmarks_own_client_makes() {
    let batch = BatchAttempt::new("batch-7", vec![mail(1), mail(2)], 1);
    let plugin = start(&[]);
    let _: BatchSent = kit::call(
        plugin.as_ref(),
        method::DELIVERY_SEND_BATCH,
        batch,
        |command| {
            assert_same(&request(command), &recorded()[1]);
            response(200, &[], "[]")
        },
    )
    .unwrap();
}
