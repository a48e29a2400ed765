//! The meaning of Resend's answers for a mail (<https://resend.com/docs/api-reference/errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{BounceType, HttpResponse, SendOutcome};
use serde::Deserialize;

use crate::rate::retry_after;
use crate::{API_KEY, BASE_URL, FROM};

/// How long mails wait before a retry with an exhausted quota. Such an answer also has the reset of
/// the rate limit, which does not apply to the quota.
const QUOTA_WAIT_MS: u64 = 3_600_000;
/// The most characters of Resend's message in a reason.
const MESSAGE_MAX: usize = 400;

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
}

/// The outcome of an answer. `key` never appears in the reason, even if Resend repeats it.
pub fn outcome(answer: &HttpResponse, key: &str, now: DateTime<Utc>) -> SendOutcome {
    if (200..300).contains(&answer.status) {
        return match answer.json::<Accepted>() {
            Ok(Accepted { id }) if !id.is_empty() => SendOutcome::accepted(id),
            // Probably the answer of a proxy: the mail may have arrived or not.
            _ => SendOutcome::unknown(format!("Resend answered {} without an id", answer.status)),
        };
    }
    let failure: Failure = answer.json().unwrap_or_default();
    let said = describe(answer.status, &failure, key);
    let wait = retry_after(answer, now);
    match (answer.status, failure.name.as_str()) {
        (409, "invalid_idempotent_request") => SendOutcome::rejected(format!(
            "{said}. Another mail was sent under this mail's key, so this one did not go out"
        )),
        // The first request with this key is still in progress.
        (409, _) => SendOutcome::retry(said).after(wait),
        (429, "daily_quota_exceeded" | "monthly_quota_exceeded") => quota(&said),
        (429, _) => SendOutcome::pause(said).after(wait),
        (503, _) => SendOutcome::retry(said).after(wait),
        // The fault may have come after acceptance. The idempotency key makes a repeat safe at
        // Resend, but not at another provider.
        (408 | 500..=599, _) => SendOutcome::unknown(said),
        (300..=399, _) => SendOutcome::blocked(format!(
            "{said}. Check {BASE_URL}: it redirects to another URL"
        ))
        .after(wait),
        _ => refusal(answer.status, &failure.name, &failure.message, said, wait),
    }
}

/// The outcome of a refusal: by the name of the error first, then by Resend's message, last by the
/// status. Resend answers a revoked key with 400, 401 or 403, and an unverified sender domain with
/// 403 or 422.
pub fn refusal(
    status: u16,
    name: &str,
    message: &str,
    said: String,
    wait: Option<u64>,
) -> SendOutcome {
    let blame = by_name(name)
        .or_else(|| by_words(message))
        .unwrap_or(match (status, name) {
            (401, _) => Blame::Key,
            // The page of a proxy, or another API than Resend's.
            (404 | 405, _) => Blame::Url,
            (413, _) | (400 | 422, "validation_error" | "invalid_parameter") => Blame::Content,
            _ => Blame::Account,
        });
    if blame == Blame::Quota {
        return quota(&said);
    }
    let outcome = match blame {
        Blame::Key => SendOutcome::blocked(format!("{said}. Set {API_KEY} to a key that may send")),
        Blame::Url => SendOutcome::blocked(format!("{said}. Check {BASE_URL}")),
        Blame::Account | Blame::Quota => {
            SendOutcome::blocked(format!("{said}. Look at https://resend.com/overview"))
        }
        Blame::Sender => SendOutcome::sender_blocked(format!(
            "{said}. Check that the sender is at a domain verified at https://resend.com/domains ({FROM}, EMAIL_FROM or EMAIL_FROM_TRANSACTIONAL)"
        )),
        // Resend checks the syntax of the address, which says nothing about the mailbox.
        Blame::Recipient => SendOutcome::bounced(said, BounceType::Undetermined),
        Blame::Content => SendOutcome::rejected(said),
    };
    outcome.after(wait)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Key,
    Url,
    Account,
    Quota,
    Sender,
    Recipient,
    Content,
}

/// Error names with one meaning, whatever the message
/// (<https://resend.com/docs/api-reference/errors>).
fn by_name(name: &str) -> Option<Blame> {
    Some(match name {
        "missing_api_key" | "restricted_api_key" | "invalid_api_key" | "suspended_api_key" => {
            Blame::Key
        }
        "invalid_from_address" => Blame::Sender,
        "daily_quota_exceeded" | "monthly_quota_exceeded" => Blame::Quota,
        "not_found" | "method_not_allowed" => Blame::Url,
        "invalid_access" | "invalid_region" | "security_error" => Blame::Account,
        "invalid_attachment"
        | "missing_required_field"
        | "invalid_idempotency_key"
        | "invalid_idempotent_request" => Blame::Content,
        // `validation_error` may be about a key, a sender, an address or a field.
        _ => return None,
    })
}

/// Phrases and the fault they mean; the first one that occurs counts.
const WORDS: &[(&str, Blame)] = &[
    ("api key", Blame::Key),
    ("api_key", Blame::Key),
    ("authorization header", Blame::Key),
    ("not authorized to send", Blame::Sender),
    ("is not verified", Blame::Sender),
    ("not been verified", Blame::Sender),
    ("verify a domain", Blame::Sender),
    ("verify your domain", Blame::Sender),
    ("own email address", Blame::Sender),
    ("domain not found", Blame::Sender),
    ("`from`", Blame::Sender),
    ("\"from\"", Blame::Sender),
    ("'from'", Blame::Sender),
    ("from address", Blame::Sender),
    ("quota", Blame::Quota),
    ("sending limit", Blame::Quota),
    ("suspended", Blame::Account),
    ("your account", Blame::Account),
    ("your team", Blame::Account),
    ("`to`", Blame::Recipient),
    ("\"to\"", Blame::Recipient),
    ("'to'", Blame::Recipient),
    ("recipient", Blame::Recipient),
    ("`", Blame::Content),
];

fn by_words(message: &str) -> Option<Blame> {
    let message = message.to_ascii_lowercase();
    let found = WORDS.iter().find(|(words, _)| message.contains(words));
    found.map(|(_, blame)| *blame)
}

fn quota(said: &str) -> SendOutcome {
    SendOutcome::blocked(format!(
        "{said}. Mails wait until the quota resets; a larger plan raises it"
    ))
    .after(Some(QUOTA_WAIT_MS))
}

fn describe(status: u16, failure: &Failure, key: &str) -> String {
    let (name, message) = (clean(&failure.name, key), clean(&failure.message, key));
    let space = if name.is_empty() { "" } else { " " };
    let colon = if message.is_empty() { "" } else { ": " };
    let text = format!("Resend answered {status}{space}{name}{colon}{message}");
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// Resend's message, short and without the key.
pub fn clean(text: &str, key: &str) -> String {
    // The key is removed before the text is cut, or a part of it could remain.
    let text = text.replace(key, "[key]");
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hogsend_plugin_api::{HttpResponse, SendOutcome};
    use hogsend_plugin_kit::delivery::summary;
    use serde_json::json;

    use super::outcome;

    const KEY: &str = "re_hush";

    fn of(status: u16, body: &str) -> SendOutcome {
        let answer = HttpResponse::new(status, &[("retry-after", "3")], body);
        outcome(&answer, KEY, DateTime::UNIX_EPOCH)
    }

    fn error(status: u16, name: &str, message: &str) -> String {
        json!({ "statusCode": status, "name": name, "message": message }).to_string()
    }

    #[test]
    fn each_error_means_retry_pause_block_or_stop() {
        let wait = Some(3_000);
        let day = Some(3_600_000);
        for (status, name, words, word, waits) in [
            (400, "validation_error", "the words", "rejected", None),
            (
                400,
                "invalid_idempotency_key",
                "the words",
                "rejected",
                None,
            ),
            (
                400,
                "validation_error",
                "API key is invalid",
                "blocked",
                wait,
            ),
            (
                401,
                "validation_error",
                "API key is invalid",
                "blocked",
                wait,
            ),
            (
                403,
                "validation_error",
                "API key is invalid",
                "blocked",
                wait,
            ),
            (401, "missing_api_key", "the words", "blocked", wait),
            (401, "restricted_api_key", "the words", "blocked", wait),
            (403, "invalid_api_key", "the words", "blocked", wait),
            (403, "suspended_api_key", "the words", "blocked", wait),
            (
                403,
                "validation_error",
                "The acme.test domain is not verified. Please, add and verify your domain",
                "sender",
                wait,
            ),
            (
                403,
                "validation_error",
                "You can only send testing emails to your own email address (a@b.co)",
                "sender",
                wait,
            ),
            (
                403,
                "",
                "Not authorized to send emails from acme.test",
                "sender",
                wait,
            ),
            (
                422,
                "validation_error",
                "The acme.test domain is not verified",
                "sender",
                wait,
            ),
            (403, "validation_error", "the words", "blocked", wait),
            (403, "", "Your account has been suspended", "blocked", wait),
            (404, "not_found", "the words", "blocked", wait),
            (405, "method_not_allowed", "the words", "blocked", wait),
            (418, "", "the words", "blocked", wait),
            (408, "", "the words", "unknown", None),
            (
                409,
                "invalid_idempotent_request",
                "the words",
                "rejected",
                None,
            ),
            (
                409,
                "concurrent_idempotent_requests",
                "the words",
                "retry",
                wait,
            ),
            (409, "resource_locked", "the words", "retry", wait),
            (409, "", "the words", "retry", wait),
            (413, "", "the words", "rejected", None),
            (422, "invalid_from_address", "the words", "sender", wait),
            (
                422,
                "validation_error",
                "Invalid `from` field. The email address needs to follow the format",
                "sender",
                wait,
            ),
            (
                422,
                "validation_error",
                "Invalid `to` field. The email address needs to follow the format",
                "recipient",
                None,
            ),
            (
                422,
                "validation_error",
                "Invalid `reply_to` field",
                "rejected",
                None,
            ),
            (
                422,
                "missing_required_field",
                "Missing `from` field",
                "rejected",
                None,
            ),
            (422, "invalid_attachment", "the words", "rejected", None),
            (422, "invalid_parameter", "the words", "rejected", None),
            (429, "rate_limit_exceeded", "the words", "pause", wait),
            (429, "", "the words", "pause", wait),
            (429, "daily_quota_exceeded", "the words", "blocked", day),
            (429, "monthly_quota_exceeded", "the words", "blocked", day),
            (
                403,
                "",
                "You have reached your monthly quota",
                "blocked",
                day,
            ),
            (451, "security_error", "the words", "blocked", wait),
            (500, "application_error", "the words", "unknown", None),
            (500, "internal_server_error", "the words", "unknown", None),
            (502, "", "the words", "unknown", None),
            (503, "", "the words", "retry", wait),
            (302, "", "the words", "blocked", wait),
        ] {
            let (found, reason, found_wait) = summary(of(status, &error(status, name, words)));
            assert_eq!(
                (found, found_wait),
                (word, waits),
                "{status} {name} {words}"
            );
            assert!(
                reason.contains(&status.to_string()) && reason.contains(name),
                "{reason}"
            );
            assert!(reason.contains(words.trim_end_matches('.')), "{reason}");
        }
    }

    #[test]
    fn reasons_name_the_fix() {
        for (status, name, fix) in [
            (401, "missing_api_key", "RESEND_API_KEY"),
            (403, "invalid_api_key", "RESEND_API_KEY"),
            (422, "invalid_from_address", "RESEND_FROM_EMAIL"),
            (302, "", "RESEND_BASE_URL"),
            (404, "", "RESEND_BASE_URL"),
            (429, "daily_quota_exceeded", "larger plan"),
            (409, "invalid_idempotent_request", "this one did not"),
        ] {
            let (_, reason, _) = summary(of(status, &error(status, name, "The words.")));
            assert!(reason.contains(fix) && !reason.contains(".."), "{reason}");
        }
    }

    #[test]
    fn an_acceptance_needs_an_id() {
        assert_eq!(
            summary(of(200, r#"{"id":"x","later":1}"#)),
            ("accepted", "x".into(), None)
        );
        for body in ["", "<html>", "{}", r#"{"id":""}"#, r#"{"id":7}"#] {
            assert_eq!(summary(of(201, body)).0, "unknown", "{body}");
        }
    }

    #[test]
    fn answers_of_something_else_are_judged_by_their_status() {
        for body in [
            "",
            "<html>bad gateway</html>",
            "[]",
            r#"{"error":"x"}"#,
            r#"{"name":7}"#,
        ] {
            assert_eq!(
                summary(of(503, body)),
                ("retry", "Resend answered 503".into(), Some(3_000))
            );
            for status in [400, 401, 403, 404, 422, 451] {
                assert_eq!(summary(of(status, body)).0, "blocked", "{status} {body}");
            }
        }
    }

    #[test]
    fn a_reason_is_short_and_clean_and_never_holds_the_key() {
        for before in [0, 390, 395, 398] {
            let message = format!("{}{KEY}\r\n\0{}", "x".repeat(before), "x".repeat(10_000));
            for status in [400, 401, 403, 409, 429, 500] {
                let (_, reason, _) = summary(of(status, &error(status, KEY, &message)));
                assert!(
                    !reason.contains("re_") && reason.contains("[key]"),
                    "{reason}"
                );
                assert!(
                    reason.len() < 700 && !reason.contains(char::is_control),
                    "{reason}"
                );
            }
        }
    }
}
