//! The meaning of SendGrid's answers
//! (<https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::HttpResponse;
use hogsend_plugin_kit::delivery::summary;
use serde_json::{Value, json};

use super::KEY;
use crate::answer;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_392_815_200, 0).unwrap()
}

/// The outcome as a word, its reason, and the wait.
fn of(status: u16, headers: &[(&str, &str)], body: &str) -> (&'static str, String, Option<u64>) {
    let answer = HttpResponse::new(status, headers, body);
    summary(answer::outcome(&answer, KEY, now()))
}

fn error(field: &Value, message: &str) -> Value {
    json!({ "message": message, "field": field, "help": null })
}

#[test]
fn each_error_means_retry_pause_block_or_stop() {
    let from = "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.";
    for (status, field, message, word, fix) in [
        // The recipient.
        (
            400,
            json!("personalizations.0.to.0.email"),
            "Does not contain a valid address.",
            "recipient",
            "",
        ),
        (
            400,
            json!("personalizations.0.to"),
            "The to array is required",
            "recipient",
            "",
        ),
        // The installation.
        (
            400,
            json!("from.email"),
            "The from email does not contain a valid address.",
            "sender",
            "SENDGRID_FROM_EMAIL",
        ),
        (
            400,
            json!("from"),
            "The from object must be provided",
            "sender",
            "EMAIL_FROM",
        ),
        (403, json!("from"), from, "sender", "SENDGRID_FROM_EMAIL"),
        (
            403,
            json!(null),
            "access forbidden",
            "blocked",
            "SENDGRID_API_KEY",
        ),
        (
            401,
            json!(null),
            "The provided authorization grant is invalid, expired, or revoked",
            "blocked",
            "SENDGRID_API_KEY",
        ),
        (
            401,
            json!(null),
            "Permission denied, wrong credentials",
            "blocked",
            "SENDGRID_API_KEY",
        ),
        (
            401,
            json!(null),
            "Maximum credits exceeded",
            "blocked",
            "larger plan",
        ),
        (
            401,
            json!(null),
            "The requestor's IP Address is not whitelisted",
            "blocked",
            "IP Access Management",
        ),
        (
            401,
            json!(null),
            "Authenticated user is not authorized to send mail",
            "blocked",
            "restricted",
        ),
        (403, json!(null), "Something new", "blocked", "restricted"),
        (402, json!(null), "Something new", "blocked", "restricted"),
        (
            404,
            json!(null),
            "Not found",
            "blocked",
            "SENDGRID_BASE_URL",
        ),
        (
            405,
            json!(null),
            "Method not allowed",
            "blocked",
            "SENDGRID_BASE_URL",
        ),
        // The content.
        (
            400,
            json!("content.0.value"),
            "The content value must be a string at least one character in length.",
            "rejected",
            "",
        ),
        (
            400,
            json!("reply_to.email"),
            "Does not contain a valid address.",
            "rejected",
            "",
        ),
        (
            400,
            json!("personalizations.0.subject"),
            "Too long",
            "rejected",
            "",
        ),
        (400, json!("headers.to"), "Reserved header", "rejected", ""),
        (400, json!(null), "Bad Request", "rejected", ""),
        (413, json!(null), "The payload is too large", "rejected", ""),
        // Later.
        (429, json!(null), "too many requests", "pause", ""),
        (503, json!(null), "not available", "retry", ""),
        // In doubt.
        (408, json!(null), "late", "unknown", ""),
        (500, json!(null), "An error occurred", "unknown", ""),
        (502, json!(null), "bad gateway", "unknown", ""),
        (504, json!(null), "late", "unknown", ""),
    ] {
        let body = json!({ "errors": [error(&field, message)] }).to_string();
        let (found, reason, _) = of(status, &[("retry-after", "3")], &body);
        assert_eq!(found, word, "{status} {field} {message}: {reason}");
        let beginning = format!(
            "SendGrid answered {status}: {}",
            message.trim_end_matches('.')
        );
        assert!(
            reason.starts_with(&beginning) && reason.contains(fix) && !reason.contains(".."),
            "{reason}"
        );
        if let Some(field) = field.as_str() {
            assert!(reason.contains(&format!("({field})")), "{reason}");
        }
    }
}

#[test]
fn of_several_errors_the_installations_counts_first() {
    let to = error(&json!("personalizations.0.to.0.email"), "not valid");
    let from = error(&json!("from.email"), "not valid");
    let subject = error(&json!("subject"), "is required");
    for (errors, word) in [
        (json!([to, from]), "sender"),
        (json!([to, subject]), "rejected"),
        (json!([subject, from, to]), "sender"),
        (json!([to, to]), "recipient"),
    ] {
        let body = json!({ "errors": errors }).to_string();
        assert_eq!(of(400, &[], &body).0, word, "{errors}");
    }
}

#[test]
fn the_wait_is_the_one_that_is_asked_for() {
    let reset = ("x-ratelimit-reset", "1392815263");
    let body = json!({ "errors": [{ "message": "Maximum credits exceeded" }] }).to_string();
    for (status, headers, body, wait) in [
        (429, &[("retry-after", "2"), reset][..], "", Some(2_000)),
        (429, &[reset], "", Some(63_000)),
        (429, &[("x-ratelimit-reset", "1392815200")], "", Some(0)),
        (429, &[("x-ratelimit-reset", "1392815199")], "", None),
        (429, &[("x-ratelimit-reset", "9999999999")], "", None),
        (429, &[("x-ratelimit-reset", "soon")], "", None),
        (429, &[], "", None),
        (503, &[reset], "", None),
        (401, &[], &body, Some(3_600_000)),
    ] {
        assert_eq!(of(status, headers, body).2, wait, "{status} {headers:?}");
    }
}

#[test]
fn answers_of_something_else_are_judged_by_their_status() {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"errors":"x"}"#,
        r#"{"errors":[]}"#,
    ] {
        for (status, word) in [
            (200, "unknown"),
            (202, "unknown"),
            (302, "blocked"),
            (400, "blocked"),
            (401, "blocked"),
            (403, "blocked"),
            (404, "blocked"),
            (413, "rejected"),
            (418, "blocked"),
            (429, "pause"),
            (500, "unknown"),
            (503, "retry"),
            (524, "unknown"),
        ] {
            assert_eq!(of(status, &[], body).0, word, "{status} {body}");
        }
    }
    assert!(of(302, &[], "").1.contains("SENDGRID_BASE_URL"));
}

#[test]
fn an_acceptance_needs_an_id() {
    for (headers, word) in [
        (&[("x-message-id", "14c5d75ce93")][..], "accepted"),
        (&[("x-message-id", " ")], "unknown"),
        (&[], "unknown"),
    ] {
        assert_eq!(of(202, headers, "").0, word, "{headers:?}");
    }
}

#[test]
fn a_reason_is_short_and_clean_and_never_holds_the_key() {
    for before in [0, 380, 390, 395, 398] {
        let message = format!("{}{KEY}\r\n\0{}", "x".repeat(before), "x".repeat(10_000));
        for status in [400, 401, 403, 413, 429, 500] {
            let body = json!({ "errors": [error(&json!(null), &message)] }).to_string();
            let (_, reason, _) = of(status, &[], &body);
            assert!(!reason.contains("SG."), "{reason}");
            assert!(
                reason.len() < 800 && !reason.contains(char::is_control),
                "{reason}"
            );
        }
    }
}
