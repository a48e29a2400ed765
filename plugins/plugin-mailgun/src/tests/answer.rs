//! The meaning of Mailgun's answers, a row for each that it documents.

use chrono::{DateTime, TimeZone as _, Utc};
use hogsend_plugin_api::{HttpResponse, SendOutcome};
use hogsend_plugin_kit::delivery::summary;
use serde_json::json;

use super::KEY;
use crate::answer;

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2025, 8, 25, 7, 0, 1).unwrap()
}

fn of(status: u16, body: &str) -> (&'static str, String, Option<u64>) {
    let answer = HttpResponse::new(status, &[], body);
    summary(answer::outcome(&answer, KEY, now()))
}

#[test]
fn each_error_means_pause_block_stop_or_doubt() {
    for (status, words, word, fix) in [
        // The recipient's fault.
        (
            400,
            "to parameter is not a valid address. please check documentation",
            "recipient",
            "",
        ),
        (
            400,
            "'to' parameter is not a valid address. please check documentation",
            "recipient",
            "",
        ),
        (
            400,
            "cc parameter is not a valid address. please check documentation",
            "recipient",
            "",
        ),
        (
            400,
            "bcc parameter is not a valid address. please check documentation",
            "recipient",
            "",
        ),
        // The installation's.
        (
            400,
            "from parameter is not a valid address. please check documentation",
            "sender",
            "MAILGUN_FROM",
        ),
        (
            400,
            "'from' parameter is not a valid address. please check documentation",
            "sender",
            "MAILGUN_FROM",
        ),
        (
            400,
            "Domain x.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only",
            "blocked",
            "domain of your own",
        ),
        (
            400,
            "Domain mg.acme.test is not allowed to send: Free accounts are for test purposes only",
            "blocked",
            "domain of your own",
        ),
        (
            400,
            "Domain mg.acme.test is not allowed to send: The domain is unverified and requires DNS configuration",
            "blocked",
            "MAILGUN_DOMAIN",
        ),
        (
            400,
            "Domain mg.acme.test is not allowed to send: Your account is not activated",
            "blocked",
            "Look at the account",
        ),
        (
            400,
            "Domain mg.acme.test is not allowed to send: disabled",
            "blocked",
            "Look at the account",
        ),
        (401, "Forbidden", "blocked", "MAILGUN_REGION"),
        (401, "Invalid private key", "blocked", "MAILGUN_API_KEY"),
        (402, "Payment required", "blocked", "Look at the account"),
        (403, "Forbidden", "blocked", "Look at the account"),
        (
            404,
            "Domain not found: mg.acme.test",
            "blocked",
            "MAILGUN_REGION",
        ),
        (404, "", "blocked", "MAILGUN_BASE_URL"),
        (405, "Method not allowed", "blocked", "MAILGUN_BASE_URL"),
        (302, "", "blocked", "MAILGUN_BASE_URL"),
        (418, "the words", "blocked", ""),
        // The content's.
        (
            400,
            "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified",
            "rejected",
            "",
        ),
        (
            400,
            "Sending options, headers and variables are over 16 kB",
            "rejected",
            "",
        ),
        (400, "header name must be ASCII", "rejected", ""),
        (413, "Request Entity Too Large", "rejected", ""),
        // It passes.
        (429, "the words", "pause", ""),
        (420, "the words", "pause", ""),
        // Mailgun may have accepted the mail.
        (408, "the words", "unknown", ""),
        (500, "Internal Server Error", "unknown", ""),
        (502, "the words", "unknown", ""),
        (503, "the words", "unknown", ""),
        (504, "the words", "unknown", ""),
    ] {
        let (found, reason, wait) = of(status, &json!({ "message": words }).to_string());
        assert_eq!((found, wait), (word, None), "{status} {words}");
        let start = format!("Mailgun answered {status}");
        assert!(
            reason.starts_with(&start) && reason.contains(fix),
            "{reason}"
        );
        assert!(reason.contains(words.trim_end_matches('.')), "{reason}");
    }
}

#[test]
fn a_limit_ends_at_the_time_in_its_words() {
    for (status, words, wait) in [
        (
            429,
            "Domain mg.acme.test is not allowed to send: recipient limit exceeded, try again after Mon, 25 Aug 2025 07:00:31 UTC",
            Some(30_000),
        ),
        (
            420,
            "Domain mg.acme.test is not allowed to send: recipient limit exceeded, try again after Mon, 25 Aug 2025 07:00:31 UTC",
            Some(30_000),
        ),
        (
            400,
            "Domain mg.acme.test is not allowed to send: request limit exceeded, try again after Mon, 25 Aug 2025 07:00:31 GMT",
            Some(30_000),
        ),
        (
            429,
            "bytes limit exceeded, try again after Mon, 25 Aug 2025 09:00:31 +0200.",
            Some(30_000),
        ),
        (
            429,
            "request limit exceeded, try again after Mon, 25 Aug 2025 06:00:00 UTC",
            Some(0),
        ),
        (429, "request limit exceeded, try again after a while", None),
    ] {
        let (word, reason, found) = of(status, &json!({ "message": words }).to_string());
        assert_eq!((word, found), ("pause", wait), "{words}");
        assert!(reason.contains(words.trim_end_matches('.')));
    }
    let header = HttpResponse::new(429, &[("retry-after", "7")], "");
    let SendOutcome::Retry { retry_after_ms, .. } = answer::outcome(&header, KEY, now()) else {
        panic!();
    };
    assert_eq!(retry_after_ms, Some(7_000));
}

#[test]
fn an_acceptance_needs_an_id() {
    let accepted = r#"{"id":"<1@acme.test>","message":"Queued. Thank you."}"#;
    assert_eq!(of(200, accepted), ("accepted", "1@acme.test".into(), None));
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"id":""}"#,
        r#"{"id":"<>"}"#,
        r#"{"id":null}"#,
    ] {
        assert_eq!(of(200, body).0, "unknown", "{body}");
    }
    let (word, reason, _) = of(200, "Mailgun Magnificent API");
    assert_eq!(word, "blocked");
    assert!(reason.contains("MAILGUN_BASE_URL"), "{reason}");
}

#[test]
fn a_plain_text_explains_as_well() {
    let (word, reason, _) = of(401, "Forbidden");
    assert_eq!(word, "blocked");
    assert!(
        reason.starts_with("Mailgun answered 401: Forbidden. "),
        "{reason}"
    );
}

#[test]
fn a_reason_is_short_and_clean_and_never_holds_the_key() {
    for before in [0, 380, 390, 398] {
        let message = format!("{}{KEY}\r\n\0{}", "x".repeat(before), "x".repeat(10_000));
        for status in [400, 401, 403, 429, 500] {
            let (_, reason, _) = of(status, &json!({ "message": message }).to_string());
            assert!(!reason.contains("hush"), "{reason}");
            assert!(
                reason.len() < 700 && !reason.contains(char::is_control),
                "{reason}"
            );
        }
    }
}
