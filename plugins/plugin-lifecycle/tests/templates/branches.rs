//! How the templates use their values.

use serde_json::{Value, json};

use crate::rendered::{Rendered, mail};

fn says(mail: &Rendered, sentence: &str) {
    // Lines of a text part may break anywhere.
    let words: Vec<_> = mail.text.split_whitespace().collect();
    assert!(words.join(" ").contains(sentence), "{}", mail.text);
}

fn subjects(key: &str, props: &[Value]) -> Vec<String> {
    props.iter().map(|props| mail(key, props).subject).collect()
}

#[test]
fn days_are_counted_as_people_count_them() {
    for (days, words) in [
        (json!(1), "Your trial ends within a day"),
        (json!(3), "Your trial ends in 3 days"),
        (json!("3"), "Your trial ends soon"),
        (json!(null), "Your trial ends soon"),
    ] {
        let mail = mail("conversion-trial-expiring", &json!({ "days_left": days }));
        assert_eq!(mail.subject, words);
        assert!(mail.text.starts_with(&format!("{words}\n")));
    }
}

#[test]
fn each_reminder_of_a_payment_reads_otherwise() {
    let reminders: Vec<_> = (1..=3)
        .map(|number| json!({ "reminder": number }))
        .collect();
    assert_eq!(
        subjects("churn-payment-failed", &reminders),
        [
            "Your payment did not go through",
            "Your payment is still open",
            "Last reminder: your payment is open"
        ]
    );
    let props = json!({ "amount": 12.5, "plan": "Pro" });
    let mail = mail("churn-payment-failed", &props);
    says(
        &mail,
        "your last payment of 12.5 for the Pro plan. That happens",
    );
}

#[test]
fn milestones_are_named_counted_or_neither() {
    for (props, sentence) in [
        (
            json!({ "milestone": "100 reports" }),
            "reached something: 100 reports. That",
        ),
        (
            json!({ "count": 4 }),
            "you have reached 4 milestones already. That",
        ),
        (
            json!({ "count": 1 }),
            "you have reached your first milestone. That",
        ),
        (json!({}), "you have reached your first milestone. That"),
    ] {
        says(&mail("conversion-usage-milestone", &props), sentence);
    }
    let detail = json!({ "detail": "ten of ten." });
    says(
        &mail("retention-achievement", &detail),
        "a milestone: ten of ten.",
    );
}

#[test]
fn an_offer_is_made_only_where_there_is_one() {
    let plain = mail("conversion-winback-offer", &json!({}));
    assert_eq!(plain.subject, "The door is open");
    assert!(!plain.text.contains("code"));
    let offer = json!({ "offer": "20% off", "code": "BACK" });
    let offer = mail("conversion-winback-offer", &offer);
    says(&offer, "come back: 20% off. Your code is BACK.");
}

#[test]
fn a_digest_lists_what_it_is_given() {
    let key = "retention-weekly-digest";
    for props in [
        json!({ "items": [{ "title": "One" }, "Two"] }),
        json!({ "events": [{ "name": "One" }, "Two"] }),
    ] {
        let mail = mail(key, &props);
        says(&mail, "- One - Two");
    }
    let more = json!({ "items": ["One"], "count": 3 });
    says(&mail(key, &more), "And 2 more before these.");
    let all = json!({ "items": ["One"], "count": 1 });
    assert!(!mail(key, &all).text.contains("more before"));
    for nothing in [json!({}), json!({ "items": [] }), json!({ "items": "x" })] {
        says(&mail(key, &nothing), "there is nothing new to tell");
    }
}

#[test]
fn every_score_has_a_link_of_its_own() {
    for (url, joint) in [
        ("https://acme.test/nps", '?'),
        ("https://acme.test/nps?u=1", '&'),
    ] {
        let mail = mail("feedback-nps-survey", &json!({ "survey_url": url }));
        let escaped = url.replace('&', "&amp;");
        for score in 0..=10 {
            let link = format!("{url}{joint}score={score}\n");
            assert!(mail.text.contains(&format!("\n{score}: {link}")), "{link}");
        }
        assert_eq!(mail.html.matches(&escaped).count(), 11);
        assert_eq!(mail.html.matches("class=\"score\"").count(), 11);
    }
    let bare = mail("feedback-nps-survey", &json!({ "survey_url": 7 }));
    says(&bare, "Reply to this mail with a number.");
    let again = mail("feedback-nps-survey", &json!({ "reminder": true }));
    says(&again, "We asked you this some days ago");
}

#[test]
fn a_password_is_reset_by_link_by_code_or_by_hand() {
    let key = "password-reset";
    says(&mail(key, &json!({})), "go to the page where you sign in");
    let code = mail(key, &json!({ "code": "418 002", "valid_for": "an hour" }));
    says(&code, "Your code: 418 002 This works for an hour.");
    let link = mail(key, &json!({ "url": "https://acme.test/r" }));
    assert!(!link.text.contains("This works for"), "{}", link.text);
}

#[test]
fn a_notification_takes_one_paragraph_or_several() {
    let key = "journey-notification";
    says(&mail(key, &json!({ "message": "One." })), "Hi Ada, One. ");
    let two = json!({ "message": ["One.", "Two."], "closing": "Bye." });
    says(&mail(key, &two), "Hi Ada, One. Two. Bye. ");
    let bare = mail(key, &json!({}));
    assert_eq!(bare.subject, "News about your account");
    says(&bare, "There is something new in your account");
}
