//! When to try again.

use chrono::TimeDelta;
use rand::Rng;

/// Attempts before a mail is given up.
pub const ATTEMPTS_MAX: i32 = 12;
const FIRST: i64 = 2_000;
const LONGEST: i64 = 3_600_000;

/// Full jitter: anywhere between now and twice the wait before, up to an hour. The provider's own
/// wish is the least.
pub fn wait(attempts: i32, wish_ms: Option<u64>) -> TimeDelta {
    let doublings = u32::try_from(attempts.max(1) - 1).unwrap_or(0).min(20);
    let ceiling = (FIRST << doublings).min(LONGEST);
    let jitter = rand::rng().random_range(ceiling / 4..=ceiling);
    let wish = wish_ms
        .and_then(|ms| i64::try_from(ms).ok())
        .unwrap_or(0)
        .min(24 * LONGEST);
    // A little after the wished-for moment, so that waiting mails do not all come at once.
    let wait = if wish > 0 {
        wish.max(jitter.min(wish + 1_000))
    } else {
        jitter
    };
    TimeDelta::milliseconds(wait)
}

#[cfg(test)]
mod tests {
    use super::wait;

    #[test]
    fn waits_grow_stay_bounded_and_obey_the_provider() {
        for _ in 0..200 {
            assert!(wait(1, None).num_milliseconds() <= 2_000);
            assert!((500..=3_600_000).contains(&wait(30, None).num_milliseconds()));
            assert!((5_000..=6_000).contains(&wait(3, Some(5_000)).num_milliseconds()));
        }
    }
}
