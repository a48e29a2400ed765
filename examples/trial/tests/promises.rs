//! What Hogsend relies on in every plugin with journeys, and the branches of this one.

use hogsend_example_trial::Trial;
use hogsend_plugin_api::Settings;
use hogsend_plugin_api::journey::{days, hours};
use hogsend_plugin_kit::journeys::{Scene, conformance};
use hogsend_plugin_kit::sim::Status;
use hogsend_plugin_kit::{Sim, start};

fn settings() -> Settings {
    Settings::from([
        ("TRIAL_DAYS", "10"),
        ("TRIAL_UPGRADE_URL", "https://app.example.com/upgrade"),
    ])
}

fn simulation() -> Sim<'static> {
    Sim::of(start::<Trial>(&settings()).unwrap())
}

#[test]
fn the_trial_keeps_what_every_journeys_plugin_promises() {
    conformance::<Trial>(&Scene {
        settings: settings(),
        ..Scene::default()
    });
}

#[test]
fn who_does_nothing_gets_all_three_mails() {
    simulation()
        .event("trial.started")
        .advance(days(7))
        .assert_mails(&["trial-first-step", "trial-ends"])
        .advance(days(11))
        .assert_mails(&["trial-first-step", "trial-ends", "trial-offer"]);
}

#[test]
fn who_begins_alone_gets_no_hint() {
    simulation()
        .event("trial.started")
        .advance(hours(5))
        .event("feature.used")
        .advance(days(7))
        .assert_mails(&["trial-ends"]);
}

#[test]
fn who_subscribes_is_left_alone() {
    simulation()
        .event("trial.started")
        .advance(days(2))
        .event("subscription.created")
        .advance(days(30))
        .assert_mails(&["trial-first-step"])
        .assert_status(Status::Exited);
}

#[test]
fn a_setting_that_is_no_number_of_days_is_named() {
    for wrong in ["soon", "3", "0", "9999", "-1"] {
        let mut settings = settings();
        settings.insert("TRIAL_DAYS", wrong);
        let error = start::<Trial>(&settings).err().unwrap();
        assert!(error.message.contains("TRIAL_DAYS is"), "{error}");
    }
}
