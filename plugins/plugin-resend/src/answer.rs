//! What an answer of Resend means for a mail (<https://resend.com/docs/api-reference/errors>).

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{HttpResponse, SendOutcome};
use serde::Deserialize;

/// How long mails wait before an exhausted quota is tried again.
const QUOTA_WAIT_MS: u64 = 3_600_000;

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

pub fn outcome(answer: &HttpResponse, now: DateTime<Utc>) -> SendOutcome {
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
    let reason = describe(answer.status, &failure);
    let retry_after_ms = retry_after(answer, now);
    match (answer.status, failure.name.as_str()) {
        // The first request with this key is still under way, or has just been answered.
        (409, "concurrent_idempotent_requests" | "resource_locked") => SendOutcome::Retry {
            reason,
            retry_after_ms,
            pause: false,
        },
        // The rate limit's reset says nothing about a quota.
        (429, "daily_quota_exceeded" | "monthly_quota_exceeded") => SendOutcome::Blocked {
            reason,
            retry_after_ms: Some(QUOTA_WAIT_MS),
        },
        (429, _) => SendOutcome::Retry {
            reason,
            retry_after_ms,
            pause: true,
        },
        // The key, or the sender's domain: every mail would end the same way.
        (401 | 403, _) => SendOutcome::Blocked {
            reason,
            retry_after_ms,
        },
        // With an idempotency key a repeat is safe even where the fault came after the acceptance.
        (408 | 500..=599, _) => SendOutcome::Retry {
            reason,
            retry_after_ms,
            pause: false,
        },
        _ => SendOutcome::Rejected { reason },
    }
}

fn describe(status: u16, failure: &Failure) -> String {
    match (failure.name.as_str(), failure.message.as_str()) {
        ("", "") => format!("Resend answered {status}"),
        (name, "") => format!("Resend answered {status} {name}"),
        (name, message) => format!("Resend answered {status} {name}: {message}"),
    }
}

/// `retry-after` in seconds or as a date (RFC 9110 §10.2.3), else Resend's `ratelimit-reset` in
/// seconds.
fn retry_after(answer: &HttpResponse, now: DateTime<Utc>) -> Option<u64> {
    let seconds = |name: &str| {
        answer
            .header(name)?
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|s| s.is_finite() && *s >= 0.0)
    };
    let date = || {
        let at = DateTime::parse_from_rfc2822(answer.header("retry-after")?).ok()?;
        u64::try_from((at.to_utc() - now).num_milliseconds()).ok()
    };
    let given = seconds("retry-after")
        .map(|s| (s * 1_000.0) as u64)
        .or_else(date);
    let limited = answer.status == 429;
    given.or_else(|| {
        seconds("ratelimit-reset")
            .filter(|_| limited)
            .map(|s| (s * 1_000.0) as u64)
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hogsend_plugin_api::{HttpResponse, SendOutcome};

    use super::outcome;

    fn of(status: u16, name: &str, headers: &[(&str, &str)]) -> SendOutcome {
        let answer = HttpResponse {
            status,
            headers: headers
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            body: format!(r#"{{"statusCode":{status},"name":"{name}","message":"m"}}"#).into(),
        };
        outcome(&answer, DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    #[test]
    fn each_error_means_retry_pause_block_or_stop() {
        let word = |outcome: &SendOutcome| match outcome {
            SendOutcome::Accepted { .. } => "accepted",
            SendOutcome::Retry { pause: true, .. } => "pause",
            SendOutcome::Retry { .. } => "retry",
            SendOutcome::Blocked { .. } => "blocked",
            SendOutcome::Rejected { .. } => "rejected",
            SendOutcome::Unknown { .. } => "unknown",
        };
        for (status, name, expected) in [
            (400, "validation_error", "rejected"),
            (400, "invalid_idempotency_key", "rejected"),
            (401, "missing_api_key", "blocked"),
            (401, "restricted_api_key", "blocked"),
            (403, "invalid_api_key", "blocked"),
            (403, "validation_error", "blocked"),
            (404, "not_found", "rejected"),
            (405, "method_not_allowed", "rejected"),
            (409, "invalid_idempotent_request", "rejected"),
            (409, "concurrent_idempotent_requests", "retry"),
            (422, "invalid_from_address", "rejected"),
            (422, "missing_required_field", "rejected"),
            (429, "rate_limit_exceeded", "pause"),
            (429, "daily_quota_exceeded", "blocked"),
            (429, "monthly_quota_exceeded", "blocked"),
            (500, "application_error", "retry"),
            (500, "internal_server_error", "retry"),
            (503, "", "retry"),
        ] {
            assert_eq!(word(&of(status, name, &[])), expected, "{status} {name}");
        }
    }

    #[test]
    fn the_wait_is_the_one_resend_asks_for() {
        let wait = |headers: &[(&str, &str)]| match of(429, "rate_limit_exceeded", headers) {
            SendOutcome::Retry { retry_after_ms, .. } => retry_after_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(&[("retry-after", "2")]), Some(2_000));
        assert_eq!(
            wait(&[("retry-after", "Fri, 15 Jan 2027 08:00:10 GMT")]),
            Some(10_000)
        );
        assert_eq!(
            wait(&[("ratelimit-reset", "1"), ("ratelimit-limit", "5")]),
            Some(1_000)
        );
        assert_eq!(wait(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn an_acceptance_needs_an_id() {
        let answer = |body: &str| HttpResponse {
            status: 200,
            headers: vec![],
            body: body.into(),
        };
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(
            outcome(&answer(r#"{"id":"x"}"#), now),
            SendOutcome::Accepted {
                message_id: "x".into()
            }
        );
        for body in ["", "<html>", "{}", r#"{"id":""}"#] {
            assert!(
                matches!(outcome(&answer(body), now), SendOutcome::Unknown { .. }),
                "{body}"
            );
        }
    }
}
