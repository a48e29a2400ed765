//! HTTP requests of journeys.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use serde_json::json;

use super::{Performed, Performing};
use crate::backoff;
use crate::db::StepRow;

/// Attempts before the journey sees the failure.
const ATTEMPTS_MAX: i32 = 6;

/// Sends the request. Where a later attempt may succeed, the worker retries it; the idempotency key lets
/// the server recognise the retry.
pub(super) async fn http(
    run: Performing<'_>,
    row: &StepRow,
    mut request: HttpRequest,
) -> Performed {
    let named = |name: &str| name.eq_ignore_ascii_case("idempotency-key");
    if !request.headers.iter().any(|(name, _)| named(name)) {
        let key = format!("{}-{}", run.state.id, row.step.seq);
        request.headers.push(("idempotency-key".into(), key));
    }
    let answer = run.plugin.http(request).await;
    let attempts = row.attempts + 1;
    match retry_delay(&answer, run.now) {
        Some(requested) if attempts < ATTEMPTS_MAX => {
            Performed::Retry(run.now + backoff::wait(attempts, requested))
        }
        _ => Performed::Done(
            answer
                .map(|answer| json!(answer))
                .map_err(HttpError::into_step_error),
        ),
    }
}

/// Whether a retry makes sense, and the delay in milliseconds that the server requested, if any.
fn retry_delay(
    answer: &Result<HttpResponse, HttpError>,
    now: DateTime<Utc>,
) -> Option<Option<u64>> {
    match answer {
        Ok(answer) if answer.status == 429 || answer.status >= 500 => {
            let header = answer.header("retry-after").unwrap_or_default().trim();
            let seconds = header.parse().ok().or_else(|| until(header, now));
            Some(seconds.map(|seconds: u64| seconds.saturating_mul(1_000)))
        }
        Ok(_) => None,
        Err(error) => (error.kind != HttpErrorKind::Refused).then_some(None),
    }
}

/// Seconds until an HTTP date (RFC 9110 §5.6.7).
fn until(date: &str, now: DateTime<Utc>) -> Option<u64> {
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    let wait = date.with_timezone(&Utc) - now;
    u64::try_from(wait.max(TimeDelta::zero()).num_seconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: &str) -> Result<HttpResponse, HttpError> {
        Ok(HttpResponse::new(
            status,
            &[("retry-after", retry_after)],
            "",
        ))
    }

    #[test]
    fn only_a_passing_failure_is_retried_and_the_server_says_when() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(retry_delay(&answer(200, ""), now), None);
        assert_eq!(retry_delay(&answer(404, "9"), now), None);
        assert_eq!(retry_delay(&answer(429, "7"), now), Some(Some(7_000)));
        let date = "Thu, 01 Jan 2026 00:01:00 GMT";
        assert_eq!(retry_delay(&answer(503, date), now), Some(Some(60_000)));
        assert_eq!(retry_delay(&answer(500, "soon"), now), Some(None));
        let error = |kind| Err(HttpError::new(kind, ""));
        assert_eq!(retry_delay(&error(HttpErrorKind::Connect), now), Some(None));
        assert_eq!(retry_delay(&error(HttpErrorKind::Refused), now), None);
    }
}
