//! Delays before retries.

use chrono::TimeDelta;
use rand::Rng;

const FIRST: i64 = 2_000;
const LONGEST: i64 = 3_600_000;

/// Exponential backoff from 2 s to an hour, with jitter: between a quarter of the ceiling and the
/// ceiling. Never shorter than the requested delay.
pub fn wait(attempts: i32, asked_ms: Option<u64>) -> TimeDelta {
    let doublings = u32::try_from(attempts.max(1) - 1).unwrap_or(0).min(20);
    let ceiling = (FIRST << doublings).min(LONGEST);
    let jitter = rand::rng().random_range(ceiling / 4..=ceiling);
    let asked = asked_ms
        .map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX))
        .min(24 * LONGEST);
    // Jitter on top of the requested delay, so that waiting mails are not all sent at once.
    let wait = if asked > 0 {
        asked.max(jitter.min(asked + 1_000))
    } else {
        jitter
    };
    TimeDelta::milliseconds(wait)
}

/// Delay before retrying a recipient's server that deferred a mail. Greylisting accepts a mail
/// after a few minutes, so the first retries come sooner than the half hour between later ones (RFC
/// 5321 §4.5.4.1); urgent mail, which expires after an hour, is retried more often.
pub fn greylisted(attempts: i32, asked_ms: Option<u64>, urgent: bool) -> TimeDelta {
    let minutes = match (urgent, attempts) {
        (true, ..=1) => 1,
        (true, 2) => 4,
        (true, 3) => 8,
        (true, _) => 15,
        (false, ..=1) => 5,
        (false, 2) => 10,
        (false, 3) => 20,
        (false, 4..=8) => 30,
        (false, _) => 60,
    };
    let seconds = minutes * 60 + rand::rng().random_range(0..=minutes * 6);
    TimeDelta::seconds(seconds).max(wait(1, asked_ms).min(TimeDelta::hours(24)))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{greylisted, wait};

    #[test]
    fn waits_grow_stay_bounded_and_respect_the_requested_delay() {
        for _ in 0..200 {
            assert!(wait(1, None).num_milliseconds() <= 2_000);
            assert!((500..=3_600_000).contains(&wait(30, None).num_milliseconds()));
            assert!((5_000..=6_000).contains(&wait(3, Some(5_000)).num_milliseconds()));
            assert_eq!(wait(3, Some(u64::MAX)), TimeDelta::hours(24));
        }
    }

    #[test]
    fn greylisted_mail_is_retried_after_minutes_and_often_enough_before_it_expires() {
        for (urgent, useful) in [(true, 60), (false, 48 * 60)] {
            let mut at = TimeDelta::zero();
            let mut tries = 0;
            while at < TimeDelta::minutes(useful) {
                tries += 1;
                at += greylisted(tries, None, urgent);
            }
            assert!((5..=70).contains(&tries), "{tries}");
        }
        assert!(greylisted(1, Some(3_600_000), true) >= TimeDelta::hours(1));
    }
}
