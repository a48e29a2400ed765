//! What every plugin with journeys promises.

use hogsend_plugin_kit::journeys::{Scene, conformance};
use hogsend_plugin_lifecycle::Lifecycle;
use serde_json::json;

#[test]
fn the_stock_journeys_keep_what_every_journeys_plugin_promises() {
    conformance::<Lifecycle>(&Scene {
        events: vec![(
            "activation-nudge-series",
            json!({ "journeyId": "activation-welcome" }),
        )],
        ..Scene::default()
    });
}
