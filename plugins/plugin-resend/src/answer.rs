//! What an answer of Resend means for a mail (<https://resend.com/docs/api-reference/errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{HttpResponse, SendOutcome};
use serde::Deserialize;

use crate::rate::retry_after;
use crate::{API_KEY, BASE_URL, FROM};

/// How long mails wait before an exhausted quota is tried again. The rate limit's reset, which such
/// an answer carries as well, says nothing about it.
const QUOTA_WAIT_MS: u64 = 3_600_000;
/// Characters of Resend's words that are passed on.
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

/// Judges an answer. `key` never appears in the reason, whatever Resend says.
pub fn outcome(answer: &HttpResponse, key: &str, now: DateTime<Utc>) -> SendOutcome {
    if (200..300).contains(&answer.status) {
        return match answer.json::<Accepted>() {
            Ok(Accepted { id }) if !id.is_empty() => SendOutcome::Accepted { message_id: id },
            // Something between us and Resend answered: the mail may have arrived or not.
            _ => SendOutcome::Unknown {
                reason: format!("Resend answered {} without an id", answer.status),
            },
        };
    }
    let failure: Failure = answer.json().unwrap_or_default();
    let said = describe(answer.status, &failure, key);
    let retry_after_ms = retry_after(answer, now);
    let retry = |reason: String| SendOutcome::retry(reason).after(retry_after_ms);
    let blocked = |reason: String| SendOutcome::blocked(reason).after(retry_after_ms);
    match (answer.status, failure.name.as_str()) {
        (409, "invalid_idempotent_request") => SendOutcome::rejected(format!(
            "{said}. Another mail went out under this mail's key, so this one did not"
        )),
        // The first request with this key is still under way.
        (409, _) => retry(said),
        (429, "daily_quota_exceeded" | "monthly_quota_exceeded") => SendOutcome::blocked(format!(
            "{said}. Mails wait; more can be sent on a larger plan"
        ))
        .after(Some(QUOTA_WAIT_MS)),
        (429, _) => SendOutcome::pause(said).after(retry_after_ms),
        (401, _) | (403, "invalid_api_key") => {
            blocked(format!("{said}. Set {API_KEY} to a key that may send"))
        }
        // Most often the sender's domain is not verified, which every mail of that sender shares.
        (403, _) => blocked(format!(
            "{said}. Check that {FROM} is at a domain verified at https://resend.com/domains"
        )),
        (503, _) => retry(said),
        // The fault may have come after acceptance. With the idempotency key a repeat is safe here,
        // but not at another provider.
        (408 | 500..=599, _) => SendOutcome::Unknown { reason: said },
        (300..=399, _) => blocked(format!("{said}. Check {BASE_URL}: it redirects elsewhere")),
        _ => SendOutcome::rejected(said),
    }
}

fn describe(status: u16, failure: &Failure, key: &str) -> String {
    let (name, message) = (clean(&failure.name, key), clean(&failure.message, key));
    let space = if name.is_empty() { "" } else { " " };
    let colon = if message.is_empty() { "" } else { ": " };
    let text = format!("Resend answered {status}{space}{name}{colon}{message}");
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// Words of Resend's, short and without the key.
pub fn clean(text: &str, key: &str) -> String {
    // The key goes before the text is cut, or a part of it could stay.
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
    use serde_json::json;

    use super::outcome;

    const KEY: &str = "re_hush";

    fn of(status: u16, body: &str) -> SendOutcome {
        let answer = HttpResponse {
            status,
            headers: vec![("retry-after".into(), "3".into())],
            body: body.into(),
        };
        outcome(&answer, KEY, DateTime::UNIX_EPOCH)
    }

    fn error(status: u16, name: &str, message: &str) -> String {
        json!({ "statusCode": status, "name": name, "message": message }).to_string()
    }

    /// The outcome in a word, its reason, and the wait.
    fn told(outcome: SendOutcome) -> (&'static str, String, Option<u64>) {
        match outcome {
            SendOutcome::Accepted { message_id } => ("accepted", message_id, None),
            SendOutcome::Retry {
                reason,
                retry_after_ms,
                pause: true,
                ..
            } => ("pause", reason, retry_after_ms),
            SendOutcome::Retry {
                reason,
                retry_after_ms,
                ..
            } => ("retry", reason, retry_after_ms),
            SendOutcome::Blocked {
                reason,
                retry_after_ms,
                ..
            } => ("blocked", reason, retry_after_ms),
            SendOutcome::Rejected { reason, .. } => ("rejected", reason, None),
            SendOutcome::Unknown { reason } => ("unknown", reason, None),
        }
    }

    #[test]
    fn each_error_means_retry_pause_block_or_stop() {
        for (status, name, word, wait) in [
            (400, "validation_error", "rejected", None),
            (400, "invalid_idempotency_key", "rejected", None),
            (401, "missing_api_key", "blocked", Some(3_000)),
            (401, "restricted_api_key", "blocked", Some(3_000)),
            (403, "invalid_api_key", "blocked", Some(3_000)),
            (403, "validation_error", "blocked", Some(3_000)),
            (404, "not_found", "rejected", None),
            (405, "method_not_allowed", "rejected", None),
            (408, "", "unknown", None),
            (409, "invalid_idempotent_request", "rejected", None),
            (409, "concurrent_idempotent_requests", "retry", Some(3_000)),
            (409, "resource_locked", "retry", Some(3_000)),
            (409, "", "retry", Some(3_000)),
            (413, "", "rejected", None),
            (422, "invalid_from_address", "rejected", None),
            (422, "missing_required_field", "rejected", None),
            (429, "rate_limit_exceeded", "pause", Some(3_000)),
            (429, "", "pause", Some(3_000)),
            (429, "daily_quota_exceeded", "blocked", Some(3_600_000)),
            (429, "monthly_quota_exceeded", "blocked", Some(3_600_000)),
            (451, "security_error", "rejected", None),
            (500, "application_error", "unknown", None),
            (500, "internal_server_error", "unknown", None),
            (502, "", "unknown", None),
            (503, "", "retry", Some(3_000)),
            (302, "", "blocked", Some(3_000)),
        ] {
            let (found, reason, found_wait) = told(of(status, &error(status, name, "the words")));
            assert_eq!((found, found_wait), (word, wait), "{status} {name}");
            assert!(
                reason.contains(&status.to_string()) && reason.contains(name),
                "{reason}"
            );
            assert!(reason.contains("the words"), "{reason}");
        }
    }

    #[test]
    fn reasons_name_the_mend() {
        for (status, name, mend) in [
            (401, "missing_api_key", "RESEND_API_KEY"),
            (403, "invalid_api_key", "RESEND_API_KEY"),
            (403, "validation_error", "RESEND_FROM_EMAIL"),
            (302, "", "RESEND_BASE_URL"),
            (429, "daily_quota_exceeded", "larger plan"),
            (409, "invalid_idempotent_request", "this one did not"),
        ] {
            let (_, reason, _) = told(of(status, &error(status, name, "The words.")));
            assert!(reason.contains(mend) && !reason.contains(".."), "{reason}");
        }
    }

    #[test]
    fn an_acceptance_needs_an_id() {
        assert_eq!(
            told(of(200, r#"{"id":"x","later":1}"#)),
            ("accepted", "x".into(), None)
        );
        for body in ["", "<html>", "{}", r#"{"id":""}"#, r#"{"id":7}"#] {
            assert_eq!(told(of(201, body)).0, "unknown", "{body}");
        }
    }

    #[test]
    fn answers_of_something_else_are_told_by_their_status() {
        for body in [
            "",
            "<html>bad gateway</html>",
            "[]",
            r#"{"error":"x"}"#,
            r#"{"name":7}"#,
        ] {
            assert_eq!(
                told(of(503, body)),
                ("retry", "Resend answered 503".into(), Some(3_000))
            );
            assert_eq!(told(of(403, body)).0, "blocked");
        }
    }

    #[test]
    fn a_reason_is_short_and_clean_and_never_holds_the_key() {
        for before in [0, 390, 395, 398] {
            let message = format!("{}{KEY}\r\n\0{}", "x".repeat(before), "x".repeat(10_000));
            for status in [400, 401, 403, 409, 429, 500] {
                let (_, reason, _) = told(of(status, &error(status, KEY, &message)));
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
