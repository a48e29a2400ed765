//! Dormant people.

use hogsend_plugin_api::journey::days;
use serde_json::{Value, json};

use crate::walk::Walk;

fn checked_in(about: Value) -> (Walk, Value) {
    let mut walk = Walk::begin("reactivation-dormancy", about);
    let asked = walk.happened("feature.used", 0);
    assert_eq!(asked["within_ms"], 3 * 86_400_000);
    assert_eq!(
        walk.finds(days(5)),
        json!({ "next": { "weekday": "Tue", "hour": 10, "minute": 0 } })
    );
    walk.sleeps("tuesday");
    let mail = walk.mail("reactivation-checkin");
    assert_eq!(walk.sleeps("time-to-answer"), days(7));
    (walk, mail)
}

#[test]
fn recently_active_people_are_not_dormant() {
    let mut walk = Walk::begin("reactivation-dormancy", json!({}));
    walk.happened("feature.used", 1);
    walk.exits("was active in the last days");
}

#[test]
fn people_who_follow_the_link_get_no_last_nudge() {
    let (mut walk, mail) = checked_in(json!({ "url": "https://acme.test" }));
    assert_eq!(mail["props"], json!({ "url": "https://acme.test" }));
    walk.became_of("reactivation-checkin", true, true);
    walk.completes(&["interested"]);
}

#[test]
fn silence_is_answered_once_and_then_with_silence() {
    for opened in [true, false] {
        let (mut walk, mail) = checked_in(json!({}));
        assert_eq!(mail["props"], Value::Null);
        walk.became_of("reactivation-checkin", opened, false);
        walk.mail("reactivation-final-nudge");
        assert_eq!(walk.sleeps("time-to-return"), days(14));
        walk.completes(&["asleep"]);
    }
}
