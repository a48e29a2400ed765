//! What every delivery plugin promises.

use hogsend_plugin_api::Settings;
use hogsend_plugin_api::kit::delivery::{Provider, conformance, message};

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
