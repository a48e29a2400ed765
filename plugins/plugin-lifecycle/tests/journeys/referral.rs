//! Recommendations.

use hogsend_plugin_api::journey::{days, hours, step};
use serde_json::{Value, json};

use crate::walk::{Walk, skipped};

/// Up to the wait for a referral.
fn invited(about: Value) -> (Walk, Value) {
    let mut walk = Walk::begin("referral-invite", about);
    walk.is_in("churn-prevention", false);
    walk.answer(step::IS_SUBSCRIBED, json!(true));
    assert_eq!(walk.sleeps("next-day"), days(1));
    walk.daytime(hours(5));
    let mail = walk.mail("journey-notification");
    (walk, mail)
}

fn joined() -> Walk {
    let (mut walk, _) = invited(json!({}));
    let wait = walk.event("referral.joined", json!({}));
    assert_eq!(wait["timeout_ms"], 30 * 86_400_000_u64);
    walk
}

#[test]
fn nobody_is_asked_a_favour_while_a_payment_is_open() {
    let mut walk = Walk::begin("referral-invite", json!({}));
    walk.is_in("churn-prevention", true);
    walk.exits("a payment is open");
}

#[test]
fn unsubscribed_people_get_none() {
    let mut walk = Walk::begin("referral-invite", json!({}));
    walk.is_in("churn-prevention", false);
    walk.answer(step::IS_SUBSCRIBED, json!(false));
    walk.exits("is not subscribed to these mails");
}

#[test]
fn the_invitation_names_what_there_is_in_it() {
    let url = "https://acme.test/invite";
    for (about, closing) in [
        (
            json!({ "reward": "a month for free", "url": url }),
            "For everyone who joins through you: a month for free.",
        ),
        (
            json!({ "reward": 10, "url": url }),
            "There is nothing in it for you but our thanks, and we mean those.",
        ),
    ] {
        let (mut walk, mail) = invited(about);
        assert_eq!(mail["props"]["closing"], closing);
        assert_eq!(mail["props"]["url"], url);
        walk.silence("referral.joined");
        walk.completes(&["nobody-joined"]);
    }
}

#[test]
fn the_first_who_joins_brings_a_thank_you() {
    for (fate, thanked) in [(None, true), (Some(skipped()), false)] {
        let mut walk = joined();
        let asked = walk.answer("once.get", json!({ "found": false, "value": null }));
        assert_eq!(asked, json!({ "key": "thanked" }));
        assert_eq!(walk.sleeps("settle-in"), days(2));
        match fate {
            None => {
                let thanks = walk.mail("journey-notification");
                assert_eq!(thanks["subject"], "Somebody joined through you. Thank you!");
            }
            Some(fate) => {
                walk.0.answer(step::SEND, fate);
            }
        }
        let kept = walk.answer("once.put", Value::Null);
        assert_eq!(kept, json!({ "key": "thanked", "value": thanked }));
        walk.completes(&["joined"]);
    }
}

#[test]
fn those_who_join_later_bring_none() {
    let mut walk = joined();
    walk.answer("once.get", json!({ "found": true, "value": true }));
    walk.completes(&["joined"]);
}
