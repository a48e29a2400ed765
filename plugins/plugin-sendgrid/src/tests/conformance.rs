//! The conformance test of delivery plugins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hogsend_mime::NameAddr;
use hogsend_plugin_api::{Body, HttpResponse, Settings};
use hogsend_plugin_kit::delivery::{Hooks, Http, Provider, Seen, Signed, conformance, no_host};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::KEY;
use crate::SendGrid;

/// A key of this test, in place of SendGrid's own.
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTzVFepgUdfx1ICtPedP5P7FHHUc31R+RkL2FGwA6h/ahRANCAATHZyFkflLHVSlebkztSZgvXjcSobJFGpOj0Oxxc/FzLTeYbkNiG+aKVQMEwUV3QbPstuws8NPkBToNwIS4dMlW";
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEx2chZH5Sx1UpXm5M7UmYL143EqGyRRqTo9DscXPxcy03mG5DYhvmilUDBMFFd0Gz7LbsLPDT5AU6DcCEuHTJVg==";

#[test]
fn sendgrid_keeps_what_every_delivery_plugin_promises() {
    conformance::<SendGrid>(&Provider {
        settings: Settings::from([
            ("SENDGRID_API_KEY", KEY),
            ("SENDGRID_WEBHOOK_VERIFICATION_KEY", PUBLIC),
        ]),
        contents,
        http: Some(Http { accepted, failure }),
        hooks: Some(Hooks {
            sign,
            known: &[
                r#"[{"email":"ann@example.com","timestamp":1700000000,"event":"delivered","sg_event_id":"e1","sg_message_id":"14c5.recvd-1.0"}]"#,
                r#"[{"email":"ann@example.com","timestamp":1700000000,"event":"bounce","type":"bounce","sg_event_id":"e2","sg_message_id":"14c5.recvd-1.0"},{"email":"bob@example.com","timestamp":1700000000,"event":"open","sg_event_id":"e3","hs_id":"01234567-89ab-7cde-8f01-23456789abcd"}]"#,
            ],
            unknown: &[
                r#"[{"email":"ann@example.com","timestamp":1700000000,"event":"group_resubscribe","sg_event_id":"e4"}]"#,
                r#"[{"event":"made_tomorrow"}]"#,
            ],
            host: no_host,
        }),
    });
}

fn contents(body: &Body) -> Vec<Seen> {
    let mail: Value = serde_json::from_slice(body.as_slice()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mailbox = |value: &Value| {
        let name = value["name"].as_str().map(str::to_owned);
        let address = text(&value["email"]);
        NameAddr { name, address }.to_string()
    };
    let part = |kind: &str| {
        let parts = mail["content"].as_array().unwrap();
        let part = parts.iter().find(|part| part["type"] == kind).unwrap();
        text(&part["value"])
    };
    vec![Seen {
        from: mailbox(&mail["from"]),
        to: mailbox(&mail["personalizations"][0]["to"][0]),
        reply_to: mail.get("reply_to").map(mailbox),
        subject: text(&mail["subject"]),
        html: part("text/html"),
        text: part("text/plain"),
        headers: mail["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    }]
}

fn accepted(ids: &[&str]) -> HttpResponse {
    HttpResponse::new(202, &[("x-message-id", ids[0])], "")
}

fn failure(status: u16, words: &str) -> HttpResponse {
    let body = json!({ "errors": [{ "message": words, "field": null, "help": null }] });
    HttpResponse::new(status, &[], body.to_string())
}

fn sign(body: &[u8], at: DateTime<Utc>) -> Signed {
    let random = SystemRandom::new();
    let key = STANDARD.decode(PRIVATE).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random).unwrap();
    let time = at.timestamp().to_string();
    let signature = key
        .sign(&random, &[time.as_bytes(), body].concat())
        .unwrap();
    let headers = [
        (
            "x-twilio-email-event-webhook-signature",
            STANDARD.encode(signature),
        ),
        ("x-twilio-email-event-webhook-timestamp", time),
    ];
    let own = headers.map(|(name, value)| (name.to_owned(), value));
    Signed::new(own.into(), body)
}
