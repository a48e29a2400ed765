//! The signatures of webhooks.

use chrono::TimeDelta;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{Command, DeliveryReading, Refusal, StepError, Webhook};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::conformance::{SIGNING_KEY, proof};
use super::start;

type Read = Result<DeliveryReading, Refusal>;

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef01";

/// Reads a webhook of a signing key at a time, with a cache.
fn read(key: &str, body: &Value, at: i64, cache: &mut Option<(String, String)>) -> Read {
    read_with(&[("MAILGUN_WEBHOOK_SIGNING_KEY", key)], body, at, cache)
}

fn read_with(
    keys: &[(&str, &str)],
    body: &Value,
    at: i64,
    cache: &mut Option<(String, String)>,
) -> Read {
    let received_at = chrono::DateTime::from_timestamp(at, 0).unwrap();
    let webhook = Webhook::new(Vec::new(), body.to_string(), received_at);
    let plugin = start(keys);
    let before = cache.clone();
    let host = |command: &Command| -> Result<Value, StepError> {
        let text = |name: &str| command.args[name].as_str().unwrap().to_owned();
        Ok(match command.kind.as_str() {
            "cache_get" => {
                let known = before.as_ref().filter(|(key, _)| *key == text("key"));
                json!(known.map(|(_, value)| value))
            }
            "cache_put" => {
                assert!(command.args["ttl_ms"].as_u64().unwrap() >= 9 * 3_600_000);
                *cache = Some((text("key"), text("value")));
                Value::Null
            }
            other => panic!("{other}"),
        })
    };
    kit::call(
        plugin.as_ref(),
        method::DELIVERY_READ_WEBHOOK,
        webhook,
        host,
    )
    .unwrap()
}

fn delivered(proof: &Value) -> Value {
    json!({ "signature": proof, "event-data": {
        "event": "delivered", "id": "a", "timestamp": 1_700_000_000.5,
        "message": { "headers": { "message-id": "1@acme.test" } },
    } })
}

fn is_event(read: &Read) -> bool {
    matches!(read, Ok(DeliveryReading::Events(_)))
}

#[test]
fn a_signature_computed_elsewhere_is_accepted() {
    let proof = json!({
        "timestamp": "1700000000",
        "token": TOKEN,
        "signature": "16722ca9a24e049f0f081d4a389e7b75b52e17a4c550098d8d310aa73997858d",
    });
    let body = delivered(&proof);
    let read = |key: &str| read(key, &body, 1_700_000_000, &mut None);
    assert!(is_event(&read("mg-signing-key")));
    assert!(matches!(
        read("mg-signing-kez"),
        Err(Refusal::Unauthorized { .. })
    ));
}

#[test]
fn a_signature_is_good_for_nine_hours() {
    let signed_at = 1_700_000_000;
    let body = delivered(&proof("1700000000", TOKEN));
    for (age, fits) in [
        (TimeDelta::zero(), true),
        (TimeDelta::hours(8), true),
        (TimeDelta::hours(9), true),
        (TimeDelta::hours(10), false),
        (TimeDelta::minutes(-4), true),
        (TimeDelta::minutes(-6), false),
    ] {
        let at = signed_at + age.num_seconds();
        let read = read(SIGNING_KEY, &body, at, &mut None);
        assert_eq!(is_event(&read), fits, "{age}: {read:?}");
    }
}

#[test]
fn a_seen_signature_authenticates_no_other_content() {
    let mut cache = None;
    let body = delivered(&proof("1700000000", TOKEN));
    let mut read = |body: &Value| read(SIGNING_KEY, body, 1_700_000_001, &mut cache);
    assert!(is_event(&read(&body)));
    // Mailgun repeats a webhook that was not answered.
    assert!(is_event(&read(&body)));
    let mut forged = body.clone();
    forged["event-data"]["event"] = json!("complained");
    let Err(Refusal::Unauthorized { reason, .. }) = read(&forged) else {
        panic!("a seen signature is refused with other content");
    };
    assert!(reason.unwrap().contains("used before"));
    assert!(is_event(&read(&body)));
}

#[test]
fn a_part_of_a_signature_is_none() {
    let whole = proof("1700000000", TOKEN);
    for field in ["timestamp", "token", "signature"] {
        for wrong in [
            json!(null),
            json!(""),
            json!("0"),
            json!(7),
            json!("x".repeat(300)),
        ] {
            let mut proof = whole.clone();
            proof[field] = wrong;
            let read = read(SIGNING_KEY, &delivered(&proof), 1_700_000_000, &mut None);
            assert!(
                matches!(read, Err(Refusal::Unauthorized { .. })),
                "{proof}: {read:?}"
            );
        }
    }
}

#[test]
fn the_key_before_counts_while_it_is_being_replaced() {
    let body = delivered(&proof("1700000000", TOKEN));
    for (new, old, fits) in [
        ("another-key", SIGNING_KEY, true),
        (SIGNING_KEY, "another-key", true),
        ("another-key", "a-third-key", false),
    ] {
        let keys = [
            ("MAILGUN_WEBHOOK_SIGNING_KEY", new),
            ("MAILGUN_WEBHOOK_SIGNING_KEY_PREVIOUS", old),
        ];
        let read = read_with(&keys, &body, 1_700_000_000, &mut None);
        assert_eq!(is_event(&read), fits, "{new}, {old}: {read:?}");
    }
}
