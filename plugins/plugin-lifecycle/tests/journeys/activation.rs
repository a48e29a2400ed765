//! The welcome and the series that follows it.

use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{HasEventArgs, RunStatus, Sent, days, hours};
use serde_json::{Value, json};

use crate::walk::{Walk, sent, skipped};

const HOUR_MS: u64 = 3_600_000;

fn welcome() -> Walk {
    Walk::begin("activation-welcome", json!({}))
}

fn series() -> Walk {
    Walk::begin(
        "activation-nudge-series",
        json!({ "journeyId": "activation-welcome" }),
    )
}

#[test]
fn inactive_people_are_nudged_once_after_two_days() {
    let mut walk = welcome();
    assert_eq!(walk.mail("welcome"), json!({ "template": "welcome" }));
    assert_eq!(walk.sleeps("settle-in"), days(2));
    assert_eq!(
        walk.happened("feature.used", 0),
        json!({ "event": "feature.used", "within_ms": 49 * HOUR_MS })
    );
    walk.mail("activation-nudge");
    walk.completes(&[]);
}

#[test]
fn active_people_are_not_nudged() {
    let mut walk = welcome();
    walk.mail("welcome");
    walk.sleeps("settle-in");
    walk.happened("feature.used", 3);
    walk.completes(&["already-active"]);
}

#[test]
fn use_counts_from_entry_also_where_the_welcome_went_out_days_later() {
    let mut walk = welcome();
    walk.0.pass(days(3)).answer("send", sent()).pass(days(2));
    let (_, args, _) = walk.waits_on();
    let args: HasEventArgs = serde_json::from_value(args).unwrap();
    assert_eq!(args.within_ms, Some((5 * 24 + 1) * HOUR_MS));
}

#[test]
fn a_mail_that_is_skipped_or_refused_ends_nothing() {
    let refused = Ok(json!(Sent::failed(Default::default(), "no such box")));
    for fate in [skipped(), refused] {
        let mut walk = welcome();
        walk.0.answer("send", fate.clone()).pass(days(2));
        walk.happened("feature.used", 0);
        walk.0.answer("send", fate);
        walk.completes(&[]);
    }
}

#[test]
fn a_template_that_does_not_render_fails_the_run_at_its_line() {
    let mut walk = welcome();
    walk.0.answer(
        "send",
        Err(StepError::new("template_failed", "line 3 is broken")),
    );
    match walk.0.status() {
        RunStatus::Failed {
            message, location, ..
        } => {
            assert!(message.contains("line 3 is broken"), "{message}");
            assert!(
                location.as_ref().unwrap().contains("activation_welcome.rs"),
                "{location:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// After the first use the series is the same, whenever that was.
fn goes_on(mut walk: Walk) {
    assert_eq!(
        walk.finds(hours(20)),
        json!({ "tomorrow": { "hour": 10, "minute": 0 } })
    );
    walk.sleeps("next-day");
    assert_eq!(
        walk.mail("activation-feature-highlight")["props"],
        Value::Null
    );
    assert_eq!(
        walk.finds(days(4)),
        json!({ "in": { "ms": 96 * HOUR_MS, "hour": 10, "minute": 0 } })
    );
    walk.sleeps("settle-in");
    walk.mail("activation-community");
    walk.completes(&["started"]);
}

#[test]
fn people_who_have_started_get_the_next_feature_and_no_quickstart() {
    let mut walk = series();
    let wait = walk.event("feature.used", json!({}));
    assert_eq!(wait["timeout_ms"], 48 * HOUR_MS);
    assert_eq!(
        wait["lookback_ms"],
        72 * HOUR_MS,
        "use during the welcome counts"
    );
    goes_on(walk);
}

#[test]
fn the_quickstart_helps_to_begin() {
    let mut walk = series();
    walk.silence("feature.used");
    walk.daytime(hours(9));
    walk.mail("activation-quickstart");
    let wait = walk.event("feature.used", json!({}));
    assert_eq!(wait["timeout_ms"], 72 * HOUR_MS);
    goes_on(walk);
}

fn never_begins() -> Walk {
    let mut walk = series();
    walk.silence("feature.used");
    walk.daytime(hours(0));
    walk.mail("activation-quickstart");
    walk.silence("feature.used");
    walk
}

#[test]
fn readers_who_do_not_start_get_the_community() {
    for (opened, clicked) in [(true, false), (false, true)] {
        let mut walk = never_begins();
        walk.became_of("activation-quickstart", opened, clicked);
        walk.daytime(hours(3));
        walk.mail("activation-community");
        walk.completes(&["not-started"]);
    }
}

#[test]
fn non_readers_get_no_further_mail() {
    let mut walk = never_begins();
    walk.became_of("activation-quickstart", false, false);
    walk.exits("did not read the quickstart");
    assert_eq!(walk.0.checkpoints(), ["not-started"]);
}
