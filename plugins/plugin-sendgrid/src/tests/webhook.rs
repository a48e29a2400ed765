//! Every event SendGrid documents
//! (<https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event>).

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::{ID, start};

const MESSAGE: &str = "cl7fCvN3Q4uA7Y1UNJ1GyA.recvd-bc88646b4-xvcx8-1-6536F5F0-7B.0";

/// Without a key, as in development.
fn read(body: &Value) -> Result<DeliveryReading, Refusal> {
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

fn events(body: &Value) -> Vec<DeliveryEvent> {
    match read(body) {
        Ok(DeliveryReading::Events(events)) => events,
        other => panic!("{body}: {other:?}"),
    }
}

fn body(event: &str, more: &Value) -> Value {
    let mut body = json!({
        "email": "ann@example.com",
        "timestamp": 1_700_000_000,
        "event": event,
        "smtp-id": "<1@acme.test>",
        "category": ["template:welcome"],
        "sg_event_id": "e1",
        "sg_message_id": MESSAGE,
        "hs_id": ID,
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

fn expected(kind: Kind) -> DeliveryEvent {
    let mut event = DeliveryEvent::new(kind, "2023-11-14T22:13:20Z".parse().unwrap());
    event.dedupe_key = Some("e1".into());
    event.message_id = Some("cl7fCvN3Q4uA7Y1UNJ1GyA".into());
    event.send_id = Some(ID.parse().unwrap());
    event.email = Some("ann@example.com".into());
    event
}

#[test]
fn each_event_means_what_sendgrid_documents() {
    for (name, more, kind, bounce, reason) in [
        ("processed", json!({}), Kind::Sent, None, None),
        (
            "deferred",
            json!({ "response": "400 try again later", "attempt": "5" }),
            Kind::Delayed,
            None,
            Some("400 try again later"),
        ),
        (
            "delivered",
            json!({ "response": "250 OK" }),
            Kind::Delivered,
            None,
            None,
        ),
        (
            "bounce",
            json!({ "type": "bounce", "status": "5.0.0", "reason": "500 unknown recipient" }),
            Kind::Bounced,
            Some(BounceType::Permanent),
            Some("5.0.0: 500 unknown recipient"),
        ),
        (
            "bounce",
            json!({ "type": "blocked", "reason": "spam" }),
            Kind::Bounced,
            Some(BounceType::Undetermined),
            Some("spam"),
        ),
        (
            "bounce",
            json!({}),
            Kind::Bounced,
            Some(BounceType::Permanent),
            None,
        ),
        ("spamreport", json!({}), Kind::Complained, None, None),
        ("unsubscribe", json!({}), Kind::Unsubscribed, None, None),
        (
            "group_unsubscribe",
            json!({}),
            Kind::Unsubscribed,
            None,
            None,
        ),
    ] {
        let mut expected = expected(kind);
        expected.bounce = bounce;
        expected.reason = reason.map(str::to_owned);
        assert_eq!(events(&json!([body(name, &more)])), [expected], "{name}");
    }
    for (reason, kind) in [
        ("Bounced Address", Kind::Suppressed),
        ("Spam Reporting Address", Kind::Suppressed),
        ("Unsubscribed Address", Kind::Suppressed),
        ("Invalid", Kind::Suppressed),
        ("Spam Content", Kind::Failed),
        ("Invalid SMTPAPI header", Kind::Failed),
        ("Recipient List over Package Quota", Kind::Failed),
        ("Made tomorrow", Kind::Failed),
    ] {
        let found = events(&json!([body("dropped", &json!({ "reason": reason }))]));
        let mut expected = expected(kind);
        expected.reason = Some(reason.into());
        assert_eq!(found, [expected], "{reason}");
    }
}

#[test]
fn an_open_and_a_click_have_their_agent_and_a_machines_open_is_left_out() {
    let agent = json!({ "useragent": "Mozilla/5.0", "url": "https://acme.test/start" });
    let mut open = expected(Kind::Opened);
    open.user_agent = Some("Mozilla/5.0".into());
    assert_eq!(events(&json!([body("open", &agent)])), [open.clone()]);
    let human = json!({ "useragent": "Mozilla/5.0", "sg_machine_open": false });
    assert_eq!(events(&json!([body("open", &human)])), [open]);
    let mut click = expected(Kind::Clicked);
    click.user_agent = Some("Mozilla/5.0".into());
    click.link = Some("https://acme.test/start".into());
    assert_eq!(events(&json!([body("click", &agent)])), [click]);
    let machine = json!([body("open", &json!({ "sg_machine_open": true }))]);
    assert!(matches!(
        read(&machine),
        Ok(DeliveryReading::Skipped { .. })
    ));
}

#[test]
fn the_message_id_is_the_one_of_the_acceptance() {
    for (given, id) in [
        (MESSAGE, "cl7fCvN3Q4uA7Y1UNJ1GyA"),
        (
            "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
            "14c5d75ce93.dfd.64b469",
        ),
        ("abc.0", "abc"),
        ("abc", "abc"),
    ] {
        let found = events(&json!([body(
            "delivered",
            &json!({ "sg_message_id": given })
        )]));
        assert_eq!(found[0].message_id.as_deref(), Some(id), "{given}");
    }
}

/// Without ids the host still suppresses the address.
#[test]
fn an_asynchronous_bounce_has_only_the_address() {
    let found = events(&json!([{
        "bounce_classification": "Invalid Address", "email": "ann@example.com", "event": "bounce",
        "reason": "550 5.1.1 no such user", "sg_event_id": "e1", "timestamp": 1_700_000_000,
        "type": "bounce",
    }]));
    let mut expected = expected(Kind::Bounced);
    expected.bounce = Some(BounceType::Permanent);
    expected.reason = Some("550 5.1.1 no such user".into());
    (expected.message_id, expected.send_id) = (None, None);
    assert_eq!(found, [expected]);
}

#[test]
fn one_event_that_cannot_be_read_does_not_cost_the_others() {
    let good = body("delivered", &json!({}));
    let other = body("group_resubscribe", &json!({}));
    let bad = json!({ "event": "bounce" });
    let all = json!([bad, null, good, other]);
    assert_eq!(events(&all), [expected(Kind::Delivered)]);
    for (body, word) in [
        (json!([bad, other]), "timestamp"),
        (
            json!([{ "event": "open", "timestamp": "now" }]),
            "timestamp",
        ),
        (json!([{}]), "event"),
        (json!([null]), "event"),
        (json!({}), "the body must be an array"),
    ] {
        match read(&body) {
            Err(Refusal::Invalid { details, .. }) => {
                assert!(details.starts_with(word), "{body}: {details}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    for body in [json!([]), json!([other])] {
        assert!(
            matches!(read(&body), Ok(DeliveryReading::Skipped { .. })),
            "{body}"
        );
    }
}
