//! The journey that tests a deployment.

use hogsend_plugin_kit as kit;
use serde_json::json;

use crate::walk::{Walk, properties};

#[test]
fn the_deployment_test_runs_its_chain_and_sends_nothing() {
    for (event, person, plan, path) in [
        (json!({ "plan": "pro" }), json!({}), "pro", "pro-path"),
        (json!({ "plan": "free" }), json!({}), "free", "free-path"),
        (json!({ "plan": "team" }), json!({}), "team", "free-path"),
        (json!({ "plan": 7 }), json!({}), "free", "free-path"),
        (json!({ "plan": " " }), json!({}), "free", "free-path"),
        (json!({}), json!({}), "free", "free-path"),
        (json!({}), json!({ "plan": "pro" }), "pro", "pro-path"),
        (
            json!({ "plan": "free" }),
            json!({ "plan": "pro" }),
            "free",
            "free-path",
        ),
    ] {
        let mut user = kit::user();
        user.properties = properties(person);
        let mut walk = Walk::begin_as(user, "test-onboarding", event);
        let fired = walk.triggers("journey.welcome_fired");
        assert_eq!(fired["properties"], json!({ "plan": plan }));
        walk.completes(&[path]);
        assert!(walk.0.journal().iter().all(|step| step.kind != "send"));
    }
}
