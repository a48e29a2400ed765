//! The meaning of the answers of SES, a row for each that it documents.

use chrono::DateTime;
use hogsend_plugin_api::{HttpResponse, SendOutcome};
use hogsend_plugin_kit::delivery::summary;
use serde_json::json;

use crate::answer;
use crate::signing::Keys;

const SECRET: &str = "hush/secret/0123456789";
const SESSION: &str = "hush-session-0123456789";
const RECIPIENT: &str = "ann@example.com";

fn of(status: u16, headers: &[(&str, &str)], body: &str) -> SendOutcome {
    let keys = Keys {
        id: "AKIDEXAMPLE".into(),
        secret: SECRET.into(),
        session: Some(SESSION.into()),
    };
    let answer = HttpResponse::new(status, headers, body);
    answer::outcome(&answer, &keys, Some(RECIPIENT), DateTime::UNIX_EPOCH)
}

const UNVERIFIED: &str = "Email address is not verified. The following identities failed the check in region EU-WEST-1: ";
const SECONDS: Option<u64> = Some(2_000);
const TEN_MINUTES: Option<u64> = Some(600_000);

#[test]
fn each_error_means_pause_block_stop_or_doubt() {
    let sender = format!("{UNVERIFIED}hello@acme.test, acme.test");
    let sandbox = format!("{UNVERIFIED}ANN@example.com");
    for (status, name, words, word, wait, fix) in [
        // The recipient's fault.
        (
            400,
            "BadRequestException",
            "Missing final '@domain'",
            "recipient",
            None,
            "",
        ),
        (
            400,
            "BadRequestException",
            "Local address contains control or whitespace",
            "recipient",
            None,
            "",
        ),
        (
            400,
            "BadRequestException",
            "Domain contains illegal character",
            "recipient",
            None,
            "",
        ),
        (
            400,
            "InvalidParameterValue",
            "Missing local name",
            "recipient",
            None,
            "",
        ),
        // The installation's.
        (400, "MessageRejected", &sender, "sender", None, "SES_FROM"),
        (400, "MessageRejected", &sandbox, "blocked", None, "sandbox"),
        (
            400,
            "MailFromDomainNotVerifiedException",
            "the words",
            "sender",
            None,
            "verified identity",
        ),
        (
            400,
            "BadRequestException",
            "Invalid From address",
            "sender",
            None,
            "SES_FROM",
        ),
        (
            400,
            "AccountSuspendedException",
            "the words",
            "blocked",
            None,
            "dashboard",
        ),
        (
            400,
            "SendingPausedException",
            "the words",
            "blocked",
            None,
            "dashboard",
        ),
        (
            400,
            "SendingPausedException",
            "Configuration set is paused",
            "blocked",
            None,
            "SES_CONFIGURATION_SET",
        ),
        (
            400,
            "AccountSendingPausedException",
            "the words",
            "blocked",
            None,
            "dashboard",
        ),
        (
            400,
            "ConfigurationSetSendingPausedException",
            "the words",
            "blocked",
            None,
            "SES_CONFIGURATION_SET",
        ),
        (
            400,
            "MadeTomorrowException",
            "the words",
            "blocked",
            None,
            "dashboard",
        ),
        (
            404,
            "NotFoundException",
            "Configuration set <x> does not exist",
            "blocked",
            None,
            "SES_CONFIGURATION_SET",
        ),
        (
            400,
            "ConfigurationSetDoesNotExist",
            "the words",
            "blocked",
            None,
            "SES_CONFIGURATION_SET",
        ),
        (
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid",
            "blocked",
            None,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            403,
            "InvalidClientTokenId",
            "the words",
            "blocked",
            None,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            "Signature expired: 20260101T000000Z is now earlier than",
            "blocked",
            None,
            "clock",
        ),
        (
            403,
            "InvalidSignatureException",
            "the words",
            "blocked",
            None,
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            403,
            "MissingAuthenticationTokenException",
            "the words",
            "blocked",
            None,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            403,
            "AccessDeniedException",
            "User is not authorized to perform ses:SendRawEmail",
            "blocked",
            None,
            "ses:SendRawEmail",
        ),
        (
            403,
            "ExpiredToken",
            "the words",
            "blocked",
            None,
            "AWS_SESSION_TOKEN",
        ),
        (
            403,
            "ExpiredTokenException",
            "the words",
            "blocked",
            None,
            "AWS_SESSION_TOKEN",
        ),
        (
            400,
            "LimitExceededException",
            "Daily message quota exceeded.",
            "blocked",
            TEN_MINUTES,
            "24 hours",
        ),
        (
            429,
            "TooManyRequestsException",
            "Daily message quota exceeded.",
            "blocked",
            TEN_MINUTES,
            "24 hours",
        ),
        (
            400,
            "ThrottlingException",
            "Daily message quota exceeded.",
            "blocked",
            TEN_MINUTES,
            "24 hours",
        ),
        // It passes.
        (
            429,
            "TooManyRequestsException",
            "Maximum sending rate exceeded.",
            "pause",
            SECONDS,
            "",
        ),
        (
            400,
            "LimitExceededException",
            "Maximum sending rate exceeded.",
            "pause",
            SECONDS,
            "",
        ),
        (
            400,
            "Throttling",
            "Maximum sending rate exceeded.",
            "pause",
            SECONDS,
            "",
        ),
        (
            400,
            "ThrottlingException",
            "Rate exceeded",
            "pause",
            SECONDS,
            "",
        ),
        (
            503,
            "RequestLimitExceeded",
            "the words",
            "pause",
            SECONDS,
            "",
        ),
        (503, "SlowDown", "the words", "pause", SECONDS, ""),
        (429, "", "the words", "pause", SECONDS, ""),
        // The content's.
        (
            400,
            "MessageRejected",
            "Message contains a virus",
            "rejected",
            None,
            "",
        ),
        (
            400,
            "BadRequestException",
            "Duplicate header 'Subject'.",
            "rejected",
            None,
            "",
        ),
        (
            400,
            "BadRequestException",
            "Invalid MIME message",
            "rejected",
            None,
            "",
        ),
        (
            400,
            "BadRequestException",
            "Message length is more than 41943040 bytes long",
            "rejected",
            None,
            "",
        ),
        (413, "", "the words", "rejected", None, ""),
        // SES may have accepted the mail.
        (
            500,
            "InternalServiceErrorException",
            "the words",
            "unknown",
            None,
            "",
        ),
        (500, "InternalFailure", "the words", "unknown", None, ""),
        (502, "", "the words", "unknown", None, ""),
        (503, "ServiceUnavailable", "the words", "unknown", None, ""),
        (408, "", "the words", "unknown", None, ""),
        // Something else answers.
        (302, "", "the words", "blocked", None, "SES_BASE_URL"),
        (404, "", "the words", "blocked", None, "SES_REGION"),
        (403, "", "the words", "blocked", None, "AWS_ACCESS_KEY_ID"),
        (400, "", "the words", "blocked", None, ""),
        (418, "", "the words", "blocked", None, ""),
    ] {
        let body = json!({ "message": words }).to_string();
        let typed = format!("{name}:http://internal.amazon.com/coral/com.amazonaws.ses/");
        let headers: &[(&str, &str)] = match name {
            "" => &[],
            _ => &[("x-amzn-errortype", &typed)],
        };
        let (found, reason, found_wait) = summary(of(status, headers, &body));
        assert_eq!((found, found_wait), (word, wait), "{status} {name} {words}");
        let said = words.trim_end_matches('.');
        let space = if name.is_empty() { "" } else { " " };
        let start = format!("SES answered {status}{space}{name}: {said}");
        assert!(
            reason.starts_with(&start) && reason.contains(fix),
            "{reason}"
        );
    }
}

#[test]
fn the_name_of_an_error_is_in_the_header_or_in_the_body() {
    for (header, body) in [
        ("TooManyRequestsException", r#"{"Message":"slow"}"#),
        ("com.amazonaws.ses#TooManyRequestsException", "{}"),
        ("com.amazonaws.ses#TooManyRequestsException:http://x#y", ""),
        (
            "",
            r#"{"__type":"com.amazonaws.ses#TooManyRequestsException"}"#,
        ),
    ] {
        let headers: &[(&str, &str)] = match header {
            "" => &[],
            _ => &[("x-amzn-errortype", header)],
        };
        let (word, reason, _) = summary(of(400, headers, body));
        assert_eq!(word, "pause", "{header} {body}");
        assert!(reason.contains("400 TooManyRequestsException"), "{reason}");
        assert!(!body.contains("slow") || reason.ends_with(": slow"));
    }
}

#[test]
fn an_acceptance_needs_an_id() {
    let (word, id, _) = summary(of(200, &[], r#"{"MessageId":"0102"}"#));
    assert_eq!((word, id.as_str()), ("accepted", "0102"));
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"MessageId":""}"#,
        r#"{"MessageId":null}"#,
    ] {
        assert_eq!(summary(of(200, &[], body)).0, "unknown", "{body}");
    }
}

#[test]
fn a_stated_wait_is_kept_but_a_used_up_quota_rests_longer() {
    let wait = |name: &str, words: &str| {
        let headers = [("x-amzn-errortype", name), ("retry-after", "7")];
        let body = json!({ "message": words }).to_string();
        summary(of(429, &headers, &body)).2
    };
    assert_eq!(wait("TooManyRequestsException", "slow"), Some(7_000));
    let quota = "Daily message quota exceeded.";
    assert_eq!(wait("TooManyRequestsException", quota), TEN_MINUTES);
}

#[test]
fn a_reason_is_short_and_clean_and_never_holds_a_secret() {
    let repeated = format!(
        "The request signature we calculated does not match.\n\nThe Canonical String should have been\n'POST\nx-amz-security-token:{SESSION}\n'"
    );
    let (_, reason, _) = summary(of(
        403,
        &[("x-amzn-errortype", "SignatureDoesNotMatch")],
        &json!({ "message": repeated }).to_string(),
    ));
    assert!(
        !reason.contains("Canonical") && !reason.contains("hush"),
        "{reason}"
    );
    for secret in [SECRET, SESSION] {
        for before in [0, 380, 390, 398] {
            let words = format!("{}{secret}\0{}", "x".repeat(before), "x".repeat(10_000));
            for status in [400, 403, 429, 500] {
                let body = json!({ "message": words }).to_string();
                let (_, reason, _) = summary(of(status, &[], &body));
                assert!(!reason.contains("hush"), "{reason}");
                assert!(reason.len() < 700 && !reason.contains(char::is_control));
            }
        }
    }
}
