//! Milestones.

use hogsend_plugin_api::journey::{Digest, hours, step, weeks};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use crate::walk::{Walk, occurrence};

const HOUR_MS: u64 = 3_600_000;

fn milestone(about: Value, first_of_week: bool) -> Walk {
    let mut walk = Walk::begin("retention-milestone", about);
    assert_eq!(
        walk.answer(step::THROTTLE, json!(first_of_week)),
        json!({ "limit": 1, "window_ms": 7 * 24 * HOUR_MS })
    );
    walk
}

fn gathered(events: Vec<Value>) -> Value {
    let events: Vec<_> = events
        .into_iter()
        .map(|about| occurrence("milestone.reached", about, kit::beginning()))
        .collect();
    let count = events.len() as u64;
    json!(Digest::new(events, count))
}

#[test]
fn the_first_of_a_week_is_congratulated_by_day() {
    for (until_day, window) in [(0, 1), (11, 11)] {
        let about = json!({ "milestone": "100 reports", "detail": "In May", "url": "https://a.test", "by": 1 });
        let mut walk = milestone(about.clone(), true);
        assert_eq!(
            walk.finds(hours(until_day)),
            json!({ "window": { "start": [9, 0], "end": [20, 0] } })
        );
        let asked = walk.answer(step::DIGEST, gathered(vec![about]));
        assert_eq!(asked, json!({ "window_ms": window * HOUR_MS }));
        assert_eq!(
            walk.mail("retention-achievement")["props"],
            json!({ "milestone": "100 reports", "detail": "In May", "url": "https://a.test" })
        );
        walk.completes(&["one"]);
    }
}

#[test]
fn a_milestone_without_a_name_is_one_too() {
    for events in [vec![json!({})], vec![]] {
        let mut walk = milestone(json!({ "milestone": null }), true);
        walk.finds(hours(0));
        walk.answer(step::DIGEST, gathered(events));
        assert_eq!(walk.mail("retention-achievement")["props"], Value::Null);
        walk.completes(&["one"]);
    }
}

#[test]
fn several_at_once_share_a_mail() {
    let mut walk = milestone(json!({}), true);
    walk.finds(hours(0));
    walk.answer(
        step::DIGEST,
        gathered(vec![
            json!({ "milestone": "10 reports", "detail": "In a day" }),
            json!({}),
        ]),
    );
    assert_eq!(
        walk.mail("retention-weekly-digest")["props"],
        json!({ "count": 2, "items": [
            { "title": "10 reports", "detail": "In a day" },
            { "title": "A milestone", "detail": null },
        ] })
    );
    walk.completes(&["several"]);
}

#[test]
fn what_follows_within_the_week_comes_together() {
    let mut walk = milestone(json!({ "milestone": "1" }), false);
    let many = (1..=12).map(|number| json!({ "milestone": format!("No. {number}") }));
    let asked = walk.answer(step::DIGEST, gathered(many.collect()));
    assert_eq!(asked["window_ms"], weeks(1).as_millis() as u64);
    let slot = walk.answer(step::THROTTLE, json!(true));
    assert_eq!(slot["limit"], 1, "the digest takes the place of the next");
    walk.daytime(hours(2));
    let props = walk.mail("retention-weekly-digest")["props"].clone();
    assert_eq!(props["count"], 12);
    assert_eq!(props["items"].as_array().unwrap().len(), 10);
    assert_eq!(props["items"][0]["title"], "No. 3", "the newest are listed");
    walk.completes(&["week"]);
}
