//! The meaning of Postmark's answers (<https://postmarkapp.com/developer/api/overview#error-codes>).

use chrono::DateTime;
use hogsend_plugin_api::{BatchOutcome, HttpResponse, SendOutcome};
use hogsend_plugin_kit::delivery::summary;
use serde_json::{Value, json};

use crate::{answer, batch};

const TOKEN: &str = "tok-hush";

fn http(status: u16, body: &str) -> HttpResponse {
    HttpResponse::new(status, &[("retry-after", "3")], body)
}

fn of(status: u16, body: &str) -> (&'static str, String, Option<u64>) {
    summary(answer::outcome(
        &http(status, body),
        TOKEN,
        DateTime::UNIX_EPOCH,
    ))
}

fn error(code: u32, message: &str) -> Value {
    json!({ "ErrorCode": code, "Message": message })
}

#[test]
fn each_error_means_retry_pause_block_or_stop() {
    let wait = Some(3_000);
    for (status, code, word, expected_wait, fix) in [
        // Bad or missing API token.
        (401, 10, "blocked", wait, "POSTMARK_SERVER_TOKEN"),
        (422, 10, "blocked", wait, "POSTMARK_SERVER_TOKEN"),
        // Maintenance.
        (503, 100, "retry", wait, ""),
        (422, 100, "retry", wait, ""),
        // Invalid email request.
        (422, 300, "rejected", None, ""),
        // Sender signature not found, not confirmed.
        (422, 400, "sender", wait, "POSTMARK_FROM"),
        (422, 401, "sender", wait, "POSTMARK_FROM"),
        // Invalid and incompatible JSON: the fault of this mail only.
        (422, 402, "rejected", None, ""),
        (422, 403, "rejected", None, ""),
        // Not allowed to send: the credits are used up.
        (422, 405, "blocked", wait, "larger plan"),
        // Inactive recipient.
        (422, 406, "suppress", None, ""),
        (422, 409, "rejected", None, ""),
        (422, 410, "rejected", None, ""),
        (422, 411, "rejected", None, ""),
        // Account is pending, account may not send.
        (422, 412, "blocked", wait, "approve the account"),
        (422, 413, "blocked", wait, "may not send"),
        (429, 429, "pause", wait, ""),
        (422, 429, "pause", wait, ""),
        // No such message stream.
        (422, 1226, "blocked", wait, "POSTMARK_STREAM"),
        (422, 1235, "blocked", wait, "POSTMARK_TRANSACTIONAL_STREAM"),
        // Not about this mail.
        (422, 9999, "blocked", wait, "may not send"),
        (500, 500, "unknown", None, ""),
        (200, 406, "suppress", None, ""),
    ] {
        let body = error(code, "The words.").to_string();
        let (found, reason, found_wait) = of(status, &body);
        assert_eq!((found, found_wait), (word, expected_wait), "{code}");
        let sentence = format!("Postmark answered {status}, error {code}: The words");
        assert!(
            reason.starts_with(&sentence) && reason.contains(fix) && !reason.contains(".."),
            "{reason}"
        );
    }
}

#[test]
fn the_message_says_whose_fault_an_invalid_mail_is() {
    for (code, words, word) in [
        (300, "Invalid 'From' address: 'acme'.", "sender"),
        (
            300,
            "Error parsing 'From': Illegal email address 'acme'.",
            "sender",
        ),
        (
            300,
            "Error parsing 'To': Illegal email domain 'gmial' in address 'a@gmial'.",
            "recipient",
        ),
        (
            300,
            "Error parsing 'ReplyTo': Illegal email address.",
            "rejected",
        ),
        (300, "Message is too large.", "rejected"),
        (
            701,
            "You tried to send to a recipient that has been marked as inactive.",
            "suppress",
        ),
        (702, "The server token is invalid.", "blocked"),
        (703, "Your account has run out of credits.", "blocked"),
    ] {
        let (found, reason, _) = of(422, &error(code, words).to_string());
        assert_eq!(found, word, "{words}");
        assert!(reason.contains(words.trim_end_matches('.')), "{reason}");
    }
}

#[test]
fn answers_of_something_else_are_judged_by_their_status() {
    for body in ["", "<html>", "[]", "{}", r#"{"ErrorCode":"x"}"#] {
        for (status, word) in [
            (200, "unknown"),
            (302, "blocked"),
            (400, "blocked"),
            (401, "blocked"),
            (404, "blocked"),
            (405, "blocked"),
            (408, "unknown"),
            (413, "rejected"),
            (422, "blocked"),
            (429, "pause"),
            (500, "unknown"),
            (502, "unknown"),
            (503, "retry"),
            (504, "unknown"),
            (524, "unknown"),
        ] {
            assert_eq!(of(status, body).0, word, "{status} {body}");
        }
    }
    for status in [302, 404, 405] {
        assert!(of(status, "").1.contains("POSTMARK_BASE_URL"));
    }
}

#[test]
fn an_acceptance_needs_an_id() {
    let body = r#"{"To":"a@b.co","SubmittedAt":"2026-01-01T00:00:00Z","MessageID":"x","ErrorCode":0,"Message":"OK"}"#;
    assert_eq!(of(200, body), ("accepted", "x".into(), None));
    for body in [
        r#"{"ErrorCode":0,"Message":"OK"}"#,
        r#"{"ErrorCode":0,"MessageID":""}"#,
        r#"{"ErrorCode":0,"MessageID":null}"#,
        r#"{"MessageID":"x"}"#,
    ] {
        assert_eq!(of(200, body).0, "unknown", "{body}");
    }
}

#[test]
fn a_reason_is_short_and_clean_and_never_holds_the_token() {
    for before in [0, 390, 395, 398] {
        let message = format!("{}{TOKEN}\r\n\0{}", "x".repeat(before), "x".repeat(10_000));
        for (status, code) in [(401, 10), (422, 300), (422, 400), (429, 429), (500, 500)] {
            let (_, reason, _) = of(status, &error(code, &message).to_string());
            assert!(!reason.contains("tok-"), "{reason}");
            assert!(
                reason.len() < 700 && !reason.contains(char::is_control),
                "{reason}"
            );
        }
    }
}

fn batch_of(size: usize, status: u16, body: &Value) -> BatchOutcome {
    let answer = http(status, &body.to_string());
    batch::outcome(&answer, size, TOKEN, DateTime::UNIX_EPOCH)
}

#[test]
fn a_batch_is_answered_mail_by_mail() {
    let ok = |id: &str| json!({ "ErrorCode": 0, "Message": "OK", "MessageID": id });
    let said = json!([
        ok("x"),
        error(406, "Inactive."),
        ok("z"),
        error(400, "No such sender.")
    ]);
    let BatchOutcome::Each(each) = batch_of(4, 200, &said) else {
        panic!();
    };
    let each: Vec<_> = each.into_iter().map(summary).collect();
    let words: Vec<_> = each.iter().map(|(word, ..)| *word).collect();
    assert_eq!(words, ["accepted", "suppress", "accepted", "sender"]);
    assert_eq!((each[0].1.as_str(), each[2].1.as_str()), ("x", "z"));
}

#[test]
fn an_answer_that_does_not_fit_leaves_the_batch_in_doubt() {
    let ok = json!({ "ErrorCode": 0, "MessageID": "x" });
    for said in [
        json!([]),
        json!([ok]),
        json!([ok, ok, ok]),
        json!([ok, { "ErrorCode": 0 }]),
        json!([ok, { "MessageID": "y" }]),
        json!([ok, null]),
        ok,
        json!({}),
        json!(null),
    ] {
        let judged = batch_of(2, 200, &said);
        assert!(
            matches!(judged, BatchOutcome::All(SendOutcome::Unknown { .. })),
            "{said}: {judged:?}"
        );
    }
}

#[test]
fn a_batch_refused_as_such_goes_apart() {
    for (status, code) in [(422, 410), (422, 402), (413, 0), (422, 400)] {
        let judged = batch_of(2, status, &error(code, "The words."));
        assert!(matches!(judged, BatchOutcome::Apart { .. }), "{judged:?}");
    }
    let judged = batch_of(2, 401, &error(10, "The words."));
    assert!(
        matches!(judged, BatchOutcome::All(SendOutcome::Blocked { .. })),
        "{judged:?}"
    );
}
