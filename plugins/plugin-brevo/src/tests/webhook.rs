//! Every event Brevo documents (<https://developers.brevo.com/docs/transactional-webhooks>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    BounceType, DeliveryEvent, DeliveryEventKind as Kind, DeliveryReading, Refusal, Webhook,
};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use super::{ID, start};

const MESSAGE: &str = "<202603020900.1@smtp-relay.mailin.fr>";

fn read_with(
    secret: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<DeliveryReading, Refusal> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers = headers.iter().map(own).collect();
    let webhook = Webhook::new(headers, body, kit::beginning());
    let plugin = start(&[("BREVO_WEBHOOK_SECRET", secret)]);
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

fn events(body: &Value) -> Vec<DeliveryEvent> {
    match read(body) {
        Ok(DeliveryReading::Events(events)) => events,
        other => panic!("{body}: {other:?}"),
    }
}

fn body(event: &str, more: &Value) -> Value {
    let mut body = json!({
        "id": 26_224,
        "event": event,
        "email": "ann@example.com",
        "message-id": MESSAGE,
        "date": "2023-11-14 23:13:20",
        "ts": 1_700_003_600,
        "ts_event": 1_700_000_000,
        "ts_epoch": 1_700_000_000_250_i64,
        "subject": "Wélcome",
        "X-Mailin-custom": ID,
        "tags": ["template:welcome"],
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

fn expected(kind: Kind, name: &str) -> DeliveryEvent {
    let mut event = DeliveryEvent::new(kind, "2023-11-14T22:13:20.250Z".parse().unwrap());
    event.dedupe_key = Some(format!("{MESSAGE}|{name}|ann@example.com|1700000000250|"));
    event.message_id = Some(MESSAGE.into());
    event.send_id = Some(ID.parse().unwrap());
    event.email = Some("ann@example.com".into());
    event
}

#[test]
fn each_event_means_what_brevo_documents() {
    let reason = json!({ "reason": "550 5.1.1 no such user" });
    for (name, kind, bounce) in [
        ("request", Kind::Sent, None),
        ("delivered", Kind::Delivered, None),
        ("deferred", Kind::Delayed, None),
        ("soft_bounce", Kind::Bounced, Some(BounceType::Transient)),
        ("hard_bounce", Kind::Bounced, Some(BounceType::Permanent)),
        ("invalid_email", Kind::Bounced, Some(BounceType::Permanent)),
        ("blocked", Kind::Suppressed, None),
        ("error", Kind::Failed, None),
        ("spam", Kind::Complained, None),
        ("complaint", Kind::Complained, None),
        ("unsubscribed", Kind::Unsubscribed, None),
        ("unsubscribe", Kind::Unsubscribed, None),
    ] {
        let mut expected = expected(kind, name);
        expected.bounce = bounce;
        let told = matches!(
            kind,
            Kind::Bounced | Kind::Delayed | Kind::Failed | Kind::Suppressed
        );
        expected.reason = told.then(|| "550 5.1.1 no such user".into());
        assert_eq!(events(&body(name, &reason)), [expected.clone()], "{name}");
        assert_eq!(events(&json!([body(name, &reason)])), [expected], "{name}");
    }
}

#[test]
fn an_open_and_a_click_have_their_agent_and_a_first_open_is_one() {
    let agent = json!({ "user_agent": "Mozilla/5.0", "link": "https://acme.test/start" });
    for name in ["opened", "unique_opened"] {
        let mut open = expected(Kind::Opened, "opened");
        open.user_agent = Some("Mozilla/5.0".into());
        assert_eq!(events(&body(name, &agent)), [open], "{name}");
    }
    let mut click = expected(Kind::Clicked, "click");
    click.user_agent = Some("Mozilla/5.0".into());
    click.link = Some("https://acme.test/start".into());
    let key = click.dedupe_key.unwrap() + "https://acme.test/start";
    click.dedupe_key = Some(key);
    assert_eq!(events(&body("click", &agent)), [click]);
}

#[test]
fn what_is_not_about_a_mail_or_of_a_machine_is_skipped() {
    for name in [
        "proxy_open",
        "unique_proxy_open",
        "list_addition",
        "made_tomorrow",
    ] {
        let read = read(&body(name, &json!({})));
        assert!(
            matches!(&read, Ok(DeliveryReading::Skipped { reason, .. }) if !reason.is_empty()),
            "{name}: {read:?}"
        );
    }
}

#[test]
fn times_are_in_milliseconds_or_seconds_and_never_in_the_accounts_zone() {
    for (more, at) in [
        (json!({}), "2023-11-14T22:13:20.250Z"),
        (json!({ "ts_epoch": 1_700_000_000 }), "2023-11-14T22:13:20Z"),
        (json!({ "ts_epoch": null }), "2023-11-14T22:13:20Z"),
    ] {
        let found = events(&body("delivered", &more));
        assert_eq!(
            found[0].occurred_at,
            at.parse::<chrono::DateTime<chrono::Utc>>().unwrap()
        );
    }
}

#[test]
fn one_event_that_cannot_be_read_does_not_cost_the_others() {
    let good = body("delivered", &json!({}));
    let bad = json!({ "event": "hard_bounce", "ts": 1_700_003_600 });
    let all = json!([bad, null, good, body("proxy_open", &json!({}))]);
    assert_eq!(events(&all), [expected(Kind::Delivered, "delivered")]);
    for (body, word) in [
        (bad.clone(), "ts_epoch"),
        (json!([bad]), "ts_epoch"),
        (json!({}), "event"),
        (json!([null]), "event"),
        (json!("text"), "event"),
    ] {
        match read(&body) {
            Err(Refusal::Invalid { details, .. }) => {
                assert!(details.starts_with(word), "{body}: {details}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    assert!(matches!(
        read(&json!([])),
        Ok(DeliveryReading::Skipped { .. })
    ));
}

#[test]
fn the_secret_comes_in_one_of_four_ways() {
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let known = body("delivered", &json!({})).to_string();
    for (secret, name, value, known_it) in [
        ("user:pass", "authorization", basic("user:pass"), true),
        ("user:pass", "authorization", basic("other:pass"), false),
        ("pass", "authorization", basic("anyone:pass"), true),
        ("pass", "authorization", basic("pass:"), false),
        ("hush", "authorization", "Bearer hush".into(), true),
        ("hush", "authorization", "bearer hush".into(), true),
        ("hush", "authorization", "Bearer Hush".into(), false),
        ("hush", "authorization", "hush".into(), false),
        ("hush", "authorization", "Basic hush".into(), false),
        ("hush", "x-brevo-webhook-secret", "hush".into(), true),
        ("hush", "x-brevo-webhook-secret", "hus".into(), false),
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
        ("BREVO_WEBHOOK_SECRET", "new"),
        ("BREVO_WEBHOOK_SECRET_PREVIOUS", "old"),
    ]);
    let known = body("delivered", &json!({})).to_string();
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
