//! Calls the plugin as the host does.

mod answer;
mod conformance;
mod webhook;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, Capabilities, HttpRequest, Idempotency, Prepared, SendOutcome, Settings,
};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::Brevo;

const KEY: &str = "xkeysib-hush-0123";
const ID: &str = "01234567-89ab-7cde-8f01-23456789abcd";

fn start(more: &[(&str, &str)]) -> Box<dyn Instance> {
    let mut settings = Settings::from([("BREVO_API_KEY", KEY)]);
    for (name, value) in more {
        settings.insert(name, value);
    }
    kit::start::<Brevo>(&settings).unwrap()
}

fn mail() -> Value {
    json!({
        "id": ID,
        "from": "Acme, Inc. <hello@acme.test>",
        "to": "ann@example.com",
        "reply_to": "Help <help@acme.test>",
        "subject": "Wélcome, \"Ann\"",
        "html": "<p>Hi</p>",
        "text": "Hi\n",
        "headers": [["List-Unsubscribe", "<https://acme.test/u>"], ["List-Id", "<a.acme.test>"]],
        "tags": [["template", "welcome"], ["category", "lifecycle"], ["empty", ""]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    })
}

fn prepare(mail: &Value) -> Result<Prepared, String> {
    kit::ask(start(&[]).as_ref(), method::DELIVERY_PREPARE, mail).unwrap()
}

fn body(mail: &Value) -> Value {
    serde_json::from_slice(prepare(mail).unwrap().body.as_slice()).unwrap()
}

/// The request of an attempt, which is accepted.
fn sent(settings: &[(&str, &str)], key: &str, prepared: Prepared) -> HttpRequest {
    let attempt = Attempt::new(key, prepared, kit::beginning(), 2);
    let plugin = start(settings);
    let mut asked = Vec::new();
    let outcome: SendOutcome =
        kit::call(plugin.as_ref(), method::DELIVERY_SEND, attempt, |command| {
            asked.push(request(command));
            response(201, &[], r#"{"messageId":"<2026.1@relay.test>"}"#)
        })
        .unwrap();
    let message_id = "<2026.1@relay.test>";
    assert_eq!(outcome, SendOutcome::accepted(message_id));
    assert_eq!(asked.len(), 1);
    asked.remove(0)
}

#[test]
fn the_body_is_what_brevo_documents() {
    let expected = json!({
        "sender": { "email": "hello@acme.test", "name": "Acme, Inc." },
        "to": [{ "email": "ann@example.com" }],
        "subject": "Wélcome, \"Ann\"",
        "htmlContent": "<p>Hi</p>",
        "textContent": "Hi\n",
        "replyTo": { "email": "help@acme.test", "name": "Help" },
        "headers": {
            "List-Unsubscribe": "<https://acme.test/u>",
            "List-Id": "<a.acme.test>",
            "X-Mailin-custom": ID,
        },
        "tags": ["template:welcome", "category:lifecycle"],
    });
    assert_eq!(body(&mail()), expected);
}

#[test]
fn what_a_mail_does_not_have_is_left_out() {
    let mut bare = mail();
    for (field, nothing) in [
        ("reply_to", json!(null)),
        ("headers", json!([])),
        ("tags", json!([])),
    ] {
        bare[field] = nothing;
    }
    let body = body(&bare);
    for field in ["replyTo", "tags"] {
        assert_eq!(body.get(field), None, "{field}");
    }
    assert_eq!(body["headers"], json!({ "X-Mailin-custom": ID }));
}

#[test]
fn a_name_that_brevo_would_lose_is_encoded() {
    for (name, written) in [
        ("Äcme Söhne", "Äcme Söhne"),
        ("Acme, Inc.", "Acme, Inc."),
        ("\"Äcme, Söhne\"", "=?utf-8?B?w4RjbWUsIFPDtmhuZQ==?="),
        (
            "株式会社、例, 株式会社、例, 株式会社、例",
            "=?utf-8?B?5qCq5byP5Lya56S+44CB5L6LLCDmoKrlvI/kvJrnpL7jgIHkvossIOagqg==?= =?utf-8?B?5byP5Lya56S+44CB5L6L?=",
        ),
    ] {
        let mut named = mail();
        named["from"] = json!(format!("{name} <hello@acme.test>"));
        assert_eq!(body(&named)["sender"]["name"], written);
    }
}

#[test]
fn a_header_that_brevo_would_break_is_named() {
    let mut mail = mail();
    mail["headers"] = json!([["X-Shop", "Söhne"]]);
    let refused = prepare(&mail).unwrap_err();
    assert!(refused.contains("'X-Shop'"), "{refused}");
}

#[test]
fn the_request_is_the_frozen_mail_under_its_key() {
    let prepared = prepare(&mail()).unwrap();
    let key = "0198f0a1-0000-7000-8000-000000000001";
    let asked = sent(&[], key, prepared.clone());
    assert_eq!(asked.url, "https://api.brevo.com/v3/smtp/email");
    let api_key = ("api-key".to_owned(), KEY.to_owned());
    assert!(asked.headers.contains(&api_key));
    let mut expected = body(&mail());
    expected["headers"]["idempotencyKey"] = json!(key);
    let found: Value = serde_json::from_slice(asked.body.as_slice()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(
        sent(&[], key, prepared.clone()),
        asked,
        "a repeat is the same request"
    );
    assert_ne!(sent(&[], "run-1-3", prepared), asked);
}

#[test]
fn a_stored_mail_that_is_no_mail_is_rejected_without_a_request() {
    for body in ["", "<html>", "[]", "7"] {
        let prepared = Prepared::new("application/json", body);
        let attempt = Attempt::new("k", prepared, kit::beginning(), 1);
        let outcome: SendOutcome = kit::call(
            start(&[]).as_ref(),
            method::DELIVERY_SEND,
            attempt,
            kit::no_requests,
        )
        .unwrap();
        assert!(
            matches!(outcome, SendOutcome::Rejected { .. }),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_base_url_may_end_in_a_slash_or_a_path() {
    for (base, url) in [
        (
            "http://localhost:4008",
            "http://localhost:4008/v3/smtp/email",
        ),
        (
            "https://proxy.test/b/",
            "https://proxy.test/b/v3/smtp/email",
        ),
    ] {
        let prepared = prepare(&mail()).unwrap();
        assert_eq!(sent(&[("BREVO_BASE_URL", base)], "k", prepared).url, url);
    }
}

#[test]
fn a_key_that_cannot_be_one_is_refused_without_being_shown() {
    for key in ["xkeysib hush", "xkeysib-hüsh", "xkeysib-hush\n"] {
        let error = kit::start::<Brevo>(&Settings::from([("BREVO_API_KEY", key)]))
            .err()
            .unwrap();
        assert_eq!(error.code, CallError::BAD_SETTINGS);
        assert!(
            error.message.contains("BREVO_API_KEY") && !error.message.contains("sib"),
            "{error}"
        );
    }
}

#[test]
fn repeats_are_safe_for_as_long_as_brevo_surely_remembers() {
    let plugin = start(&[]);
    let capabilities: Capabilities =
        kit::ask(plugin.as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(
        (capabilities.idempotency, capabilities.batch_max),
        (Idempotency::ForSeconds(900), 1)
    );
}
