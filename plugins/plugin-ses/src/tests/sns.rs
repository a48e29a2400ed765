//! Messages of SNS: which are believed, and what the plugin asks for them.

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{Command, DeliveryReading, Refusal, StepError, Webhook};
use hogsend_plugin_kit::delivery::Signed;
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use super::sender::{CERTIFICATE, CERTIFICATE_URL, OTHER_CERTIFICATE, Sender, posted};
use super::{TOPIC, notification, start};

type Read = Result<DeliveryReading, Refusal>;

const DELIVERY: &str = r#"{"eventType":"Delivery","mail":{"timestamp":"2026-01-01T00:00:00.000Z","messageId":"0102"},"delivery":{"recipients":["ann@example.com"]}}"#;
const SUBSCRIBE_URL: &str = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:123456789012:ses-events&Token=2336";

/// A host with a cache. Answers with a status and a body; no status means that there is no answer.
#[derive(Default)]
struct Net {
    certificate: Option<(u16, &'static str)>,
    confirmation: Option<u16>,
    cached: Option<&'static str>,
    asked: Vec<String>,
    stored: Vec<Value>,
}

impl Net {
    fn with(certificate: &'static str) -> Self {
        Self {
            certificate: Some((200, certificate)),
            confirmation: Some(200),
            ..Self::default()
        }
    }

    fn read_with(&mut self, settings: &[(&str, &str)], signed: &Signed) -> Read {
        let webhook = Webhook::new(
            signed.headers.clone(),
            signed.body.clone(),
            kit::beginning(),
        );
        let plugin = start(settings);
        let host = |command: &Command| self.answer(command);
        kit::call(
            plugin.as_ref(),
            method::DELIVERY_READ_WEBHOOK,
            webhook,
            host,
        )
        .unwrap()
    }

    fn read(&mut self, signed: &Signed) -> Read {
        self.read_with(&[("SES_TOPIC_ARN", TOPIC)], signed)
    }

    fn answer(&mut self, command: &Command) -> Result<Value, StepError> {
        match command.kind.as_str() {
            "cache_get" => return Ok(json!(self.cached)),
            "cache_put" => {
                self.stored.push(command.args.clone());
                return Ok(Value::Null);
            }
            _ => {}
        }
        let url = request(command).url;
        let answer = if url.contains(".pem") {
            self.certificate
        } else {
            self.confirmation.map(|status| (status, "<xml/>"))
        };
        self.asked.push(url);
        let (status, body) = answer.ok_or_else(|| StepError::new("http_lost", "no answer"))?;
        response(status, &[], body)
    }
}

fn is_delivery(read: &Read) -> bool {
    matches!(read, Ok(DeliveryReading::Events(events)) if events.len() == 1)
}

fn refusal(read: &Read) -> &str {
    match read {
        Err(Refusal::Unauthorized {
            reason: Some(reason),
            ..
        }) => reason,
        other => panic!("{other:?}"),
    }
}

fn body(signed: &Signed) -> Value {
    serde_json::from_slice(&signed.body).unwrap()
}

/// Both signatures were made with OpenSSL.
#[test]
fn both_versions_of_the_signature_are_verified() {
    for (version, signature) in [
        (
            "1",
            "enOhCSTlQ+IzBzb93MsnNoaYuNsIWMhUp/OfY9EId6Oxc2rCdeJsg1Peo3iD6ENtunU0dd0EQpLMa5UFWJFZzm1nW3qu1AxQtN8MGlzQomafW0n5OwVIwb01jTYiw3CQCGFceP5jDgb7qPoQFKkKIIHSUrX9lFUAbGDXiv3lT3j0dIxSg+2KIi1VshwP6yRzaB6HnG/XXQXR12uftMik3GBfXc9Xc44Lud2F6zuWGXTZeE9Q/lXXg998GhNmKO51YcupS+ansqndRVKNIuun8vuXNELfbUyVqMjoQcmEBxJ2hOf726jqgpO0YvGoy3Oh1EfgVJra/CR4lI0vJ7mvJA==",
        ),
        (
            "2",
            "lD7o4SxYsgESJFu5y50z7VjV6BgWRVhG0JeEFOQ8KIT5g54MfoI84g4wuiSwOTN50s+YXJlj3c9PnVPKpjmrqQFRm/pk4ojoWl8ZkXRtf6+ncUv3HAvcjOWTQuwBkqgn0vJYt5G1sd/7TaPXPQ/MtVOAnm1hWD7E1mLa83fMNMGDL8jwK2em1Db1Rjqw3+LrGKd6RMIDdefTcJYZkkyXdwstpfclsp36dqpeKFDNo/wyBVHV8d+5ppbNRAX/597j+yDOjJyvezBMq9dbZg7yHO/0BGbYI5NMtFOg918CmxG0bNajnnoejZO8MZPo04lA6Fdmt1T0tDX3K0t8mhOI3w==",
        ),
    ] {
        let fields = json!({
            "Type": "Notification",
            "MessageId": "11111111-2222-3333-4444-555555555555",
            "TopicArn": TOPIC,
            "Message": r#"{"eventType":"Bounce"}"#,
            "Timestamp": "2023-11-14T22:13:20.000Z",
            "SignatureVersion": version,
            "Signature": signature,
            "SigningCertURL": CERTIFICATE_URL,
        });
        // It is believed, and only then found to lack what a bounce has.
        let read = Net::with(CERTIFICATE).read(&posted(&fields));
        let Err(Refusal::Invalid { details, .. }) = &read else {
            panic!("{version}: {read:?}");
        };
        assert!(details.starts_with("mail is required"), "{details}");
        for other in ["1", "2", "3", ""]
            .iter()
            .filter(|other| **other != version)
        {
            let mut fields = fields.clone();
            fields["SignatureVersion"] = json!(other);
            refusal(&Net::with(CERTIFICATE).read(&posted(&fields)));
        }
    }
}

#[test]
fn a_certificate_is_fetched_once_and_then_cached() {
    let signed = notification(DELIVERY, kit::beginning());
    let mut net = Net::with(CERTIFICATE);
    assert!(is_delivery(&net.read(&signed)));
    assert_eq!(net.asked, [CERTIFICATE_URL]);
    let key = format!("ses:certificate:{CERTIFICATE_URL}");
    assert_eq!(
        net.stored,
        [json!({ "key": key, "value": CERTIFICATE, "ttl_ms": 86_400_000 })]
    );
    let mut net = Net {
        cached: Some(CERTIFICATE),
        ..Net::default()
    };
    assert!(is_delivery(&net.read(&signed)));
    assert!(net.asked.is_empty());
}

#[test]
fn a_message_with_another_word_is_refused() {
    let genuine = body(&notification(DELIVERY, kit::beginning()));
    for field in ["Message", "MessageId", "Subject", "Timestamp", "Signature"] {
        for wrong in [json!("QUJD"), json!(null)] {
            let mut fields = genuine.clone();
            fields[field] = wrong;
            let mut net = Net::with(CERTIFICATE);
            let read = net.read(&posted(&fields));
            refusal(&read);
            assert!(net.stored.is_empty(), "{field}");
        }
    }
    let mut net = Net::with(OTHER_CERTIFICATE);
    let read = net.read(&posted(&genuine));
    assert_eq!(refusal(&read), "the signature does not fit the message");
}

#[test]
fn nothing_is_fetched_for_a_stranger() {
    let genuine = body(&notification(DELIVERY, kit::beginning()));
    for (field, wrong, reason) in [
        (
            "TopicArn",
            "arn:aws:sns:eu-west-1:999999999999:ses-events",
            "is not in SES_TOPIC_ARN",
        ),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com.evil.test/x.pem",
            "SigningCertURL",
        ),
        (
            "SigningCertURL",
            "https://sns.us-east-1.amazonaws.com/x.pem",
            "SigningCertURL",
        ),
        (
            "SigningCertURL",
            "http://sns.eu-west-1.amazonaws.com/x.pem",
            "SigningCertURL",
        ),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com/x.crt",
            "SigningCertURL",
        ),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com/x.pem?y",
            "SigningCertURL",
        ),
        (
            "SigningCertURL",
            "https://a@sns.eu-west-1.amazonaws.com/x.pem",
            "SigningCertURL",
        ),
        ("Signature", "", "no signature"),
        ("Signature", "not base64", "no signature"),
        ("Type", "MadeTomorrow", "not a message of SNS"),
    ] {
        let mut fields = genuine.clone();
        fields[field] = json!(wrong);
        let mut net = Net::with(CERTIFICATE);
        let read = net.read(&posted(&fields));
        assert!(refusal(&read).contains(reason), "{field} {wrong}: {read:?}");
        assert!(net.asked.is_empty(), "{field} {wrong}");
    }
}

#[test]
fn the_headers_must_say_what_the_body_says() {
    for name in [
        "x-amz-sns-message-type",
        "x-amz-sns-message-id",
        "x-amz-sns-topic-arn",
    ] {
        let mut signed = notification(DELIVERY, kit::beginning());
        signed.headers.retain(|(header, _)| header != name);
        let mut net = Net::with(CERTIFICATE);
        let read = net.read(&signed);
        assert!(refusal(&read).contains(name), "{read:?}");
        assert!(net.asked.is_empty());
    }
}

#[test]
fn a_message_waits_while_its_certificate_cannot_be_had() {
    let signed = notification(DELIVERY, kit::beginning());
    for certificate in [None, Some((503, "")), Some((200, "<html>"))] {
        let mut net = Net {
            certificate,
            ..Net::default()
        };
        let read = net.read(&signed);
        let Ok(DeliveryReading::Answer { status: 503, .. }) = read else {
            panic!("{read:?}");
        };
        assert!(net.stored.is_empty());
    }
}

#[test]
fn one_of_several_topics_is_enough() {
    let signed = notification(DELIVERY, kit::beginning());
    let topics = format!("arn:aws:sns:us-east-1:123456789012:other, {TOPIC}");
    let read = Net::with(CERTIFICATE).read_with(&[("SES_TOPIC_ARN", &topics)], &signed);
    assert!(is_delivery(&read));
}

fn confirmation(subscribe_url: &str) -> Signed {
    let mut fields = Sender::fields("You have chosen to subscribe", kit::beginning());
    fields["Type"] = json!("SubscriptionConfirmation");
    fields["Token"] = json!("2336");
    fields["SubscribeURL"] = json!(subscribe_url);
    Sender::new().sign(fields)
}

#[test]
fn the_subscription_of_a_configured_topic_is_confirmed() {
    let mut net = Net::with(CERTIFICATE);
    let read = net.read(&confirmation(SUBSCRIBE_URL));
    let Ok(DeliveryReading::Skipped { reason, .. }) = &read else {
        panic!("{read:?}");
    };
    assert_eq!(*reason, format!("the subscription to {TOPIC} is confirmed"));
    assert_eq!(net.asked, [CERTIFICATE_URL, SUBSCRIBE_URL]);
    // The token confirms: it is a secret until then.
    assert!(!format!("{read:?}").contains("2336"));
}

#[test]
fn no_other_subscription_is_confirmed() {
    let mut forged = body(&confirmation(SUBSCRIBE_URL));
    forged["Signature"] = json!("QUJD");
    let mut strange = body(&confirmation(SUBSCRIBE_URL));
    strange["TopicArn"] = json!("arn:aws:sns:eu-west-1:999999999999:x");
    for signed in [posted(&forged), posted(&strange)] {
        let mut net = Net::with(CERTIFICATE);
        refusal(&net.read(&signed));
        assert!(!net.asked.iter().any(|url| url == SUBSCRIBE_URL));
    }
    for url in ["https://evil.test/", "http://sns.eu-west-1.amazonaws.com/"] {
        let mut net = Net::with(CERTIFICATE);
        let read = net.read(&confirmation(url));
        assert!(matches!(read, Err(Refusal::Invalid { .. })), "{read:?}");
        assert_eq!(net.asked, [CERTIFICATE_URL]);
    }
    // In development without a topic nothing is verified, and nothing is fetched.
    let mut net = Net::with(CERTIFICATE);
    let read = net.read_with(&[], &confirmation(SUBSCRIBE_URL));
    let Ok(DeliveryReading::Skipped { reason, .. }) = &read else {
        panic!("{read:?}");
    };
    assert!(reason.contains("SES_TOPIC_ARN") && reason.contains(TOPIC));
    assert!(net.asked.is_empty());
}

#[test]
fn a_confirmation_that_fails_is_repeated_or_explained() {
    for (confirmation_status, expected) in [
        (None, "again"),
        (Some(500), "again"),
        (Some(302), "again"),
        (Some(429), "again"),
        (Some(400), "invalid"),
        (Some(403), "invalid"),
    ] {
        let mut net = Net {
            confirmation: confirmation_status,
            ..Net::with(CERTIFICATE)
        };
        let found = match net.read(&confirmation(SUBSCRIBE_URL)) {
            Ok(DeliveryReading::Answer { status: 503, .. }) => "again",
            Err(Refusal::Invalid { .. }) => "invalid",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{confirmation_status:?}");
    }
}

#[test]
fn a_deleted_subscription_is_told_and_not_renewed() {
    let mut fields = body(&confirmation(SUBSCRIBE_URL));
    fields["Type"] = json!("UnsubscribeConfirmation");
    let mut net = Net::with(CERTIFICATE);
    let read = net.read(&Sender::new().sign(fields));
    assert!(
        matches!(read, Ok(DeliveryReading::Skipped { .. })),
        "{read:?}"
    );
    assert_eq!(net.asked, [CERTIFICATE_URL]);
}

#[test]
fn a_stand_in_is_asked_in_place_of_sns() {
    let mut net = Net::with(CERTIFICATE);
    let settings = [
        ("SES_TOPIC_ARN", TOPIC),
        ("SES_SNS_BASE_URL", "http://127.0.0.1:4009"),
    ];
    net.read_with(&settings, &confirmation(SUBSCRIBE_URL))
        .unwrap();
    let origin = "https://sns.eu-west-1.amazonaws.com";
    let expected = [CERTIFICATE_URL, SUBSCRIBE_URL];
    let expected = expected.map(|url| url.replace(origin, "http://127.0.0.1:4009"));
    assert_eq!(net.asked, expected);
}

#[test]
fn raw_messages_are_refused_with_the_switch_to_turn() {
    let raw = Signed::new(Vec::new(), DELIVERY);
    let read = Net::default().read(&raw);
    assert!(refusal(&read).contains("raw message delivery"));
    let read = Net::default().read_with(&[], &raw);
    assert!(matches!(read, Err(Refusal::Invalid { .. })), "{read:?}");
}
