//! The journey, with a clock that the test moves.

use hogsend_plugin_acme::AcmePlugin;
use hogsend_plugin_api::Settings;
use hogsend_plugin_api::journey::days;
use hogsend_plugin_kit::{Sim, start};

fn simulation() -> Sim<'static> {
    Sim::of(start::<AcmePlugin>(&Settings::default()).unwrap())
}

#[test]
fn who_does_not_come_back_gets_a_reminder() {
    simulation()
        .event("user.created")
        .advance(days(4))
        .assert_mails(&["acme-welcome", "acme-reminder"]);
}

#[test]
fn who_comes_back_gets_none() {
    simulation()
        .event("user.created")
        .advance(days(1))
        .event("feature.used")
        .advance(days(4))
        .assert_mails(&["acme-welcome"]);
}
