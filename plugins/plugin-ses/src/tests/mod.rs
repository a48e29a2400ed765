//! Calls the plugin as the host does.

mod answer;
mod conformance;
mod event;
mod sender;
mod sns;

use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{
    Attempt, Capabilities, CheckResult, Checked, Command, HttpRequest, Idempotency, Prepared, Rate,
    SendOutcome, Sent, Settings, StepError,
};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::Ses;
use sender::Sender;

const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const ID: &str = "01234567-89ab-7cde-8f01-23456789abcd";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:ses-events";

fn settings(more: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::from([
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("SES_REGION", "eu-west-1"),
    ]);
    for (name, value) in more {
        settings.insert(name, value);
    }
    settings
}

fn start(more: &[(&str, &str)]) -> Box<dyn Instance> {
    kit::start::<Ses>(&settings(more)).unwrap()
}

fn refused(more: &[(&str, &str)]) -> String {
    let error = kit::start::<Ses>(&settings(more)).err().unwrap();
    assert_eq!(error.code, CallError::BAD_SETTINGS);
    error.message
}

fn mail() -> Value {
    json!({
        "id": ID,
        "from": "Äcme <hello@acme.test>",
        "to": "ann@bücher.example",
        "reply_to": "help@acme.test",
        "subject": "Wélcome",
        "html": "<p>Hi</p>",
        "text": "Hi\n",
        "headers": [["List-Unsubscribe", "<https://acme.test/u>"]],
        "tags": [["template", "welcome mail"], ["send_id", "x"], ["journey", ""]],
        "date": "2026-01-01T00:00:00Z",
        "message_id": "1@acme.test",
    })
}

fn prepare(plugin: &dyn Instance, mail: &Value) -> Result<Prepared, String> {
    kit::ask(plugin, method::DELIVERY_PREPARE, mail).unwrap()
}

fn body(plugin: &dyn Instance) -> Value {
    let prepared = prepare(plugin, &mail()).unwrap();
    assert_eq!(prepared.content_type, "application/json");
    serde_json::from_slice(prepared.body.as_slice()).unwrap()
}

fn attempt() -> Attempt {
    // Not the plugin's own spacing: prepared bytes stay unchanged.
    let prepared = Prepared::new("application/json", "{ \"Destination\" : {}}\n");
    Attempt::new("run-1-3", prepared, kit::beginning(), 2)
}

/// Sends a mail. `quota` answers the question for the rate, `cached` is what the cache has.
fn send(
    plugin: &dyn Instance,
    cached: Option<&str>,
    quota: &str,
) -> (Sent, Vec<HttpRequest>, Vec<Value>) {
    let (mut asked, mut stored) = (Vec::new(), Vec::new());
    let sent = kit::call(
        plugin,
        method::DELIVERY_SEND,
        attempt(),
        |command: &Command| -> Result<Value, StepError> {
            match command.kind.as_str() {
                "cache_get" => return Ok(json!(cached)),
                "cache_put" => {
                    stored.push(command.args.clone());
                    return Ok(Value::Null);
                }
                _ => {}
            }
            let request = request(command);
            let about_account = request.url.ends_with("/account");
            asked.push(request);
            if about_account {
                return response(200, &[], quota);
            }
            response(200, &[], r#"{"MessageId":"0102"}"#)
        },
    );
    (sent.unwrap(), asked, stored)
}

#[test]
fn the_body_is_a_whole_message_with_its_recipient_and_tags() {
    let body = body(start(&[("SES_CONFIGURATION_SET", "hogsend")]).as_ref());
    let data = body["Content"]["Raw"]["Data"].clone();
    assert_eq!(
        body,
        json!({
            "ConfigurationSetName": "hogsend",
            "Destination": { "ToAddresses": ["ann@xn--bcher-kva.example"] },
            "Content": { "Raw": { "Data": data } },
            "EmailTags": [
                { "Name": "send_id", "Value": ID },
                { "Name": "template", "Value": "welcome_mail" },
            ],
        })
    );
    let message = conformance::message_of(&body);
    let message = String::from_utf8(message).unwrap();
    assert!(message.is_ascii(), "SES takes no 8-bit parts");
    assert!(message.contains(&format!("X-Hogsend-Send-Id: {ID}\r\n")));
    assert!(message.contains("From: =?utf-8?"), "{message}");
}

#[test]
fn transactional_mail_has_a_configuration_set_of_its_own() {
    let (one, two) = (
        ("SES_CONFIGURATION_SET", "news"),
        ("SES_CONFIGURATION_SET_TRANSACTIONAL", "accounts"),
    );
    for (settings, category, set) in [
        (&[one][..], "lifecycle", json!("news")),
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
        assert_eq!(body["ConfigurationSetName"], set, "{settings:?} {category}");
    }
}

#[test]
fn without_a_configuration_set_none_is_named() {
    let body = body(start(&[]).as_ref());
    assert_eq!(body.get("ConfigurationSetName"), None);
}

#[test]
fn what_ses_does_not_deliver_is_refused_by_name() {
    let plugin = start(&[]);
    for (field, what) in [
        ("from", "sender"),
        ("to", "recipient"),
        ("reply_to", "reply-to"),
    ] {
        let mut bad = mail();
        bad[field] = json!("änn@acme.test");
        let error = prepare(plugin.as_ref(), &bad).unwrap_err();
        assert!(
            error.starts_with(&format!("the {what} of the mail has other letters")),
            "{error}"
        );
    }
}

#[test]
fn a_signed_request_carries_the_frozen_bytes() {
    let plugin = start(&[("AWS_SESSION_TOKEN", "session-hush")]);
    let (sent, asked, _) = send(plugin.as_ref(), Some("14"), "");
    let message_id = "0102";
    assert_eq!(sent.outcome, SendOutcome::accepted(message_id));
    assert_eq!(asked.len(), 1);
    let url = "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails";
    assert_eq!(asked[0].url, url);
    assert_eq!(asked[0].body, attempt().prepared.body);
    let header = |name: &str| {
        let found = asked[0].headers.iter().find(|(key, _)| key == name);
        found.unwrap().1.clone()
    };
    assert_eq!(header("x-amz-security-token"), "session-hush");
    assert!(header("user-agent").starts_with("hogsend-plugin-ses/"));
    let date = kit::beginning().format("%Y%m%d");
    let scope = format!("Credential={KEY_ID}/{date}/eu-west-1/ses/aws4_request");
    assert!(header("authorization").contains(&scope));
}

#[test]
fn the_rate_of_the_account_is_asked_for_once_in_ten_minutes() {
    let plugin = start(&[]);
    let quota = r#"{"SendQuota":{"Max24HourSend":50000.0,"MaxSendRate":14.0,"SentLast24Hours":0.0},"SendingEnabled":true}"#;
    let (sent, asked, stored) = send(plugin.as_ref(), None, quota);
    let rate = Some(Rate::new(14, Duration::from_secs(1)));
    assert_eq!(sent.rate, rate);
    let urls: Vec<&str> = asked.iter().map(|request| request.url.as_str()).collect();
    let base = "https://email.eu-west-1.amazonaws.com/v2/email";
    assert_eq!(
        urls,
        [format!("{base}/account"), format!("{base}/outbound-emails")]
    );
    assert_eq!(
        stored,
        [json!({ "key": "ses:rate:eu-west-1:AKIDEXAMPLE", "value": "14", "ttl_ms": 600_000 })]
    );
    let (sent, asked, stored) = send(plugin.as_ref(), Some("14"), "");
    assert_eq!((sent.rate, asked.len(), stored.len()), (rate, 1, 0));
}

#[test]
fn a_key_that_may_not_ask_for_the_rate_sends_without_one() {
    let plugin = start(&[]);
    let (sent, asked, stored) = send(plugin.as_ref(), None, r#"{"message":"not authorized"}"#);
    assert!(matches!(sent.outcome, SendOutcome::Accepted { .. }));
    assert_eq!((sent.rate, asked.len()), (None, 2));
    assert_eq!(stored[0]["value"], "unknown");
    let (sent, asked, _) = send(plugin.as_ref(), Some("unknown"), "");
    assert_eq!((sent.rate, asked.len()), (None, 1));
}

#[test]
fn a_base_url_may_end_in_a_slash_or_a_path() {
    for (base, url) in [
        ("http://localhost:4008", "http://localhost:4008/v2/email/"),
        ("http://localhost:4008/", "http://localhost:4008/v2/email/"),
        (
            "https://proxy.test/ses/",
            "https://proxy.test/ses/v2/email/",
        ),
    ] {
        let plugin = start(&[("SES_BASE_URL", base)]);
        let (_, asked, _) = send(plugin.as_ref(), Some("1"), "");
        assert_eq!(asked[0].url, format!("{url}outbound-emails"));
    }
}

#[test]
fn a_setting_that_cannot_be_one_is_refused_without_showing_a_secret() {
    for (name, value, fix) in [
        ("AWS_ACCESS_KEY_ID", "AK ID", "copy it again"),
        ("AWS_SECRET_ACCESS_KEY", "hush hush", "copy it again"),
        ("AWS_SESSION_TOKEN", "hush\n", "copy it again"),
        ("SES_REGION", "Ireland", "eu-west-1"),
        ("SES_TOPIC_ARN", "ses-events", "arn:aws:sns:"),
    ] {
        let error = refused(&[(name, value)]);
        assert!(error.contains(name) && error.contains(fix), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn a_repeat_may_be_a_second_mail() {
    let plugin = start(&[]);
    let capabilities: Capabilities =
        kit::ask(plugin.as_ref(), method::DELIVERY_CAPABILITIES, &()).unwrap();
    assert_eq!(
        (capabilities.idempotency, capabilities.batch_max),
        (Idempotency::None, 1)
    );
}

/// A notification of SES about a mail, signed.
fn notification(content: &str, at: DateTime<Utc>) -> kit::delivery::Signed {
    Sender::new().notification(content, at)
}

#[test]
fn a_check_says_whether_the_account_may_send() {
    let check = |status: u16, error: &str, body: &str| -> Vec<Checked> {
        let plugin = start(&[("SES_TOPIC_ARN", TOPIC)]);
        let answer = |command: &Command| {
            assert!(request(command).url.ends_with("/v2/email/account"));
            response(status, &[("x-amzn-errortype", error)], body)
        };
        kit::call(plugin.as_ref(), method::PLUGIN_CHECK, (), answer).unwrap()
    };
    let account = |production: bool, sending: bool| {
        json!({
            "SendQuota": { "MaxSendRate": 1.0 },
            "ProductionAccessEnabled": production,
            "SendingEnabled": sending,
        })
        .to_string()
    };
    let key = Checked::sound("the access key");
    let sound = vec![key.clone(), Checked::sound("the account")];
    assert_eq!(check(200, "", &account(true, true)), sound);
    for (production, sending, word) in [(false, true, "sandbox"), (true, false, "paused")] {
        let found = check(200, "", &account(production, sending));
        assert_eq!(found[0], key);
        let CheckResult::Faulty { reason, .. } = &found[1].result else {
            panic!("{found:?}");
        };
        assert!(reason.contains(word), "{reason}");
    }
    let refused = check(403, "UnrecognizedClientException:http://x", "{}");
    let CheckResult::Faulty { reason, fix, .. } = &refused[0].result else {
        panic!("{refused:?}");
    };
    assert_eq!(reason, "SES answered 403 UnrecognizedClientException");
    assert!(fix.contains("AWS_ACCESS_KEY_ID"));
    let unknown = [Checked::unknown("the access key")];
    assert_eq!(check(403, "AccessDeniedException", "{}"), unknown);
    assert_eq!(check(500, "", ""), unknown);
    let without = start(&[]);
    let answer = |_: &Command| response(500, &[], "");
    let all: Vec<Checked> = kit::call(without.as_ref(), method::PLUGIN_CHECK, (), answer).unwrap();
    let topic = Checked::not_set("the topic of events", "SES_TOPIC_ARN");
    assert_eq!(all[1], topic);
}
