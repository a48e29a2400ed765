//! What Hogsend relies on in every event source. This file imitates the vendor.

use hogsend_plugin_acme::AcmePlugin;
use hogsend_plugin_api::Settings;
use hogsend_plugin_kit::event_source::{Signed, Vendor, conformance, no_host};

const SECRET: &str = "whisper-0123456789";

#[test]
fn acme_keeps_what_every_event_source_promises() {
    conformance::<AcmePlugin>(&Vendor {
        // No output may contain a secret, so take one that appears nowhere else.
        settings: Settings::from([("ACME_WEBHOOK_SECRET", SECRET)]),
        sign: |body, _at| Signed::new(vec![("x-acme-secret".into(), SECRET.into())], body),
        // How long a signature is valid, where the vendor signs the time.
        tolerance: None,
        events: vec![
            r#"{"id":"evt_1","type":"order.placed","at":"2026-01-01T00:00:00Z","customer":{"id":"c1","email":"ann@example.com"},"order":{"total":12}}"#.into(),
            r#"{"id":"evt_2","type":"customer.created","customer":{"id":"c2","external_id":"u2"}}"#.into(),
        ],
        others: vec![r#"{"id":"evt_3","type":"shop.renamed"}"#.into()],
        gives_ids: true,
        // Answers what `read` asks the host for.
        host: no_host,
    });
}
