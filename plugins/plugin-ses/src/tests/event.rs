//! Every event SES documents
//! (<https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal,
};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::ID;
use crate::event::read;

const SENT_AT: &str = "2026-01-01T00:00:00.000Z";
const AT: &str = "2026-01-01T00:00:05.123Z";
const MESSAGE: &str = "0102018f-abcd";
const SNS_ID: &str = "22b80b92";

fn body(name: &str, field: &str, details: &Value) -> Value {
    let mut body = json!({
        "eventType": name,
        "mail": {
            "timestamp": SENT_AT,
            "messageId": MESSAGE,
            "source": "Acme <hello@acme.test>",
            "sendingAccountId": "123456789012",
            "destination": ["ann@example.com"],
            "headersTruncated": false,
            "headers": [{ "name": "From", "value": "Acme <hello@acme.test>" }],
            "tags": { "ses:configuration-set": ["hogsend"], "send_id": [ID] },
        },
    });
    body[field] = details.clone();
    body
}

fn events(body: &Value) -> Vec<DeliveryEvent> {
    match read(&body.to_string(), SNS_ID) {
        Ok(DeliveryReading::Events(events)) => events,
        other => panic!("{body}: {other:?}"),
    }
}

fn event(body: &Value) -> DeliveryEvent {
    let [event] = events(body).try_into().unwrap();
    event
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn expected(kind: Kind, at: &str, key: &str) -> DeliveryEvent {
    kit::with(DeliveryEvent::new(kind, time(at)), |event| {
        event.dedupe_key = Some(key.into());
        event.message_id = Some(MESSAGE.into());
        event.send_id = Some(ID.parse().unwrap());
        event.email = Some("ann@example.com".into());
    })
}

#[test]
fn each_event_has_its_kind_its_time_and_its_key() {
    let sns = format!("sns:{SNS_ID}");
    for (name, field, details, expected) in [
        (
            "Send",
            "send",
            json!({}),
            expected(Kind::Sent, SENT_AT, &format!("send:{MESSAGE}")),
        ),
        (
            "Delivery",
            "delivery",
            json!({ "timestamp": AT, "processingTimeMillis": 5123, "recipients": ["ann@example.com"], "smtpResponse": "250 ok", "reportingMTA": "mta" }),
            expected(Kind::Delivered, AT, &format!("delivery:{MESSAGE}")),
        ),
        (
            "DeliveryDelay",
            "deliveryDelay",
            json!({ "timestamp": AT, "delayType": "MailboxFull", "expirationTime": AT, "delayedRecipients": [{ "emailAddress": "ann@example.com", "status": "4.2.2", "diagnosticCode": "smtp; 452 4.2.2 full" }] }),
            kit::with(expected(Kind::Delayed, AT, &sns), |event| {
                event.reason = Some("MailboxFull: smtp; 452 4.2.2 full".into());
            }),
        ),
        (
            "Reject",
            "reject",
            json!({ "reason": "Bad content" }),
            kit::with(expected(Kind::Failed, SENT_AT, &sns), |event| {
                event.reason = Some("Bad content".into());
            }),
        ),
        (
            "Rendering Failure",
            "failure",
            json!({ "templateName": "t", "errorMessage": "Attribute 'x' is not present" }),
            kit::with(expected(Kind::Failed, SENT_AT, &sns), |event| {
                event.reason = Some("Attribute 'x' is not present".into());
            }),
        ),
        (
            "Open",
            "open",
            json!({ "timestamp": AT, "ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0" }),
            kit::with(expected(Kind::Opened, AT, &sns), |event| {
                event.user_agent = Some("Mozilla/5.0".into());
            }),
        ),
        (
            "Click",
            "click",
            json!({ "timestamp": AT, "ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0 (X11)", "link": "https://acme.test/start", "linkTags": { "a": ["b"] } }),
            kit::with(expected(Kind::Clicked, AT, &sns), |event| {
                event.user_agent = Some("Mozilla/5.0 (X11)".into());
                event.link = Some("https://acme.test/start".into());
            }),
        ),
        (
            "Complaint",
            "complaint",
            json!({ "timestamp": AT, "feedbackId": "f-2", "complaintSubType": null, "complaintFeedbackType": "abuse", "complainedRecipients": [{ "emailAddress": "ann@example.com" }] }),
            kit::with(expected(Kind::Complained, AT, "feedback:f-2"), |event| {
                event.reason = Some("abuse".into());
            }),
        ),
    ] {
        assert_eq!(event(&body(name, field, &details)), expected, "{name}");
    }
}

#[test]
fn only_permanent_bounces_suppress() {
    for (kind, sub, bounce) in [
        ("Permanent", "General", BounceType::Permanent),
        ("Permanent", "NoEmail", BounceType::Permanent),
        ("Permanent", "Suppressed", BounceType::Permanent),
        (
            "Permanent",
            "OnAccountSuppressionList",
            BounceType::Permanent,
        ),
        ("Undetermined", "Undetermined", BounceType::Undetermined),
        ("Transient", "General", BounceType::Transient),
        ("Transient", "MailboxFull", BounceType::Transient),
        ("Transient", "MessageTooLarge", BounceType::Transient),
        ("Transient", "ContentRejected", BounceType::Transient),
        ("Transient", "AttachmentRejected", BounceType::Transient),
        ("MadeTomorrow", "General", BounceType::Undetermined),
    ] {
        let details = json!({
            "bounceType": kind, "bounceSubType": sub, "timestamp": AT, "feedbackId": "f-1",
            "bouncedRecipients": [{
                "emailAddress": "ann@example.com", "action": "failed", "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 no such user",
            }],
        });
        let expected = kit::with(expected(Kind::Bounced, AT, "feedback:f-1"), |event| {
            event.bounce = Some(bounce);
            event.reason = Some(format!("{sub}: smtp; 550 5.1.1 no such user"));
        });
        assert_eq!(event(&body("Bounce", "bounce", &details)), expected);
    }
}

#[test]
fn a_bounce_reported_by_both_mechanisms_is_one() {
    let details = json!({
        "bounceType": "Permanent", "timestamp": AT, "feedbackId": "f-1",
        "bouncedRecipients": [{ "emailAddress": "ann@example.com" }],
    });
    let published = body("Bounce", "bounce", &details);
    let mut notified = published.clone();
    notified["notificationType"] = notified["eventType"].take();
    let mail = notified["mail"].as_object_mut().unwrap();
    mail.remove("tags");
    mail.insert(
        "headers".into(),
        json!([{ "name": "x-hogsend-send-id", "value": ID }]),
    );
    assert_eq!(event(&published), event(&notified));
    notified["mail"].as_object_mut().unwrap().remove("headers");
    assert_eq!(event(&notified).send_id, None);
}

#[test]
fn a_complaint_that_is_none_suppresses_nobody() {
    let complaint = |more: (&str, &str)| {
        let mut details = json!({
            "timestamp": AT, "feedbackId": "f-2",
            "complainedRecipients": [{ "emailAddress": "ann@example.com" }],
        });
        details[more.0] = json!(more.1);
        body("Complaint", "complaint", &details)
    };
    let denied = read(
        &complaint(("complaintFeedbackType", "not-spam")).to_string(),
        "1",
    );
    assert!(matches!(denied, Ok(DeliveryReading::Skipped { .. })));
    let listed = event(&complaint(("complaintSubType", "OnAccountSuppressionList")));
    assert_eq!(listed.kind, Kind::Suppressed);
}

#[test]
fn several_recipients_are_told_apart_where_ses_does() {
    let bounced = json!({
        "bounceType": "Permanent", "timestamp": AT, "feedbackId": "f-1",
        "bouncedRecipients": [
            { "emailAddress": "Ann <ann@example.com>", "diagnosticCode": "one" },
            { "emailAddress": "bob@example.com" },
        ],
    });
    let found = events(&body("Bounce", "bounce", &bounced));
    let found: Vec<_> = found
        .into_iter()
        .map(|event| {
            (
                event.email.unwrap(),
                event.dedupe_key.unwrap(),
                event.reason,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "ann@example.com".into(),
                "feedback:f-1".into(),
                Some("one".into())
            ),
            ("bob@example.com".into(), "feedback:f-1:1".into(), None),
        ]
    );
    let complained = json!({
        "timestamp": AT, "feedbackId": "f-2", "complainedRecipients": [
            { "emailAddress": "ann@example.com" }, { "emailAddress": "bob@example.com" },
        ],
    });
    assert_eq!(
        event(&body("Complaint", "complaint", &complained)).email,
        None
    );
}

#[test]
fn what_lacks_a_field_is_invalid_by_its_name() {
    let whole = body("Send", "send", &json!({}));
    for (path, name) in [
        ("/eventType", "eventType"),
        ("/mail", "mail"),
        ("/mail/messageId", "mail.messageId"),
        ("/mail/timestamp", "mail.timestamp"),
    ] {
        for wrong in [json!(null), json!(7), json!("")] {
            let mut body = whole.clone();
            *body.pointer_mut(path).unwrap() = wrong;
            let read = read(&body.to_string(), SNS_ID);
            let Err(Refusal::Invalid { details, .. }) = &read else {
                panic!("{path}: {read:?}");
            };
            assert!(
                details.starts_with(&format!("{name} is required")),
                "{details}"
            );
        }
    }
}
