//! What Hogsend relies on in every event source, and what this one reads.

use hmac::{Hmac, Mac};
use hogsend_example_github::GitHub;
use hogsend_plugin_api::Settings;
use hogsend_plugin_kit::event_source::{Sample, Signed, Vendor, conformance, no_host};
use sha2::Sha256;

const SECRET: &str = "whisper-0123456789";

fn sign(body: &[u8]) -> Signed {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    Signed::new(vec![("x-hub-signature-256".into(), signature)], body)
}

fn sample(event: &str, delivery: &str, body: &str) -> Sample {
    Sample::new(body)
        .header("x-github-event", event)
        .header("x-github-delivery", delivery)
}

#[test]
fn github_keeps_what_every_event_source_promises() {
    conformance::<GitHub>(&Vendor {
        settings: Settings::from([("GITHUB_WEBHOOK_SECRET", SECRET)]),
        sign: |body, _at| sign(body),
        // GitHub signs no time.
        tolerance: None,
        events: vec![
            sample(
                "star",
                "72d3162e",
                r#"{"action":"created","starred_at":"2026-01-01T00:00:00Z","repository":{"full_name":"acme/shop","html_url":"https://github.com/acme/shop"},"sender":{"id":7,"login":"ann"}}"#,
            ),
            sample(
                "issues",
                "83e4273f",
                r#"{"action":"opened","issue":{"title":"It fails","html_url":"https://github.com/acme/shop/issues/1","created_at":"2026-01-01T00:00:00Z"},"repository":{"full_name":"acme/shop"},"sender":{"id":7,"login":"ann"}}"#,
            ),
        ],
        others: vec![
            sample(
                "ping",
                "94f5384a",
                r#"{"zen":"Design for failure.","hook_id":1}"#,
            ),
            sample(
                "star",
                "a5064955",
                r#"{"action":"deleted","sender":{"id":7}}"#,
            ),
        ],
        gives_ids: true,
        host: no_host,
    });
}

/// From GitHub's page on validating deliveries.
#[test]
fn the_signature_is_githubs() {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").unwrap();
    mac.update(b"Hello, World!");
    assert_eq!(
        hex::encode(mac.finalize().into_bytes()),
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    );
}
