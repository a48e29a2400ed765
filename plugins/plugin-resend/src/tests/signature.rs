//! Signatures made by the npm package `svix` 1.99.1, whose own `verify` gives the same verdicts.

use chrono::DateTime;
use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::{DeliveryReading, Refusal, Settings, Webhook};
use hogsend_plugin_kit as kit;
use serde::Deserialize;

use crate::Resend;

const VECTORS: &str = include_str!("fixtures/svix.json");

#[derive(Deserialize)]
struct Vector {
    name: String,
    secret: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    /// Unix seconds.
    received: i64,
    genuine: bool,
}

fn read(vector: &Vector) -> Result<DeliveryReading, Refusal> {
    let plugin = kit::start::<Resend>(&Settings::from([(
        "RESEND_WEBHOOK_SECRET",
        vector.secret.as_str(),
    )]));
    let headers = vector.headers.clone().into_iter().collect();
    let received_at = DateTime::from_timestamp(vector.received, 0).unwrap();
    let webhook = Webhook::new(headers, vector.body.as_str(), received_at);
    kit::call(
        plugin.unwrap().as_ref(),
        method::DELIVERY_READ_WEBHOOK,
        webhook,
        kit::no_requests,
    )
    .unwrap()
}

#[test]
fn a_webhook_is_believed_where_svix_believes_it() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    let genuine = vectors.iter().filter(|vector| vector.genuine).count();
    assert!(vectors.len() > 30 && genuine > 12);
    for vector in &vectors {
        // An empty body is genuine too, but holds no event.
        let believed = read(vector) != Err(Refusal::unauthorized());
        assert_eq!(believed, vector.genuine, "{}", vector.name);
    }
}

#[test]
fn the_key_of_an_event_is_the_id_of_its_message() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors.iter().take(2) {
        let Ok(DeliveryReading::Events(events)) = read(vector) else {
            panic!("{}", vector.name);
        };
        let id = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
        assert_eq!(events[0].dedupe_key.as_deref(), Some(id), "{}", vector.name);
    }
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_without_being_shown() {
    for secret in ["whsec_", "whsec_hush!", "hush hush", "whsec_aHVzaA", "é"] {
        let settings = Settings::from([("RESEND_WEBHOOK_SECRET", secret)]);
        let error = kit::start::<Resend>(&settings).err().unwrap();
        assert_eq!(error.code, CallError::BAD_SETTINGS);
        let message = error.message;
        assert!(message.starts_with("RESEND_WEBHOOK_SECRET "), "{message}");
        let hidden = secret.trim_start_matches("whsec_");
        assert!(hidden.is_empty() || !message.contains(hidden), "{message}");
    }
}

#[test]
fn the_secret_before_counts_while_it_is_being_replaced() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    let vector = vectors.iter().find(|vector| vector.genuine).unwrap();
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (secrets, believed) in [
        ((other, vector.secret.as_str()), true),
        ((vector.secret.as_str(), other), true),
        ((other, other), false),
    ] {
        let plugin = kit::start::<Resend>(&Settings::from([
            ("RESEND_WEBHOOK_SECRET", secrets.0),
            ("RESEND_WEBHOOK_SECRET_PREVIOUS", secrets.1),
        ]));
        let headers = vector.headers.clone().into_iter().collect();
        let received_at = DateTime::from_timestamp(vector.received, 0).unwrap();
        let read: Result<DeliveryReading, Refusal> = kit::call(
            plugin.unwrap().as_ref(),
            method::DELIVERY_READ_WEBHOOK,
            Webhook::new(headers, vector.body.as_str(), received_at),
            kit::no_requests,
        )
        .unwrap();
        assert_eq!(
            read != Err(Refusal::unauthorized()),
            believed,
            "{secrets:?}"
        );
    }
}
