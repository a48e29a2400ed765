//! The survey.

use hogsend_plugin_api::journey::days;
use serde_json::{Value, json};

use crate::walk::Walk;

const SURVEY: &str = "https://acme.test/nps?u=1";

/// Up to the first wait for an answer.
fn asked(about: Value) -> Walk {
    let mut walk = Walk::begin("feedback-nps", about);
    assert_eq!(
        walk.finds(days(2)),
        json!({ "next": { "weekday": "Tue", "hour": 10, "minute": 0 } })
    );
    walk.sleeps("tuesday");
    let trouble = walk.happened("payment.failed", 0);
    assert_eq!(trouble["within_ms"], 7 * 86_400_000);
    walk.happened("support.ticket_opened", 0);
    walk
}

fn answered(score: Value) -> Walk {
    let mut walk = asked(json!({}));
    assert_eq!(walk.mail("feedback-nps-survey")["props"], Value::Null);
    let wait = walk.event("feedback.submitted", json!({ "score": score }));
    assert_eq!(wait["timeout_ms"], 4 * 86_400_000);
    assert_eq!(wait["where"]["property"]["op"], "exists");
    walk
}

#[test]
fn nobody_in_trouble_is_asked() {
    for trouble in ["payment.failed", "support.ticket_opened"] {
        let mut walk = Walk::begin("feedback-nps", json!({ "survey_url": SURVEY }));
        walk.finds(days(1));
        walk.sleeps("tuesday");
        if trouble == "support.ticket_opened" {
            walk.happened("payment.failed", 0);
        }
        walk.happened(trouble, 1);
        walk.exits("a bad moment to ask");
    }
}

#[test]
fn a_promoter_may_be_invited_to_recommend() {
    for score in [json!(9), json!(10), json!("10"), json!(" 9 ")] {
        let mut walk = answered(score);
        let eligible = walk.triggers("referral.eligible");
        assert_eq!(eligible["properties"], json!({ "source": "nps" }));
        walk.completes(&["promoter"]);
    }
}

#[test]
fn a_passive_answer_is_noted() {
    for score in [json!(7), json!("8")] {
        answered(score).completes(&["passive"]);
    }
}

#[test]
fn a_detractor_is_thanked_and_reported() {
    for (score, read) in [(json!(0), 0), (json!("6"), 6)] {
        let mut walk = answered(score);
        let triggered = walk.triggers("feedback.detractor");
        assert_eq!(triggered["properties"], json!({ "score": read }));
        let thanks = walk.mail("journey-notification");
        assert_eq!(thanks["subject"], "Thank you for your honest answer");
        walk.completes(&["detractor"]);
    }
}

#[test]
fn an_answer_that_is_no_score_ends_the_survey() {
    for score in [
        json!(11),
        json!(-1),
        json!(7.5),
        json!("good"),
        json!(true),
        json!([9]),
    ] {
        answered(score).completes(&["unreadable"]);
    }
}

#[test]
fn silence_is_asked_once_more() {
    for answer in [None, Some(json!({ "score": 8 }))] {
        let mut walk = asked(json!({ "survey_url": SURVEY }));
        let first = walk.mail("feedback-nps-survey");
        assert_eq!(first["props"], json!({ "survey_url": SURVEY }));
        walk.silence("feedback.submitted");
        let second = walk.mail("feedback-nps-survey");
        assert_eq!(
            second["props"],
            json!({ "survey_url": SURVEY, "reminder": true })
        );
        if let Some(answer) = answer {
            walk.event("feedback.submitted", answer);
            walk.completes(&["passive"]);
        } else {
            walk.silence("feedback.submitted");
            walk.completes(&["no-answer"]);
        }
    }
}
