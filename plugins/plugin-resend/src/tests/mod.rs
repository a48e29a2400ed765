//! Calls the plugin as the host does.

mod client;
mod conformance;
mod signature;
mod webhook;

use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, Capabilities, HttpError, HttpErrorKind, HttpMethod, Idempotency, Prepared,
    SendOutcome, Settings, StepError,
};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::Resend;

const KEY: &str = "re_hush";
const ID: &str = "01234567-89ab-7cde-8f01-23456789abcd";

fn plugin() -> Box<dyn Instance> {
    kit::start::<Resend>(&Settings::from([("RESEND_API_KEY", KEY)])).unwrap()
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
        "headers": [["List-Unsubscribe", "<https://acme.test/u>"]],
        "tags": [["template", "welcome"]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    })
}

fn prepare(mail: &Value) -> Result<Prepared, String> {
    kit::ask(plugin().as_ref(), method::DELIVERY_PREPARE, mail).unwrap()
}

fn attempt() -> Attempt {
    // Not the plugin's own spacing: prepared bytes stay unchanged.
    let prepared = Prepared::new("application/json", "{ \"to\" : [\"ann@example.com\"]}\n");
    Attempt::new("run-1-3", prepared, kit::beginning(), 2)
}

fn send(plugin: &dyn Instance, answer: &Result<Value, StepError>) -> SendOutcome {
    kit::call(plugin, method::DELIVERY_SEND, attempt(), |_| answer.clone()).unwrap()
}

#[test]
fn the_body_is_what_resend_documents() {
    let prepared = prepare(&mail()).unwrap();
    assert_eq!(prepared.content_type, "application/json");
    let body: Value = serde_json::from_slice(prepared.body.as_slice()).unwrap();
    let expected = json!({
        "from": "Acme <hello@acme.test>",
        "to": ["ann@example.com"],
        "subject": "Wélcome, \"Ann\"",
        "html": "<p>Hi</p>",
        "text": "Hi\n",
        "reply_to": "help@acme.test",
        "headers": { "List-Unsubscribe": "<https://acme.test/u>" },
        "tags": [
            { "name": "send_id", "value": ID },
            { "name": "template", "value": "welcome" },
        ],
    });
    assert_eq!(body, expected);
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
    let prepared = prepare(&bare).unwrap();
    let body: Value = serde_json::from_slice(prepared.body.as_slice()).unwrap();
    let fields: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        fields,
        ["from", "html", "subject", "tags", "text", "to"],
        "only the tag webhooks find it by"
    );
}

#[test]
fn tags_hold_only_what_resend_allows() {
    let long = "x".repeat(300);
    let mut tagged = mail();
    tagged["tags"] = json!([
        ["jour.ney", "wélcome 1"],
        ["a-b_C9", long],
        ["", "x"],
        ["x", ""]
    ]);
    let prepared = prepare(&tagged).unwrap();
    let body: Value = serde_json::from_slice(prepared.body.as_slice()).unwrap();
    assert_eq!(
        body["tags"],
        json!([
            { "name": "send_id", "value": ID },
            { "name": "jour_ney", "value": "w_lcome_1" },
            { "name": "a-b_C9", "value": &long[..256] },
        ])
    );
    tagged["tags"] = (0..100).map(|n| json!([format!("t{n}"), "v"])).collect();
    let prepared = prepare(&tagged).unwrap();
    let body: Value = serde_json::from_slice(prepared.body.as_slice()).unwrap();
    assert_eq!(body["tags"].as_array().unwrap().len(), 75);
}

#[test]
fn a_mail_from_or_to_nobody_is_refused_before_it_is_sent() {
    for (field, word) in [("from", "sender"), ("to", "recipient")] {
        let mut bad = mail();
        bad[field] = json!(" ");
        assert!(prepare(&bad).unwrap_err().contains(word));
    }
}

#[test]
fn one_request_carries_the_frozen_bytes_and_their_key() {
    let mut asked = Vec::new();
    let outcome: SendOutcome = kit::call(
        plugin().as_ref(),
        method::DELIVERY_SEND,
        attempt(),
        |command| {
            asked.push(request(command));
            response(200, &[], r#"{"id":"4ef9"}"#)
        },
    )
    .unwrap();
    assert_eq!(outcome, SendOutcome::accepted("4ef9"));
    assert_eq!(asked.len(), 1);
    let asked = &asked[0];
    assert_eq!(
        (asked.method, asked.url.as_str()),
        (HttpMethod::Post, "https://api.resend.com/emails")
    );
    assert_eq!(asked.body, attempt().prepared.body);
    let mut headers = asked.headers.clone();
    headers.sort();
    let expected = [
        ("authorization", "Bearer re_hush"),
        ("content-type", "application/json"),
        ("idempotency-key", "run-1-3"),
        (
            "user-agent",
            concat!("hogsend-plugin-resend/", env!("CARGO_PKG_VERSION")),
        ),
    ];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_base_url_may_end_in_a_slash_or_a_path() {
    for (base, url) in [
        ("http://localhost:4008", "http://localhost:4008/emails"),
        ("http://localhost:4008/", "http://localhost:4008/emails"),
        (
            "https://proxy.test/resend/",
            "https://proxy.test/resend/emails",
        ),
    ] {
        let settings = Settings::from([("RESEND_API_KEY", KEY), ("RESEND_BASE_URL", base)]);
        let plugin = kit::start::<Resend>(&settings).unwrap();
        kit::call::<_, SendOutcome>(
            plugin.as_ref(),
            method::DELIVERY_SEND,
            attempt(),
            |command| {
                assert_eq!(request(command).url, url);
                response(200, &[], r#"{"id":"x"}"#)
            },
        )
        .unwrap();
    }
}

#[test]
fn no_answer_is_judged_by_how_far_the_request_came() {
    let reason = || "no answer".to_owned();
    for (kind, outcome) in [
        (HttpErrorKind::Connect, SendOutcome::retry(reason())),
        (HttpErrorKind::Lost, SendOutcome::unknown(reason())),
        (HttpErrorKind::Refused, SendOutcome::blocked(reason())),
    ] {
        let error = HttpError::new(kind, reason());
        assert_eq!(
            send(plugin().as_ref(), &Err(error.into_step_error())),
            outcome
        );
    }
}

#[test]
fn an_answer_is_judged_by_its_status_and_name() {
    let body = r#"{"statusCode":429,"name":"rate_limit_exceeded","message":"Too many requests"}"#;
    let reason = "Resend answered 429 rate_limit_exceeded: Too many requests".to_owned();
    // A date is compared with the host's clock, one second after the start of the call.
    for (header, wait) in [("2", 2_000), ("Thu, 01 Jan 2026 00:00:31 GMT", 30_000)] {
        let outcome = send(
            plugin().as_ref(),
            &response(429, &[("retry-after", header)], body),
        );
        let retry_after_ms = Some(wait);
        assert_eq!(
            outcome,
            SendOutcome::pause(reason.clone()).after(retry_after_ms)
        );
    }
}

#[test]
fn without_a_key_mail_waits_and_nothing_is_asked() {
    let plugin = kit::start::<Resend>(&Settings::default()).unwrap();
    let outcome = kit::call(plugin.as_ref(), method::DELIVERY_SEND, attempt(), |asked| {
        panic!("asked {asked:?}")
    });
    match outcome.unwrap() {
        SendOutcome::Blocked { reason, .. } => {
            assert!(reason.contains("RESEND_API_KEY is not set"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_that_cannot_be_one_is_refused_without_being_shown() {
    for key in ["re_ hush", "re_hüsh", "re_hush\n"] {
        let error = kit::start::<Resend>(&Settings::from([("RESEND_API_KEY", key)]))
            .err()
            .unwrap();
        assert_eq!(error.code, CallError::BAD_SETTINGS);
        assert!(
            error.message.contains("RESEND_API_KEY") && !error.message.contains("sh"),
            "{error}"
        );
    }
}

#[test]
fn a_repeat_is_safe_for_less_than_the_day_resend_remembers() {
    let capabilities: Capabilities =
        kit::ask(plugin().as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(capabilities.idempotency, Idempotency::ForSeconds(84_600));
}

#[test]
fn a_key_that_may_only_send_is_a_valid_key() {
    let check = |status: u16, name: &str| {
        let answer = |command: &hogsend_plugin_api::Command| {
            let asked = request(command);
            assert_eq!(asked.url, "https://api.resend.com/domains");
            assert_eq!(asked.method, HttpMethod::Get);
            let body = json!({ "name": name, "message": "…" });
            response(status, &[], body.to_string())
        };
        let checked: Vec<hogsend_plugin_api::Checked> =
            kit::call(plugin().as_ref(), method::PLUGIN_CHECK, (), answer).unwrap();
        serde_json::to_value(&checked[0]).unwrap()
    };
    assert_eq!(check(200, "")["result"], "sound");
    let restricted = check(401, "restricted_api_key");
    assert_eq!(
        (&restricted["result"], &restricted["detail"]),
        (&json!("sound"), &json!("it may only send"))
    );
    for (status, name) in [
        (400, "validation_error"),
        (401, "missing_api_key"),
        (403, "invalid_api_key"),
    ] {
        let refused = check(status, name);
        assert_eq!(refused["result"], "faulty", "{status} {name}");
        assert!(!refused.to_string().contains(KEY), "{refused}");
    }
    assert_eq!(check(500, "")["result"], "unknown");
}
