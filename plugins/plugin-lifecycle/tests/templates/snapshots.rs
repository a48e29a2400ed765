//! Snapshots of every mail, with all the values it can use.

use insta::{assert_snapshot, with_settings};
use serde_json::{Value, json};

use crate::rendered::{mail, templates};

/// All the values a journey may pass to each template.
pub fn full(key: &str) -> Value {
    let url = "https://app.acme.test/start?a=1&b=2";
    match key {
        "activation-feature-highlight" => json!({
            "url": url, "feature": "shared reports",
            "detail": "With them your colleagues see the same numbers as you, without an account.",
        }),
        "conversion-trial-expiring" => json!({ "url": url, "days_left": 3, "plan": "Pro" }),
        "conversion-usage-milestone" => json!({ "url": url, "count": 4, "plan": "Pro" }),
        "conversion-winback-offer" => json!({
            "url": url, "offer": "20% off the first three months", "code": "BACK20"
        }),
        "churn-payment-failed" => json!({
            "url": url, "amount": "€12.00", "plan": "Pro", "reminder": 2
        }),
        "retention-achievement" => json!({
            "url": url, "milestone": "100 reports", "detail": "The first was in May."
        }),
        "retention-weekly-digest" => json!({
            "url": url, "period": "this week", "count": 5, "items": [
                { "title": "100 reports", "detail": "The first was in May." },
                { "title": "A second workspace", "url": "https://app.acme.test/w/2" },
                "Ten colleagues",
            ]
        }),
        "feedback-nps-survey" => json!({
            "survey_url": "https://app.acme.test/nps?u=1", "reminder": true
        }),
        "password-reset" => json!({
            "url": "https://app.acme.test/reset/Zx81", "code": "418 002", "valid_for": "one hour"
        }),
        "journey-notification" => json!({
            "url": url, "title": "Your export is ready", "action": "Download it",
            "preview": "It took four minutes.",
            "message": ["The export you asked for is done.", "It is kept for seven days."],
            "closing": "After that you can simply ask for it again.",
        }),
        _ => json!({ "url": url }),
    }
}

#[test]
fn every_template_is_as_reviewed() {
    for template in templates() {
        let key = template.key;
        for (state, props) in [("full", full(&key)), ("bare", json!({}))] {
            let mail = mail(&key, &props);
            let head = format!("Subject: {}\nPreview: {}\n\n", mail.subject, mail.preview);
            with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                assert_snapshot!(format!("{key}.{state}.text"), head + &mail.text);
                if state == "full" {
                    assert_snapshot!(format!("{key}.html"), mail.html);
                }
            });
        }
    }
}

/// Writes the mails to files for a browser: `cargo test -- --ignored write_pages`.
#[test]
#[ignore = "for people who want to look at the mails"]
fn write_pages() {
    let folder = std::env::temp_dir().join("tpl");
    std::fs::create_dir_all(&folder).unwrap();
    for template in templates() {
        let key = template.key;
        for (state, props) in [("full", full(&key)), ("bare", json!({}))] {
            let page = folder.join(format!("{key}.{state}.html"));
            std::fs::write(page, mail(&key, &props).html).unwrap();
        }
    }
}
