//! Every webhook Postmark documents
//! (<https://postmarkapp.com/developer/webhooks/webhooks-overview>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::{ID, start};

const MESSAGE: &str = "883953f4-6105-42a2-a16a-77a8eac79483";
const AT: &str = "2026-01-01T00:00:00.9070259Z";

fn read_with(
    secret: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<DeliveryReading, Refusal> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers = headers.iter().map(own).collect();
    let webhook = Webhook::new(headers, body, kit::beginning());
    let plugin = start(&[("POSTMARK_WEBHOOK_SECRET", secret)]);
    kit::call(
        plugin.as_ref(),
        method::DELIVERY_READ_WEBHOOK,
        webhook,
        kit::no_requests,
    )
    .unwrap()
}

/// Without a secret, as in development.
fn read(body: &Value) -> Result<DeliveryReading, Refusal> {
    read_with("", &[], &body.to_string())
}

fn event(body: &Value) -> DeliveryEvent {
    match read(body) {
        Ok(DeliveryReading::Events(mut events)) if events.len() == 1 => events.remove(0),
        other => panic!("{body}: {other:?}"),
    }
}

/// The fields common to all webhooks about mails.
fn body(record: &str, more: &Value) -> Value {
    let mut body = json!({
        "RecordType": record,
        "MessageStream": "broadcast",
        "ServerID": 23,
        "MessageID": MESSAGE,
        "Tag": "welcome",
        "Metadata": { "send_id": ID },
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

fn expected(kind: Kind, key: &str) -> DeliveryEvent {
    kit::with(DeliveryEvent::new(kind, AT.parse().unwrap()), |event| {
        event.dedupe_key = Some(key.into());
        event.message_id = Some(MESSAGE.into());
        event.send_id = Some(ID.parse().unwrap());
        event.email = Some("ann@example.com".into());
    })
}

#[test]
fn a_delivery_an_open_and_a_click() {
    let more = json!({ "Recipient": "ann@example.com", "DeliveredAt": AT, "Details": "250 OK" });
    assert_eq!(
        event(&body("Delivery", &more)),
        expected(Kind::Delivered, &format!("Delivery:{MESSAGE}:{AT}"))
    );
    let more = json!({
        "Recipient": "ann@example.com",
        "FirstOpen": true,
        "ReceivedAt": AT,
        "UserAgent": "Mozilla/5.0",
        "Client": { "Name": "Chrome", "Company": "Google", "Family": "Chrome" },
        "Geo": {},
    });
    assert_eq!(
        event(&body("Open", &more)),
        kit::with(
            expected(Kind::Opened, &format!("Open:{MESSAGE}:{AT}")),
            |event| {
                event.user_agent = Some("Mozilla/5.0".into());
            }
        )
    );
    let more = json!({
        "Recipient": "ann@example.com",
        "ReceivedAt": AT,
        "UserAgent": "Mozilla/5.0",
        "OriginalLink": "https://acme.test/start",
        "ClickLocation": "HTML",
    });
    assert_eq!(
        event(&body("Click", &more)),
        kit::with(
            expected(Kind::Clicked, &format!("Click:{MESSAGE}:{AT}")),
            |event| {
                event.user_agent = Some("Mozilla/5.0".into());
                event.link = Some("https://acme.test/start".into());
            }
        )
    );
}

#[test]
fn a_bounce_has_its_type_its_words_and_its_id() {
    let more = json!({
        "ID": 692_560_173_u64,
        "Type": "HardBounce",
        "TypeCode": 1,
        "Name": "Hard bounce",
        "Description": "Unknown user",
        "Details": "smtp;550 5.1.1 no such mailbox",
        "Email": "ann@example.com",
        "From": "hello@acme.test",
        "BouncedAt": AT,
        "Inactive": true,
        "CanActivate": true,
    });
    let expected = kit::with(expected(Kind::Bounced, "Bounce:692560173"), |event| {
        event.bounce = Some(BounceType::Permanent);
        event.reason = Some("Unknown user: smtp;550 5.1.1 no such mailbox".into());
    });
    assert_eq!(event(&body("Bounce", &more)), expected);
}

#[test]
fn a_complaint_reported_in_three_ways_is_one() {
    let complaint = json!({
        "ID": 7, "Type": "SpamComplaint", "Email": "ann@example.com", "BouncedAt": AT,
    });
    let change = json!({
        "Recipient": "ann@example.com", "ChangedAt": AT, "Origin": "Recipient",
        "SuppressSending": true, "SuppressionReason": "SpamComplaint",
    });
    for (record, more, reason) in [
        ("SpamComplaint", &complaint, None),
        ("Bounce", &complaint, None),
        (
            "SubscriptionChange",
            &change,
            Some("SpamComplaint".to_owned()),
        ),
    ] {
        let expected = kit::with(
            expected(Kind::Complained, &format!("SpamComplaint:{MESSAGE}")),
            |event| {
                event.reason = reason;
            },
        );
        assert_eq!(event(&body(record, more)), expected, "{record}");
    }
}

#[test]
fn a_change_of_suppressions_is_read_where_the_recipient_made_it() {
    for (suppress, reason, origin, kind) in [
        (
            true,
            "ManualSuppression",
            "Recipient",
            Some(Kind::Unsubscribed),
        ),
        (true, "ManualSuppression", "Customer", None),
        (true, "ManualSuppression", "Admin", None),
        (true, "HardBounce", "Recipient", Some(Kind::Suppressed)),
        (true, "SpamComplaint", "Recipient", Some(Kind::Complained)),
        (true, "MadeTomorrow", "Recipient", None),
        (false, "HardBounce", "Customer", None),
    ] {
        let more = json!({
            "Recipient": "ann@example.com", "ChangedAt": AT, "Origin": origin,
            "SuppressSending": suppress, "SuppressionReason": reason,
        });
        let found = match read(&body("SubscriptionChange", &more)) {
            Ok(DeliveryReading::Events(events)) => Some(events[0].kind),
            Ok(DeliveryReading::Skipped { reason, .. }) if !reason.is_empty() => None,
            other => panic!("{more}: {other:?}"),
        };
        assert_eq!(found, kind, "{more}");
    }
}

#[test]
fn without_a_mail_there_is_no_message_id() {
    for (message, id) in [
        (json!(null), None),
        (json!("00000000-0000-0000-0000-000000000000"), None),
        (json!(MESSAGE), Some(MESSAGE)),
    ] {
        let more = json!({ "MessageID": message, "Recipient": "a@b.co", "DeliveredAt": AT });
        let event = event(&body("Delivery", &more));
        assert_eq!(event.message_id.as_deref(), id);
        assert_eq!(event.dedupe_key.is_some(), id.is_some());
    }
}

#[test]
fn webhooks_not_about_a_mail_are_skipped() {
    for body in [
        json!({ "RecordType": "Inbound" }),
        json!({ "RecordType": "MadeTomorrow" }),
        body(
            "Bounce",
            &json!({ "Type": "AutoResponder", "BouncedAt": AT }),
        ),
        body(
            "Bounce",
            &json!({ "Type": "InboundError", "BouncedAt": AT }),
        ),
    ] {
        let read = read(&body);
        assert!(
            matches!(read, Ok(DeliveryReading::Skipped { .. })),
            "{body}: {read:?}"
        );
    }
}

#[test]
fn what_is_missing_is_named() {
    for (body, word) in [
        (json!([]), "RecordType"),
        (
            json!({ "From": "a@b.co", "Subject": "inbound" }),
            "RecordType",
        ),
        (body("Bounce", &json!({ "BouncedAt": AT })), "Type"),
        (
            body("Bounce", &json!({ "Type": "HardBounce" })),
            "BouncedAt",
        ),
        (
            body("Delivery", &json!({ "DeliveredAt": "today" })),
            "DeliveredAt",
        ),
        (body("Open", &json!({ "DeliveredAt": AT })), "ReceivedAt"),
        (
            body("SubscriptionChange", &json!({ "ChangedAt": AT })),
            "SuppressSending",
        ),
    ] {
        match read(&body) {
            Err(Refusal::Invalid { details, .. }) => {
                assert!(details.starts_with(word), "{body}: {details}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn the_secret_comes_in_one_of_four_ways() {
    let secret = "user:pass:word";
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let known = body("Delivery", &json!({ "DeliveredAt": AT })).to_string();
    for (secret, name, value, known_it) in [
        (secret, "authorization", basic("user:pass:word"), true),
        (secret, "authorization", basic("other:pass:word"), false),
        (secret, "authorization", basic("pass:word"), false),
        ("pass:word", "authorization", basic("user:pass:word"), true),
        (
            "pass:word",
            "authorization",
            basic("anyone:pass:word"),
            true,
        ),
        ("word", "authorization", basic("user:pass:word"), false),
        ("hush", "authorization", basic("user:hush"), true),
        ("hush", "authorization", basic(":hush"), true),
        ("hush", "authorization", basic("hush"), true),
        ("hush", "authorization", basic("hush:"), false),
        ("hush", "authorization", basic("user:hush "), false),
        ("hush", "authorization", "basic dXNlcjpodXNo".into(), true),
        ("hush", "authorization", "Basic hush".into(), false),
        ("hush", "authorization", "Basic".into(), false),
        ("hush", "authorization", "Basic ".into(), false),
        ("hush", "authorization", "hush".into(), false),
        ("hush", "authorization", "Bearer hush".into(), true),
        ("hush", "authorization", "bearer hush".into(), true),
        ("hush", "authorization", "Bearer Hush".into(), false),
        ("hush", "authorization", "Bearer".into(), false),
        ("hush", "authorization", "Digest hush".into(), false),
        ("hush", "x-postmark-webhook-secret", "hush".into(), true),
        ("hush", "x-postmark-webhook-secret", "hus".into(), false),
        ("hush", "x-postmark-webhook-secret", String::new(), false),
        ("hush", "x-other", "hush".into(), false),
    ] {
        let read = read_with(secret, &[(name, &value)], &known);
        assert_eq!(
            read != Err(Refusal::unauthorized()),
            known_it,
            "{secret}: {name}: {value}"
        );
    }
}

#[test]
fn the_secret_before_counts_while_it_is_being_replaced() {
    let plugin = start(&[
        ("POSTMARK_WEBHOOK_SECRET", "new"),
        ("POSTMARK_WEBHOOK_SECRET_PREVIOUS", "old"),
    ]);
    let known = body("Delivery", &json!({ "DeliveredAt": AT })).to_string();
    for (secret, knows_it) in [("new", true), ("old", true), ("older", false)] {
        let header = ("authorization".to_owned(), format!("Bearer {secret}"));
        let webhook = Webhook::new(vec![header], known.as_str(), kit::beginning());
        let read: Result<DeliveryReading, Refusal> = kit::call(
            plugin.as_ref(),
            method::DELIVERY_READ_WEBHOOK,
            webhook,
            kit::no_requests,
        )
        .unwrap();
        assert_eq!(read != Err(Refusal::unauthorized()), knows_it, "{secret}");
    }
}
