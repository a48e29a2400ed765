//! Trials and checkouts.

use hogsend_plugin_api::journey::{days, hours, minutes, step};
use serde_json::{Value, json};

use crate::walk::Walk;

const HOUR_MS: u64 = 3_600_000;
const URL: &str = "https://app.acme.test/plans";

fn trial(about: Value) -> Walk {
    Walk::begin("conversion-trial-upgrade", about)
}

fn checkout(about: Value) -> Walk {
    Walk::begin("conversion-abandoned-checkout", about)
}

#[test]
fn a_trial_with_nothing_known_takes_fourteen_days() {
    let mut walk = trial(json!({}));
    assert_eq!(walk.sleeps("halfway"), days(7));
    assert_eq!(
        walk.happened("usage.milestone", 0)["within_ms"],
        7 * 24 * HOUR_MS
    );
    assert_eq!(walk.sleeps("last-days"), days(4));
    walk.daytime(hours(0));
    let notice = walk.mail("conversion-trial-expiring");
    assert_eq!(notice["props"], json!({ "days_left": 3 }));
    assert_eq!(walk.sleeps("after-the-end"), days(5));
    walk.daytime(hours(1));
    assert_eq!(walk.mail("conversion-winback-offer")["props"], Value::Null);
    walk.completes(&["quiet-trial"]);
}

#[test]
fn an_active_trial_gets_its_milestone_and_half_of_them_the_offer() {
    for arm in ["offer", "plain"] {
        let mut walk = trial(json!({
            "ends_at": "2026-01-31T00:00:00+00:00", "plan": "pro", "url": URL, "offer": "20% off"
        }));
        assert_eq!(walk.sleeps("halfway"), days(15));
        walk.happened("usage.milestone", 4);
        walk.daytime(hours(10));
        assert_eq!(
            walk.mail("conversion-usage-milestone")["props"],
            json!({ "count": 4, "plan": "pro", "url": URL })
        );
        assert_eq!(walk.sleeps("last-days"), days(12) - hours(10));
        walk.daytime(hours(9));
        assert_eq!(
            walk.mail("conversion-trial-expiring")["props"],
            json!({ "days_left": 3, "plan": "pro", "url": URL })
        );
        assert_eq!(walk.sleeps("after-the-end"), days(5) - hours(9));
        assert_eq!(
            walk.answer(step::VARIANT, json!(arm)),
            json!({ "key": "winback", "arms": ["offer", "plain"] })
        );
        walk.daytime(hours(0));
        let props = walk.mail("conversion-winback-offer")["props"].clone();
        assert_eq!(
            props.get("offer").is_some(),
            arm == "offer",
            "{arm}: {props}"
        );
        walk.completes(&[]);
    }
}

#[test]
fn a_short_trial_has_its_notice_alone() {
    for (trial_days, before, left) in [
        (9, days(6), 3),
        (6, days(3), 3),
        (2, days(0), 2),
        (1, days(0), 1),
    ] {
        let mut walk = trial(json!({ "trial_days": trial_days }));
        assert_eq!(walk.sleeps("last-days"), before);
        walk.daytime(hours(0));
        let notice = walk.mail("conversion-trial-expiring");
        assert_eq!(notice["props"], json!({ "days_left": left }));
        walk.sleeps("after-the-end");
        walk.daytime(hours(0));
        walk.mail("conversion-winback-offer");
        walk.completes(&[]);
    }
}

#[test]
fn a_trial_that_ends_before_the_next_day_has_no_notice() {
    let mut walk = trial(json!({ "ends_at": "2026-01-01T05:00:00Z" }));
    walk.sleeps("last-days");
    walk.daytime(hours(9));
    assert_eq!(walk.sleeps("after-the-end"), days(2) - hours(4));
    walk.daytime(hours(0));
    walk.mail("conversion-winback-offer");
    walk.completes(&["ended-overnight"]);
}

#[test]
fn a_trial_reported_too_late_exits() {
    for ends_at in ["2025-12-24T00:00:00Z", "2026-01-01T00:00:00Z"] {
        trial(json!({ "ends_at": ends_at })).exits("the trial was over when its event arrived");
    }
}

#[test]
fn a_length_that_cannot_be_is_the_usual_one() {
    for about in [
        json!({ "trial_days": 0 }),
        json!({ "trial_days": -3 }),
        json!({ "trial_days": 4000 }),
        json!({ "trial_days": "seven" }),
        json!({ "trial_days": null, "ends_at": "soon" }),
        json!({ "ends_at": 1_767_225_600 }),
    ] {
        assert_eq!(trial(about.clone()).sleeps("halfway"), days(7), "{about}");
    }
    let mut walk = trial(json!({ "ends_at": "2999-01-01T00:00:00Z" }));
    assert_eq!(walk.sleeps("halfway"), days(183));
}

#[test]
fn an_order_within_the_hour_is_the_usual_case() {
    let mut walk = checkout(json!({ "checkout_id": "c-1" }));
    let wait = walk.event("order.completed", json!({ "checkout_id": "c-1" }));
    assert_eq!(wait["timeout_ms"], HOUR_MS);
    assert_eq!(
        wait["where"],
        json!({ "property": { "path": "checkout_id", "op": "eq", "value": "c-1" } })
    );
    walk.completes(&["ordered"]);
}

#[test]
fn an_order_at_night_spares_the_reminder() {
    let mut walk = checkout(json!({}));
    let wait = walk.silence("order.completed");
    assert_eq!(wait["where"], Value::Null, "any order counts");
    assert_eq!(
        walk.finds(hours(8)),
        json!({ "window": { "start": [9, 0], "end": [20, 0] } })
    );
    let wait = walk.event("order.completed", json!({}));
    assert_eq!(wait["timeout_ms"], 8 * HOUR_MS);
    assert_eq!(wait["lookback_ms"], HOUR_MS + 300_000, "all since entry");
    walk.completes(&["ordered"]);
}

fn reminded(about: Value) -> (Walk, Value) {
    let mut walk = checkout(about);
    walk.silence("order.completed");
    walk.finds(minutes(0));
    walk.silence("order.completed");
    let mail = walk.mail("journey-notification");
    (walk, mail)
}

#[test]
fn the_reminder_leads_back_to_the_checkout() {
    let (mut walk, mail) = reminded(json!({ "url": "https://acme.test/c/1", "checkout_id": 7 }));
    assert_eq!(mail["subject"], "Your order is not finished yet");
    assert_eq!(mail["props"]["url"], "https://acme.test/c/1");
    let wait = walk.event("order.completed", json!({ "checkout_id": 7 }));
    assert_eq!(wait["timeout_ms"], 48 * HOUR_MS);
    assert_eq!(wait["where"]["property"]["value"], 7);
    walk.completes(&["ordered-after-reminder"]);
}

#[test]
fn without_an_offer_one_reminder_is_all() {
    for about in [
        json!({}),
        json!({ "offer": " " }),
        json!({ "offer": 5, "checkout_id": {} }),
    ] {
        let (mut walk, mail) = reminded(about);
        assert_eq!(mail["props"].get("url"), None);
        walk.silence("order.completed");
        walk.completes(&["let-go"]);
    }
}

#[test]
fn the_offer_comes_once_in_thirty_days() {
    for goes in [true, false] {
        let (mut walk, _) = reminded(json!({ "offer": "Free shipping" }));
        walk.silence("order.completed");
        assert_eq!(
            walk.answer(step::THROTTLE, json!(goes)),
            json!({ "limit": 1, "window_ms": 30 * 24 * HOUR_MS })
        );
        if goes {
            walk.daytime(hours(2));
            let offer = walk.mail("conversion-winback-offer");
            assert_eq!(offer["props"], json!({ "offer": "Free shipping" }));
            walk.completes(&[]);
        } else {
            walk.exits("had an offer in the last 30 days");
        }
    }
}

#[test]
fn only_what_is_a_link_becomes_the_button() {
    for url in [
        json!("javascript:alert(1)"),
        json!(""),
        json!(7),
        json!(null),
        json!(["https://a.test"]),
    ] {
        let (_, mail) = reminded(json!({ "url": url }));
        assert_eq!(mail["props"].get("url"), None, "{url}");
    }
}
