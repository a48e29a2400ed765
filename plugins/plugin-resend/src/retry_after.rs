//! How long a provider asks to be left alone.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::HttpResponse;

/// Milliseconds from `retry-after`, in seconds or as a date (RFC 9110 §10.2.3), else from Resend's
/// `ratelimit-reset` in seconds where the answer is about the rate limit.
pub fn retry_after(answer: &HttpResponse, now: DateTime<Utc>) -> Option<u64> {
    let asked = answer.header("retry-after").map(str::trim);
    let date = || {
        let at = DateTime::parse_from_rfc2822(asked?).ok()?.to_utc();
        // A date that has passed is a wish for no wait.
        Some((at - now).num_milliseconds().max(0).unsigned_abs())
    };
    let reset = || {
        seconds(
            answer
                .header("ratelimit-reset")
                .filter(|_| answer.status == 429)?,
        )
    };
    asked.and_then(seconds).or_else(date).or_else(reset)
}

fn seconds(text: &str) -> Option<u64> {
    let seconds: f64 = text.trim().parse().ok()?;
    let sound = seconds.is_finite() && seconds >= 0.0;
    // Rounded up: a moment early is another refusal.
    sound.then(|| (seconds * 1_000.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hogsend_plugin_api::{Body, HttpResponse};

    use super::retry_after;

    #[test]
    fn the_wait_is_the_one_that_is_asked_for() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let reset = ("ratelimit-reset", "7");
        for (status, headers, wait) in [
            (429, &[("retry-after", "2")][..], Some(2_000)),
            (429, &[("retry-after", " 0.25 "), reset], Some(250)),
            (503, &[("retry-after", "120")], Some(120_000)),
            (
                429,
                &[("retry-after", "Fri, 15 Jan 2027 08:00:10 GMT")],
                Some(10_000),
            ),
            (
                429,
                &[("retry-after", "Fri, 15 Jan 2027 07:59:00 GMT")],
                Some(0),
            ),
            (429, &[reset], Some(7_000)),
            (429, &[("retry-after", "soon"), reset], Some(7_000)),
            (503, &[reset], None),
            (429, &[("retry-after", "soon")], None),
            (429, &[("retry-after", "-1")], None),
            (429, &[("retry-after", "inf")], None),
            (429, &[], None),
        ] {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let headers = headers.iter().map(own).collect();
            let answer = HttpResponse {
                status,
                headers,
                body: Body::default(),
            };
            assert_eq!(retry_after(&answer, now), wait, "{answer:?}");
        }
    }
}
