//! The conformance test of delivery plugins, as far as it needs no server.

use hogsend_plugin_api::Settings;
use hogsend_plugin_kit::delivery::{Provider, conformance};
use hogsend_plugin_kit_message::message;
use hogsend_plugin_smtp::Smtp;

#[test]
fn smtp_keeps_what_every_delivery_plugin_promises() {
    conformance::<Smtp>(&Provider {
        settings: Settings::from([("SMTP_HOST", "localhost"), ("SMTP_TLS", "none")]),
        // The message follows the envelope's line.
        contents: |body| {
            let bytes = body.as_slice();
            let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            vec![message(&bytes[line + 1..])]
        },
        http: None,
        hooks: None,
    });
}
