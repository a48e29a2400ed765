//! Calls the plugin as the host does.

mod answer;
mod conformance;
mod signature;
mod webhook;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Attempt, Capabilities, Idempotency, Prepared, SendOutcome, Settings};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::SendGrid;

const KEY: &str = "SG.hush-0123.whisper";
const ID: &str = "01234567-89ab-7cde-8f01-23456789abcd";

fn start(more: &[(&str, &str)]) -> Box<dyn Instance> {
    let mut settings = Settings::from([("SENDGRID_API_KEY", KEY)]);
    for (name, value) in more {
        settings.insert(name, value);
    }
    kit::start::<SendGrid>(&settings).unwrap()
}

fn mail() -> Value {
    json!({
        "id": ID,
        "from": "Acme, Inc. <hello@acme.test>",
        "to": "ann@example.com",
        "reply_to": "help@acme.test",
        "subject": "Wélcome, \"Ann\"",
        "html": "<p>Hi</p>",
        "text": "Hi\n",
        "headers": [["List-Unsubscribe", "<https://acme.test/u>"], ["List-Id", "<a.acme.test>"]],
        "tags": [["template", "welcome"], ["category", "lifecycle"]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    })
}

fn prepare(mail: &Value) -> Result<Value, String> {
    let prepared: Result<Prepared, String> =
        kit::ask(start(&[]).as_ref(), method::DELIVERY_PREPARE, mail).unwrap();
    Ok(serde_json::from_slice(prepared?.body.as_slice()).unwrap())
}

fn attempt() -> Attempt {
    // Not the plugin's own spacing: prepared bytes stay unchanged.
    let prepared = Prepared::new("application/json", "{ \"to\" : \"ann@example.com\"}\n");
    Attempt::new("run-1-3", prepared, kit::beginning(), 2)
}

#[test]
fn the_body_is_what_sendgrid_documents() {
    let expected = json!({
        "personalizations": [{
            "to": [{ "email": "ann@example.com" }],
            "custom_args": { "hs_id": ID },
        }],
        "from": { "email": "hello@acme.test", "name": "Acme, Inc." },
        "reply_to": { "email": "help@acme.test" },
        "subject": "Wélcome, \"Ann\"",
        "content": [
            { "type": "text/plain", "value": "Hi\n" },
            { "type": "text/html", "value": "<p>Hi</p>" },
        ],
        "headers": { "List-Unsubscribe": "<https://acme.test/u>", "List-Id": "<a.acme.test>" },
        "categories": ["template:welcome", "category:lifecycle"],
        "tracking_settings": {
            "click_tracking": { "enable": false, "enable_text": false },
            "open_tracking": { "enable": false },
            "subscription_tracking": { "enable": false },
            "ganalytics": { "enable": false },
        },
    });
    assert_eq!(prepare(&mail()), Ok(expected));
}

#[test]
fn transactional_mail_has_a_pool_of_its_own() {
    let (one, two) = (
        ("SENDGRID_IP_POOL", "news"),
        ("SENDGRID_IP_POOL_TRANSACTIONAL", "accounts"),
    );
    for (settings, category, pool) in [
        (&[][..], "transactional", json!(null)),
        (&[one], "lifecycle", json!("news")),
        (&[one], "transactional", json!("news")),
        (&[one, two], "lifecycle", json!("news")),
        (&[one, two], "transactional", json!("accounts")),
        (&[two], "lifecycle", json!(null)),
    ] {
        let mut tagged = mail();
        tagged["tags"] = json!([["category", category]]);
        let plugin = start(settings);
        let prepared: Result<Prepared, String> =
            kit::ask(plugin.as_ref(), method::DELIVERY_PREPARE, &tagged).unwrap();
        let body: Value = serde_json::from_slice(prepared.unwrap().body.as_slice()).unwrap();
        assert_eq!(body["ip_pool_name"], pool, "{settings:?} {category}");
    }
}

#[test]
fn what_a_mail_does_not_have_is_left_out() {
    let mut bare = mail();
    for (field, nothing) in [
        ("reply_to", json!(null)),
        ("headers", json!([])),
        ("tags", json!([["template", ""]])),
        // SendGrid refuses an empty part.
        ("text", json!("")),
    ] {
        bare[field] = nothing;
    }
    let body = prepare(&bare).unwrap();
    for field in ["reply_to", "headers", "categories"] {
        assert_eq!(body.get(field), None, "{field}");
    }
    assert_eq!(body["content"][0]["type"], "text/html");
}

#[test]
fn categories_are_few_short_plain_and_different() {
    let mut long = mail();
    let mut tags: Vec<Value> = (0..20).map(|n| json!(["n", n.to_string()])).collect();
    tags.insert(0, json!(["template", "é".repeat(500)]));
    tags.insert(1, json!(["n", "0"]));
    long["tags"] = json!(tags);
    let body = prepare(&long).unwrap();
    let all: Vec<_> = body["categories"].as_array().unwrap().iter().collect();
    let template = all[0].as_str().unwrap();
    assert_eq!(template, format!("template:{}", "_".repeat(246)));
    assert_eq!(
        (all.len(), all[1], all[2]),
        (10, &json!("n:0"), &json!("n:1"))
    );
}

#[test]
fn a_header_that_sendgrid_refuses_is_named() {
    for name in [
        "Reply-To",
        "content-type",
        "X-SG-EID",
        "Bcc",
        "DKIM-Signature",
    ] {
        let mut mail = mail();
        mail["headers"] = json!([[name, "x"]]);
        let refused = prepare(&mail).unwrap_err();
        assert!(refused.contains(&format!("'{name}'")), "{refused}");
    }
}

#[test]
fn one_request_carries_the_frozen_bytes() {
    for (base, url) in [
        (None, "https://api.sendgrid.com/v3/mail/send"),
        (
            Some("https://api.eu.sendgrid.com/"),
            "https://api.eu.sendgrid.com/v3/mail/send",
        ),
        (
            Some("http://localhost:4008/sg"),
            "http://localhost:4008/sg/v3/mail/send",
        ),
    ] {
        let settings: Vec<_> = base
            .map(|base| ("SENDGRID_BASE_URL", base))
            .into_iter()
            .collect();
        let plugin = start(&settings);
        let mut asked = Vec::new();
        let outcome: SendOutcome = kit::call(
            plugin.as_ref(),
            method::DELIVERY_SEND,
            attempt(),
            |command| {
                asked.push(request(command));
                response(202, &[("x-message-id", "14c5")], "")
            },
        )
        .unwrap();
        let message_id = "14c5";
        assert_eq!(outcome, SendOutcome::accepted(message_id));
        assert_eq!((asked.len(), asked[0].url.as_str()), (1, url));
        assert_eq!(asked[0].body, attempt().prepared.body);
        let bearer = ("authorization".to_owned(), format!("Bearer {KEY}"));
        assert!(asked[0].headers.contains(&bearer));
    }
}

#[test]
fn settings_that_cannot_be_right_are_refused_without_being_shown() {
    for (name, value) in [
        ("SENDGRID_API_KEY", "SG.hush 0123"),
        ("SENDGRID_API_KEY", "SG.hüsh"),
        ("SENDGRID_WEBHOOK_VERIFICATION_KEY", "hush"),
        ("SENDGRID_WEBHOOK_VERIFICATION_KEY", "aHVzaA=="),
    ] {
        let error = kit::start::<SendGrid>(&Settings::from([(name, value)]))
            .err()
            .unwrap();
        assert_eq!(error.code, CallError::BAD_SETTINGS);
        assert!(
            error.message.contains(name) && !error.message.contains("ush"),
            "{error}"
        );
    }
}

#[test]
fn a_repeat_may_be_a_second_mail_and_each_needs_a_request() {
    let plugin = start(&[]);
    let capabilities: Capabilities =
        kit::ask(plugin.as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(
        (capabilities.idempotency, capabilities.batch_max),
        (Idempotency::None, 1)
    );
}
