//! Every event Mailgun documents
//! (<https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure>).

use chrono::DateTime;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::{ID, start};

/// Without a signing key, as in development.
fn read(data: &Value) -> Result<DeliveryReading, Refusal> {
    let body = json!({ "event-data": data });
    let webhook = Webhook::new(Vec::new(), body.to_string(), kit::beginning());
    let plugin = start(&[]);
    kit::call(
        plugin.as_ref(),
        method::DELIVERY_READ_WEBHOOK,
        webhook,
        kit::no_requests,
    )
    .unwrap()
}

fn event(data: &Value) -> DeliveryEvent {
    match read(data) {
        Ok(DeliveryReading::Events(events)) => {
            let [event] = events.try_into().unwrap();
            event
        }
        other => panic!("{data}: {other:?}"),
    }
}

fn data(name: &str, more: &Value) -> Value {
    let mut data = json!({
        "event": name,
        "id": "CPgfbmQMTCKtHW6uIWtuVe",
        "timestamp": 1_767_225_600.250_5,
        "log-level": "info",
        "recipient": "ann@example.com",
        "message": { "headers": { "to": "ann@example.com", "message-id": "1@acme.test" } },
        "user-variables": { "send_id": ID },
        "tags": ["template:welcome"],
    });
    data.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    data
}

fn expected(kind: Kind) -> DeliveryEvent {
    let at = DateTime::from_timestamp_millis(1_767_225_600_251).unwrap();
    kit::with(DeliveryEvent::new(kind, at), |event| {
        event.dedupe_key = Some("2026-01-01:CPgfbmQMTCKtHW6uIWtuVe".into());
        event.message_id = Some("1@acme.test".into());
        event.send_id = Some(ID.parse().unwrap());
        event.email = Some("ann@example.com".into());
    })
}

#[test]
fn each_event_has_its_kind_and_its_details() {
    let client = json!({ "client-info": { "user-agent": "Mozilla/5.0 (X11)", "bot": "" }, "url": "https://acme.test/start" });
    let agent = Some("Mozilla/5.0 (X11)".to_owned());
    for (name, more, expected) in [
        ("accepted", json!({}), expected(Kind::Sent)),
        (
            "delivered",
            json!({ "delivery-status": { "code": 250, "message": "OK" } }),
            expected(Kind::Delivered),
        ),
        ("complained", json!({}), expected(Kind::Complained)),
        ("unsubscribed", json!({}), expected(Kind::Unsubscribed)),
        (
            "rejected",
            json!({ "reject": { "reason": "Sandbox", "description": "not authorized" } }),
            kit::with(expected(Kind::Failed), |event| {
                event.reason = Some("Sandbox: not authorized".into());
            }),
        ),
        (
            "opened",
            client.clone(),
            kit::with(expected(Kind::Opened), |event| {
                event.user_agent = agent.clone();
            }),
        ),
        (
            "clicked",
            client,
            kit::with(expected(Kind::Clicked), |event| {
                event.user_agent = agent;
                event.link = Some("https://acme.test/start".into());
            }),
        ),
    ] {
        assert_eq!(event(&data(name, &more)), expected, "{name}");
    }
}

#[test]
fn only_addresses_that_do_not_work_bounce_for_good() {
    let bounced = |kind| (Kind::Bounced, Some(kind));
    let permanent = bounced(BounceType::Permanent);
    let delayed = json!({ "is-delayed-bounce": true });
    for (more, kind) in [
        (
            json!({ "severity": "temporary", "reason": "generic" }),
            (Kind::Delayed, None),
        ),
        (
            json!({ "severity": "temporary", "reason": "greylisted" }),
            (Kind::Delayed, None),
        ),
        (
            json!({ "severity": "permanent", "reason": "bounce" }),
            permanent,
        ),
        (
            json!({ "severity": "permanent", "reason": "suppress-bounce" }),
            permanent,
        ),
        (
            json!({ "severity": "permanent", "delivery-status": { "code": 605 } }),
            permanent,
        ),
        (
            json!({ "severity": "permanent", "reason": "generic", "flags": delayed, "delivery-status": { "enhanced-code": "5.1.1" } }),
            permanent,
        ),
        (
            json!({ "severity": "permanent", "reason": "generic", "flags": delayed, "delivery-status": { "enhanced-code": "5.7.1" } }),
            bounced(BounceType::Undetermined),
        ),
        (
            json!({ "severity": "permanent", "reason": "suppress-complaint", "delivery-status": { "code": 607 } }),
            (Kind::Suppressed, None),
        ),
        (
            json!({ "severity": "permanent", "delivery-status": { "code": 607 } }),
            (Kind::Suppressed, None),
        ),
        (
            json!({ "severity": "permanent", "reason": "suppress-unsubscribe", "delivery-status": { "code": 606 } }),
            (Kind::Suppressed, None),
        ),
        (
            json!({ "severity": "permanent", "reason": "old" }),
            bounced(BounceType::Transient),
        ),
        (
            json!({ "severity": "permanent", "reason": "generic", "delivery-status": { "code": 550 } }),
            bounced(BounceType::Undetermined),
        ),
        (
            json!({ "severity": "permanent", "reason": "espblock" }),
            bounced(BounceType::Undetermined),
        ),
    ] {
        let found = event(&data("failed", &more));
        assert_eq!((found.kind, found.bounce), kind, "{more}");
    }
}

#[test]
fn a_failure_has_its_words_once() {
    let more = json!({
        "severity": "permanent", "reason": "bounce",
        "delivery-status": { "code": 550, "message": "5.1.1 no such user", "description": "5.1.1 no such user" },
    });
    let found = event(&data("failed", &more));
    assert_eq!(found.reason.unwrap(), "bounce: 5.1.1 no such user");
}

#[test]
fn a_machine_is_named_in_the_user_agent() {
    for (agent, bot, expected) in [
        ("Mozilla/5.0", "apple", Some("Mozilla/5.0 (bot: apple)")),
        ("x", "generic", Some("x (bot: generic)")),
        ("GoogleImageProxy", "gmail", Some("GoogleImageProxy")),
        ("x", "", Some("x")),
        ("", "", None),
    ] {
        let more = json!({ "client-info": { "user-agent": agent, "bot": bot } });
        let found = event(&data("opened", &more));
        assert_eq!(found.user_agent.as_deref(), expected);
    }
}

#[test]
fn a_mail_is_named_by_either_id() {
    let mut one = data("rejected", &json!({}));
    one.as_object_mut().unwrap().remove("recipient");
    one["message"] = json!({});
    let found = event(&one);
    assert_eq!((found.message_id, found.email), (None, None));
    assert_eq!(found.send_id, Some(ID.parse().unwrap()));
    let mut other = data("delivered", &json!({ "user-variables": [] }));
    other["message"]["headers"]["message-id"] = json!("<1@acme.test>");
    let found = event(&other);
    assert_eq!(
        (found.message_id.as_deref(), found.send_id),
        (Some("1@acme.test"), None)
    );
}

#[test]
fn what_lacks_a_field_is_invalid_by_its_name() {
    for (field, wrong) in [
        ("event", json!(null)),
        ("event", json!("")),
        ("timestamp", json!(null)),
        ("timestamp", json!("1767225600")),
        ("timestamp", json!(-1)),
        ("timestamp", json!(1e300)),
    ] {
        let mut data = data("delivered", &json!({}));
        data[field] = wrong.clone();
        let read = read(&data);
        let Err(Refusal::Invalid { details, .. }) = &read else {
            panic!("{field} {wrong}: {read:?}");
        };
        assert!(
            details.starts_with(&format!("event-data.{field} is required")),
            "{details}"
        );
    }
}
