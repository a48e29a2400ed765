//! The conformance test of delivery plugins.

use hogsend_plugin_api::Settings;
use hogsend_plugin_kit::delivery::{Provider, conformance};
use hogsend_plugin_kit_message::message;

use crate::Outbox;

#[test]
fn the_outbox_keeps_what_every_delivery_plugin_promises() {
    conformance::<Outbox>(&Provider {
        settings: Settings::default(),
        contents: |body| vec![message(body.as_slice())],
        http: None,
        hooks: None,
    });
}
