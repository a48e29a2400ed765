//! What Hogsend relies on in every plugin with journeys.

use hogsend_plugin_acme::AcmePlugin;
use hogsend_plugin_kit::journeys::{Scene, conformance};

#[test]
fn acme_keeps_what_every_journeys_plugin_promises() {
    conformance::<AcmePlugin>(&Scene {
        // For a journey with a condition on its trigger: ("acme-welcome", json!({ "plan": "pro" })).
        events: Vec::new(),
        ..Scene::default()
    });
}
