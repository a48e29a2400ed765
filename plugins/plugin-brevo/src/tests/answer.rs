//! The meaning of Brevo's answers (<https://developers.brevo.com/docs/how-it-works#error-codes>).

use chrono::DateTime;
use hogsend_plugin_api::HttpResponse;
use hogsend_plugin_kit::delivery::summary;
use serde_json::json;
use uuid::Uuid;

use super::KEY;
use crate::answer;

/// The outcome as a word, its reason, and the wait.
fn of(status: u16, headers: &[(&str, &str)], body: &str) -> (&'static str, String, Option<u64>) {
    let answer = HttpResponse::new(status, headers, body);
    summary(answer::outcome(
        &answer,
        Uuid::nil(),
        KEY,
        DateTime::UNIX_EPOCH,
    ))
}

fn error(code: &str, message: &str) -> String {
    json!({ "code": code, "message": message }).to_string()
}

#[test]
fn each_error_means_retry_pause_block_or_stop() {
    for (status, code, message, word, fix) in [
        // The recipient.
        (
            400,
            "invalid_parameter",
            "email is not valid in to",
            "recipient",
            "",
        ),
        (400, "missing_parameter", "to is missing", "recipient", ""),
        (
            400,
            "invalid_parameter",
            "Invalid email address",
            "recipient",
            "",
        ),
        // The installation.
        (
            400,
            "missing_parameter",
            "sender is missing",
            "sender",
            "BREVO_FROM_EMAIL",
        ),
        (
            400,
            "invalid_parameter",
            "valid sender email required",
            "sender",
            "EMAIL_FROM",
        ),
        (
            400,
            "invalid_parameter",
            "Sending has been rejected because the sender you used x@acme.test is not valid. Validate your sender or authenticate your domain",
            "sender",
            "https://app.brevo.com/senders",
        ),
        (
            401,
            "unauthorized",
            "Key not found",
            "blocked",
            "BREVO_API_KEY",
        ),
        (
            401,
            "unauthorized",
            "We have detected you are using an unrecognised IP address 192.0.2.1",
            "blocked",
            "authorised_ips",
        ),
        (
            401,
            "",
            "authentication not found in headers",
            "blocked",
            "BREVO_API_KEY",
        ),
        (
            402,
            "not_enough_credits",
            "Not enough credits",
            "blocked",
            "larger plan",
        ),
        (402, "", "", "blocked", "larger plan"),
        (
            403,
            "permission_denied",
            "Unable to send email. Your SMTP account is not yet activated",
            "blocked",
            "activated",
        ),
        (
            403,
            "account_under_validation",
            "Wait",
            "blocked",
            "activated",
        ),
        (403, "", "Something new", "blocked", "activated"),
        (400, "", "Something new", "blocked", "activated"),
        (404, "document_not_found", "x", "blocked", "BREVO_BASE_URL"),
        (405, "method_not_allowed", "x", "blocked", "BREVO_BASE_URL"),
        // The content.
        (
            400,
            "missing_parameter",
            "htmlContent is missing",
            "rejected",
            "",
        ),
        (
            400,
            "missing_parameter",
            "subject is missing",
            "rejected",
            "",
        ),
        (
            400,
            "invalid_parameter",
            "email is not valid in replyTo",
            "rejected",
            "",
        ),
        (400, "out_of_range", "too long", "rejected", ""),
        (406, "not_acceptable", "x", "rejected", ""),
        (413, "", "", "rejected", ""),
        (422, "invalid_parameter", "x", "rejected", ""),
        // Later.
        (429, "too_many_requests", "slow down", "pause", ""),
        (503, "", "closed", "retry", ""),
        // In doubt.
        (408, "", "", "unknown", ""),
        (500, "internal_error", "x", "unknown", ""),
        (502, "", "", "unknown", ""),
        (504, "", "", "unknown", ""),
    ] {
        let (found, reason, _) = of(status, &[("retry-after", "3")], &error(code, message));
        assert_eq!(found, word, "{status} {code} {message}: {reason}");
        let (name, words) = (code, message.trim_end_matches('.'));
        assert!(
            reason.starts_with(&format!("Brevo answered {status}"))
                && reason.contains(name)
                && reason.contains(words)
                && reason.contains(fix)
                && !reason.contains(".."),
            "{reason}"
        );
    }
}

#[test]
fn a_repeat_that_is_refused_as_one_was_accepted_before() {
    let nil = Uuid::nil().to_string();
    for (status, code, message, word) in [
        (400, "duplicate_request", "x", "accepted"),
        (409, "duplicate_request", "", "accepted"),
        (
            400,
            "invalid_parameter",
            "The idempotencyKey was already used",
            "accepted",
        ),
        (
            400,
            "duplicate_parameter",
            "Duplicate idempotency key",
            "accepted",
        ),
        (
            400,
            "invalid_parameter",
            "idempotencyKey must be a UUID",
            "rejected",
        ),
        (400, "duplicate_parameter", "x", "rejected"),
        (500, "duplicate_request", "x", "unknown"),
    ] {
        let (found, id, _) = of(status, &[], &error(code, message));
        assert_eq!(found, word, "{status} {code} {message}");
        assert_eq!(id == nil, word == "accepted");
    }
}

#[test]
fn the_wait_is_the_one_that_is_asked_for() {
    let reset = ("x-sib-ratelimit-reset", "7");
    let credits = error("not_enough_credits", "x");
    for (status, headers, body, wait) in [
        (429, &[("retry-after", "2"), reset][..], "", Some(2_000)),
        (429, &[reset], "", Some(7_000)),
        (429, &[("x-sib-ratelimit-reset", "soon")], "", None),
        (429, &[], "", None),
        (503, &[reset], "", None),
        (402, &[], &credits, Some(3_600_000)),
    ] {
        assert_eq!(of(status, headers, body).2, wait, "{status} {headers:?}");
    }
}

#[test]
fn an_acceptance_needs_an_id() {
    for (status, body, word) in [
        (201, r#"{"messageId":"<1@relay.test>"}"#, "accepted"),
        (202, r#"{"messageId":"<1@relay.test>"}"#, "accepted"),
        (201, r#"{"messageId":""}"#, "unknown"),
        (201, r#"{"messageIds":["<1@relay.test>"]}"#, "unknown"),
        (201, "<html>", "unknown"),
        (200, "", "unknown"),
        (302, "", "blocked"),
        (418, "<html>", "blocked"),
    ] {
        assert_eq!(of(status, &[], body).0, word, "{status} {body}");
    }
    assert!(of(302, &[], "").1.contains("BREVO_BASE_URL"));
}

#[test]
fn a_reason_is_short_and_clean_and_never_holds_the_key() {
    for before in [0, 380, 390, 395, 398] {
        let message = format!("{}{KEY}\r\n\0{}", "x".repeat(before), "x".repeat(10_000));
        for status in [400, 401, 402, 403, 413, 429, 500] {
            let (_, reason, _) = of(status, &[], &error("x", &message));
            assert!(!reason.contains("xkeysib"), "{reason}");
            assert!(
                reason.len() < 800 && !reason.contains(char::is_control),
                "{reason}"
            );
        }
    }
}
