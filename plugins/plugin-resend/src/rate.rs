//! Resend's rate limit headers (<https://resend.com/docs/api-reference/rate-limit>).

use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{HttpResponse, Rate};

/// The length of a window without a `ratelimit-policy`: Resend documents its limit in requests per
/// second.
const WINDOW_MS: u64 = 1_000;

/// The requested wait in milliseconds: `retry-after`, else for a 429 `ratelimit-reset`.
pub fn retry_after(answer: &HttpResponse, now: DateTime<Utc>) -> Option<u64> {
    answer.retry_after_ms(now).or_else(|| {
        let limited = answer.status == 429;
        limited
            .then(|| answer.seconds_ms("ratelimit-reset"))
            .flatten()
    })
}

/// The rate limit, which every answer states.
pub fn rate(answer: &HttpResponse) -> Option<Rate> {
    let number = |name| answer.header(name)?.trim().parse::<u32>().ok();
    // `ratelimit-limit: 5`, or with the policy in the same header `5;w=1`.
    let words = answer.header("ratelimit-limit")?;
    let requests = words.split([';', ',']).next()?.trim().parse().ok()?;
    let policy = answer.header("ratelimit-policy").unwrap_or(words);
    let window = policy.split(';').find_map(|part| {
        let seconds: u64 = part.trim().strip_prefix("w=")?.parse().ok()?;
        seconds.checked_mul(1_000)
    });
    let per_ms = window.filter(|ms| *ms > 0).unwrap_or(WINDOW_MS);
    let mut rate = Rate::new(requests, Duration::from_millis(per_ms));
    rate.remaining = number("ratelimit-remaining");
    rate.reset_ms = answer.seconds_ms("ratelimit-reset");
    (requests > 0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hogsend_plugin_api::{HttpResponse, Rate};

    use std::time::Duration;

    use super::{rate, retry_after};

    fn answer(status: u16, headers: &[(&str, &str)]) -> HttpResponse {
        HttpResponse::new(status, headers, "")
    }

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
            let answer = answer(status, headers);
            assert_eq!(retry_after(&answer, now), wait, "{answer:?}");
        }
    }

    #[test]
    fn the_limit_is_the_one_in_the_headers() {
        let parsed = |headers: &[(&str, &str)]| {
            rate(&answer(200, headers)).map(|rate| (rate.requests, rate.per_ms))
        };
        assert_eq!(parsed(&[("ratelimit-limit", "5")]), Some((5, 1_000)));
        assert_eq!(
            parsed(&[("ratelimit-limit", "20;w=10")]),
            Some((20, 10_000))
        );
        let policy = ("ratelimit-policy", "100;w=60");
        assert_eq!(
            parsed(&[("ratelimit-limit", "100"), policy]),
            Some((100, 60_000))
        );
        for bad in ["", "0", "many", "-1", "99999999999999"] {
            assert_eq!(parsed(&[("ratelimit-limit", bad)]), None, "{bad}");
        }
        assert_eq!(parsed(&[]), None);
        let rate = rate(&answer(
            200,
            &[
                ("ratelimit-limit", "5"),
                ("ratelimit-remaining", "3"),
                ("ratelimit-reset", "1"),
            ],
        ));
        let mut expected = Rate::new(5, Duration::from_secs(1));
        expected.remaining = Some(3);
        expected.reset_ms = Some(1_000);
        assert_eq!(rate, Some(expected));
    }
}
