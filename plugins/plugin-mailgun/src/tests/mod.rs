//! Calls the plugin as the host does.

mod answer;
mod conformance;
mod event;
mod signature;

use std::collections::BTreeMap;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, Capabilities, Command, HttpRequest, Idempotency, Prepared, SendOutcome, Settings,
};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::Mailgun;

const KEY: &str = "key-hush-0123456789";
const ID: &str = "01234567-89ab-7cde-8f01-23456789abcd";

fn settings(more: &[(&str, &str)]) -> Settings {
    let mut settings =
        Settings::from([("MAILGUN_API_KEY", KEY), ("MAILGUN_DOMAIN", "mg.acme.test")]);
    for (name, value) in more {
        settings.insert(name, value);
    }
    settings
}

fn start(more: &[(&str, &str)]) -> Box<dyn Instance> {
    kit::start::<Mailgun>(&settings(more)).unwrap()
}

fn mail() -> Value {
    json!({
        "id": ID,
        "from": "Acme, Inc. <hello@mg.acme.test>",
        "to": "ann@bücher.example",
        "reply_to": "help@acme.test",
        "subject": "Wélcome & more",
        "html": "<p>Hi</p>",
        "text": "Hi\n",
        "headers": [["List-Unsubscribe", "<https://acme.test/u>"], ["List-Id", "<a.acme.test>"]],
        "tags": [["template", "welcome"], ["journey", ""], ["category", "life cycle"], ["a", "b"], ["c", "d"]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    })
}

fn prepare(mail: &Value) -> Result<Prepared, String> {
    kit::ask(start(&[]).as_ref(), method::DELIVERY_PREPARE, mail).unwrap()
}

fn form(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

fn attempt() -> Attempt {
    let prepared = Prepared::new("application/x-www-form-urlencoded", "to=ann%40example.com");
    Attempt::new("run-1-3", prepared, kit::beginning(), 2)
}

fn send(more: &[(&str, &str)]) -> (SendOutcome, HttpRequest) {
    let mut asked = Vec::new();
    let plugin = start(more);
    let outcome = kit::call(
        plugin.as_ref(),
        method::DELIVERY_SEND,
        attempt(),
        |command: &Command| {
            asked.push(request(command));
            let said = r#"{"id":"<1@acme.test>","message":"Queued. Thank you."}"#;
            response(200, &[], said)
        },
    );
    let [request] = asked.try_into().unwrap();
    (outcome.unwrap(), request)
}

#[test]
fn the_form_is_what_mailgun_documents() {
    let prepared = prepare(&mail()).unwrap();
    assert_eq!(prepared.content_type, "application/x-www-form-urlencoded");
    let expected = [
        ("from", "\"Acme, Inc.\" <hello@mg.acme.test>"),
        ("to", "ann@xn--bcher-kva.example"),
        ("subject", "Wélcome & more"),
        ("text", "Hi\n"),
        ("html", "<p>Hi</p>"),
        ("h:Reply-To", "help@acme.test"),
        ("h:Message-Id", "<1@acme.test>"),
        ("h:List-Unsubscribe", "<https://acme.test/u>"),
        ("h:List-Id", "<a.acme.test>"),
        ("v:send_id", ID),
        ("o:tag", "template:welcome"),
        ("o:tag", "category:life_cycle"),
        ("o:tag", "a:b"),
        ("o:tracking", "no"),
        ("o:tracking-clicks", "no"),
        ("o:tracking-opens", "no"),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(form(prepared.body.as_slice()), expected.map(own));
}

#[test]
fn what_mailgun_does_not_deliver_is_refused_by_name() {
    let long = "x".repeat(17_000);
    for (field, value, words) in [
        (
            "from",
            json!("änn@acme.test"),
            "the sender of the mail has other letters",
        ),
        (
            "to",
            json!("änn@acme.test"),
            "the recipient of the mail has other letters",
        ),
        (
            "reply_to",
            json!("änn@acme.test"),
            "the reply-to of the mail has other letters",
        ),
        (
            "headers",
            json!([["X-Ä", "a"]]),
            "'X-Ä' is not a header name",
        ),
        (
            "headers",
            json!([["X:A", "a"]]),
            "'X:A' is not a header name",
        ),
        (
            "headers",
            json!([["Subject", "a"]]),
            "the header 'Subject' is written from",
        ),
        (
            "headers",
            json!([["X-A", "a\r\nBcc: b@example.com"]]),
            "the header 'X-A' contains",
        ),
        (
            "headers",
            json!([["X-A", long]]),
            "the headers and tags of the mail have 17",
        ),
    ] {
        let mut bad = mail();
        bad[field] = value;
        let error = prepare(&bad).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn one_request_carries_the_frozen_bytes() {
    let (outcome, request) = send(&[]);
    // As webhooks have it.
    let message_id = "1@acme.test";
    assert_eq!(outcome, SendOutcome::accepted(message_id));
    assert_eq!(request.body, attempt().prepared.body);
    let headers: BTreeMap<&str, &str> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    // `api:key-hush-0123456789`
    assert_eq!(
        headers["authorization"],
        "Basic YXBpOmtleS1odXNoLTAxMjM0NTY3ODk="
    );
    assert!(headers["user-agent"].starts_with("hogsend-plugin-mailgun/"));
}

#[test]
fn the_region_or_the_base_url_says_where_the_api_is() {
    for (settings, base) in [
        (&[][..], "https://api.mailgun.net"),
        (&[("MAILGUN_REGION", "us")], "https://api.mailgun.net"),
        (&[("MAILGUN_REGION", "EU")], "https://api.eu.mailgun.net"),
        (
            &[("MAILGUN_BASE_URL", "http://localhost:4008/")],
            "http://localhost:4008",
        ),
        (
            &[
                ("MAILGUN_REGION", "eu"),
                ("MAILGUN_BASE_URL", "https://proxy.test/mg"),
            ],
            "https://proxy.test/mg",
        ),
    ] {
        let url = send(settings).1.url;
        assert_eq!(url, format!("{base}/v3/mg.acme.test/messages"));
    }
}

#[test]
fn a_setting_that_cannot_be_one_is_refused_without_showing_a_secret() {
    for (name, value, fix) in [
        ("MAILGUN_API_KEY", "hush hush", "copy it again"),
        ("MAILGUN_WEBHOOK_SIGNING_KEY", "hush\n", "copy it again"),
        ("MAILGUN_REGION", "asia", "us or eu"),
        ("MAILGUN_DOMAIN", "https://mg.acme.test", "mg.example.com"),
        (
            "MAILGUN_DOMAIN",
            "mg.acme.test/messages?x",
            "mg.example.com",
        ),
        ("MAILGUN_DOMAIN", "..", "mg.example.com"),
        ("MAILGUN_DOMAIN", "acme", "mg.example.com"),
    ] {
        let error = kit::start::<Mailgun>(&settings(&[(name, value)]))
            .err()
            .unwrap();
        assert_eq!(error.code, CallError::BAD_SETTINGS);
        let text = &error.message;
        assert!(text.contains(name) && text.contains(fix), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn a_repeat_may_be_a_second_mail() {
    let capabilities: Capabilities =
        kit::ask(start(&[]).as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(
        (capabilities.idempotency, capabilities.batch_max),
        (Idempotency::None, 1)
    );
}
