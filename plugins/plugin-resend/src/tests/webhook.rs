//! Every webhook Resend documents (<https://resend.com/docs/webhooks/event-types>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::{ID, plugin};

/// Without a secret, as in development.
fn read(body: &str) -> Result<DeliveryReading, Refusal> {
    let headers = vec![("svix-id".into(), "msg_1".into())];
    let webhook = Webhook::new(headers, body, kit::beginning());
    kit::call(
        plugin().as_ref(),
        method::DELIVERY_READ_WEBHOOK,
        webhook,
        kit::no_requests,
    )
    .unwrap()
}

/// The fields common to all events of mails, and one further field.
fn body(kind: &str, field: &str, more: Value) -> Value {
    let mut data = json!({
        "broadcast_id": "8b146471-e88e-4322-86af-016cd36fd216",
        "created_at": "2025-12-31T23:59:00.000000+00:00",
        "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
        "from": "Acme <hello@acme.test>",
        "message_id": "<1@acme.test>",
        "to": ["ann@example.com"],
        "subject": "Hi",
        "template_id": "43f68331-0622-4e15-8202-246a0388854b",
        // Sent as a list, they are returned as an object.
        "tags": { "send_id": ID, "template": "welcome" },
    });
    data[field] = more;
    json!({ "type": kind, "created_at": "2026-01-01T00:00:01.234Z", "data": data })
}

fn event(kind: &str, field: &str, more: Value) -> DeliveryEvent {
    match read(&body(kind, field, more).to_string()) {
        Ok(DeliveryReading::Events(mut events)) if events.len() == 1 => events.remove(0),
        other => panic!("{kind}: {other:?}"),
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The event of every documented body, except for the fields specific to its kind.
fn expected(kind: Kind) -> DeliveryEvent {
    kit::with(
        DeliveryEvent::new(kind, at("2026-01-01T00:00:01.234Z")),
        |event| {
            event.dedupe_key = Some("msg_1".into());
            event.message_id = Some("56761188-7520-42d8-8898-ff6fc54ce618".into());
            event.send_id = Some(ID.parse().unwrap());
            event.email = Some("ann@example.com".into());
        },
    )
}

#[test]
fn events_without_more_say_what_happened_to_which_mail() {
    for (name, kind) in [
        ("email.sent", Kind::Sent),
        ("email.delivered", Kind::Delivered),
        ("email.delivery_delayed", Kind::Delayed),
        ("email.complained", Kind::Complained),
        ("email.opened", Kind::Opened),
    ] {
        assert_eq!(event(name, "x", Value::Null), expected(kind), "{name}");
    }
}

#[test]
fn a_bounce_says_whether_a_later_mail_may_arrive() {
    for (kind, sub, bounce) in [
        ("Permanent", "General", BounceType::Permanent),
        ("Permanent", "NoEmail", BounceType::Permanent),
        ("Permanent", "Suppressed", BounceType::Permanent),
        (
            "Permanent",
            "OnAccountSuppressionList",
            BounceType::Permanent,
        ),
        ("Transient", "General", BounceType::Transient),
        ("Transient", "MailboxFull", BounceType::Transient),
        ("Transient", "MessageTooLarge", BounceType::Transient),
        ("Transient", "ContentRejected", BounceType::Transient),
        ("Transient", "AttachmentRejected", BounceType::Transient),
        ("Undetermined", "Undetermined", BounceType::Undetermined),
        ("MadeTomorrow", "General", BounceType::Undetermined),
    ] {
        let more = json!({
            "diagnosticCode": ["smtp; 550 5.5.0 no such mailbox"],
            "message": "The words",
            "subType": sub,
            "type": kind,
        });
        let expected = kit::with(expected(Kind::Bounced), |event| {
            event.bounce = Some(bounce);
            event.reason = Some(format!("{sub}: The words"));
        });
        assert_eq!(event("email.bounced", "bounce", more), expected, "{kind}");
    }
    let bare = event("email.bounced", "x", Value::Null);
    assert_eq!(
        (bare.bounce, bare.reason),
        (Some(BounceType::Undetermined), None)
    );
}

#[test]
fn a_click_has_a_time_a_link_and_a_program() {
    let more = json!({
        "ipAddress": "122.115.53.11",
        "link": "https://acme.test/start",
        "timestamp": "2026-01-01T00:00:00.100Z",
        "userAgent": "Mozilla/5.0",
    });
    let expected = kit::with(expected(Kind::Clicked), |event| {
        event.occurred_at = at("2026-01-01T00:00:00.100Z");
        event.link = Some("https://acme.test/start".into());
        event.user_agent = Some("Mozilla/5.0".into());
    });
    assert_eq!(event("email.clicked", "click", more), expected);
}

#[test]
fn a_failure_and_a_suppression_have_a_reason() {
    let failed = event(
        "email.failed",
        "failed",
        json!({ "reason": "reached_daily_quota" }),
    );
    let reason = Some("reached_daily_quota".to_owned());
    assert_eq!(
        failed,
        kit::with(expected(Kind::Failed), |event| {
            event.reason = reason;
        })
    );
    let more = json!({ "message": "The words", "type": "OnAccountSuppressionList" });
    let suppressed = event("email.suppressed", "suppressed", more);
    let reason = Some("The words".to_owned());
    assert_eq!(
        suppressed,
        kit::with(expected(Kind::Suppressed), |event| {
            event.reason = reason;
        })
    );
}

#[test]
fn other_events_are_skipped_by_name() {
    for name in [
        "email.scheduled",
        "email.received",
        "contact.created",
        "contact.updated",
        "contact.deleted",
        "contact.topics.updated",
        "domain.created",
        "domain.updated",
        "domain.deleted",
        "suppression.added",
        "suppression.removed",
        "topic.created",
        "inbox.created",
        "inbox.email.received",
        "made.tomorrow",
    ] {
        let Ok(DeliveryReading::Skipped { reason, .. }) =
            read(&body(name, "x", Value::Null).to_string())
        else {
            panic!("{name}");
        };
        assert!(reason.contains(name), "{reason}");
    }
}

#[test]
fn a_mail_is_found_by_tags_of_either_shape() {
    for (tags, found) in [
        (json!({ "send_id": ID }), true),
        (json!([{ "name": "send_id", "value": ID }]), true),
        (json!([{ "name": "template", "value": ID }]), false),
        (json!({ "send_id": "no id" }), false),
        (json!([]), false),
        (Value::Null, false),
    ] {
        let event = event("email.delivered", "tags", tags.clone());
        assert_eq!(event.send_id.is_some(), found, "{tags}");
    }
}

#[test]
fn the_recipient_is_the_bare_address() {
    for (to, email) in [
        (
            json!(["ann@example.com", "bea@example.com"]),
            Some("ann@example.com"),
        ),
        (json!(["Ann <ann@example.com>"]), Some("ann@example.com")),
        (json!("ann@example.com"), Some("ann@example.com")),
        (json!([]), None),
        (Value::Null, None),
    ] {
        let event = event("email.delivered", "to", to.clone());
        assert_eq!(event.email.as_deref(), email, "{to}");
    }
}

#[test]
fn times_come_in_several_shapes() {
    for (text, expected) in [
        ("2026-01-01T00:00:01.234Z", "2026-01-01T00:00:01.234Z"),
        ("2026-01-01T01:00:01+01:00", "2026-01-01T00:00:01Z"),
        ("2026-01-01 00:00:01.5+00", "2026-01-01T00:00:01.5Z"),
        ("2025-12-31 22:00:01-02", "2026-01-01T00:00:01Z"),
    ] {
        let mut body = body("email.delivered", "x", Value::Null);
        body["created_at"] = json!(text);
        match read(&body.to_string()) {
            Ok(DeliveryReading::Events(events)) => assert_eq!(events[0].occurred_at, at(expected)),
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in [
        "",
        "today",
        "2026-01-01",
        "+",
        "日x",
        "x日本",
        "2026-01-01T00:00:01é1",
    ] {
        let mut body = body("email.delivered", "x", Value::Null);
        body["created_at"] = json!(text);
        match read(&body.to_string()) {
            Err(Refusal::Invalid { details, .. }) => assert!(details.contains("created_at")),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    for (body, word) in [
        ("{", "not valid JSON"),
        ("[]", "type is required"),
        (r#"{"type":7}"#, "type is required"),
        (
            r#"{"type":"email.sent","created_at":"2026-01-01T00:00:00Z"}"#,
            "data is required",
        ),
        (
            r#"{"type":"email.sent","data":{}}"#,
            "created_at is required",
        ),
    ] {
        match read(body) {
            Err(Refusal::Invalid { details, .. }) => assert!(details.contains(word), "{details}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}
