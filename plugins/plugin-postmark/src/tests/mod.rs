//! Calls the plugin as the host does.

mod answer;
mod client;
mod conformance;
mod webhook;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Attempt, Capabilities, Idempotency, Prepared, SendOutcome, Settings};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::Postmark;

const TOKEN: &str = "tok-hush";
const ID: &str = "01234567-89ab-7cde-8f01-23456789abcd";

fn start(more: &[(&str, &str)]) -> Box<dyn Instance> {
    let mut settings = Settings::from([("POSTMARK_SERVER_TOKEN", TOKEN)]);
    for (name, value) in more {
        settings.insert(name, value);
    }
    kit::start::<Postmark>(&settings).unwrap()
}

fn mail() -> Value {
    json!({
        "id": ID,
        "from": "Acme <hello@acme.test>",
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

fn prepare(plugin: &dyn Instance, mail: &Value) -> Prepared {
    let prepared: Result<Prepared, String> =
        kit::ask(plugin, method::DELIVERY_PREPARE, mail).unwrap();
    prepared.unwrap()
}

fn body(plugin: &dyn Instance, mail: &Value) -> Value {
    serde_json::from_slice(prepare(plugin, mail).body.as_slice()).unwrap()
}

fn attempt() -> Attempt {
    // Not the plugin's own spacing: prepared bytes stay unchanged.
    let prepared = Prepared::new("application/json", "{ \"To\" : \"ann@example.com\"}\n");
    Attempt::new("run-1-3", prepared, kit::beginning(), 2)
}

#[test]
fn the_body_is_what_postmark_documents() {
    let expected = json!({
        "From": "Acme <hello@acme.test>",
        "To": "ann@example.com",
        "Subject": "Wélcome, \"Ann\"",
        "HtmlBody": "<p>Hi</p>",
        "TextBody": "Hi\n",
        "ReplyTo": "help@acme.test",
        "Headers": [
            { "Name": "List-Unsubscribe", "Value": "<https://acme.test/u>" },
            { "Name": "List-Id", "Value": "<a.acme.test>" },
        ],
        "MessageStream": "broadcast",
        "Tag": "welcome",
        "Metadata": { "send_id": ID },
        "TrackOpens": false,
        "TrackLinks": "None",
    });
    assert_eq!(body(start(&[]).as_ref(), &mail()), expected);
}

#[test]
fn what_a_mail_does_not_have_is_left_out() {
    let mut bare = mail();
    for (field, nothing) in [
        ("reply_to", json!(null)),
        ("headers", json!([])),
        ("tags", json!([["template", ""]])),
    ] {
        bare[field] = nothing;
    }
    let body = body(start(&[]).as_ref(), &bare);
    for field in ["ReplyTo", "Headers", "Tag"] {
        assert_eq!(body.get(field), None, "{field}");
    }
}

#[test]
fn a_tag_is_cut_where_postmark_takes_no_more() {
    let mut long = mail();
    long["tags"] = json!([["template", "é".repeat(2_000)]]);
    let body = body(start(&[]).as_ref(), &long);
    assert_eq!(body["Tag"], "é".repeat(1_000));
}

#[test]
fn transactional_mail_has_a_stream_of_its_own() {
    let own = [
        ("POSTMARK_STREAM", "news"),
        ("POSTMARK_TRANSACTIONAL_STREAM", "receipts"),
    ];
    for (settings, category, stream) in [
        (&[][..], "lifecycle", "broadcast"),
        (&[], "transactional", "outbound"),
        (&own, "lifecycle", "news"),
        (&own, "transactional", "receipts"),
    ] {
        let mut tagged = mail();
        tagged["tags"] = json!([["category", category]]);
        let body = body(start(settings).as_ref(), &tagged);
        assert_eq!(body["MessageStream"], stream, "{category}");
    }
}

#[test]
fn one_request_carries_the_frozen_bytes() {
    let mut asked = Vec::new();
    let plugin = start(&[]);
    let outcome: SendOutcome = kit::call(
        plugin.as_ref(),
        method::DELIVERY_SEND,
        attempt(),
        |command| {
            asked.push(request(command));
            response(
                200,
                &[],
                r#"{"ErrorCode":0,"Message":"OK","MessageID":"b7bc"}"#,
            )
        },
    )
    .unwrap();
    let message_id = "b7bc";
    assert_eq!(outcome, SendOutcome::accepted(message_id));
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].url, "https://api.postmarkapp.com/email");
    assert_eq!(asked[0].body, attempt().prepared.body);
}

#[test]
fn a_base_url_may_end_in_a_slash_or_a_path() {
    for (base, url) in [
        ("http://localhost:4008", "http://localhost:4008/email"),
        ("http://localhost:4008/", "http://localhost:4008/email"),
        ("https://proxy.test/pm/", "https://proxy.test/pm/email"),
    ] {
        let plugin = start(&[("POSTMARK_BASE_URL", base)]);
        let _: SendOutcome = kit::call(
            plugin.as_ref(),
            method::DELIVERY_SEND,
            attempt(),
            |command| {
                assert_eq!(request(command).url, url);
                response(200, &[], "{}")
            },
        )
        .unwrap();
    }
}

#[test]
fn a_token_that_cannot_be_one_is_refused_without_being_shown() {
    for token in ["tok hush", "tok-hüsh", "tok-hush\n"] {
        let error = kit::start::<Postmark>(&Settings::from([("POSTMARK_SERVER_TOKEN", token)]))
            .err()
            .unwrap();
        assert_eq!(error.code, CallError::BAD_SETTINGS);
        assert!(
            error.message.contains("POSTMARK_SERVER_TOKEN") && !error.message.contains("sh"),
            "{error}"
        );
    }
}

#[test]
fn a_repeat_may_be_a_second_mail() {
    let plugin = start(&[]);
    let capabilities: Capabilities =
        kit::ask(plugin.as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(
        (capabilities.idempotency, capabilities.batch_max),
        (Idempotency::None, 500)
    );
}
