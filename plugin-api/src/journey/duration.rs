//! Durations in everyday units. A day is always 24 hours and a week 7 days, regardless of daylight
//! saving time. To wait for a local time of day use [`Ctx::when`](super::Ctx::when).

use std::time::Duration;

/// This many seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// This many minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// This many hours.
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

/// This many days of 24 hours.
pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

/// This many weeks of 7 days of 24 hours.
pub const fn weeks(count: u64) -> Duration {
    Duration::from_secs(count * 604_800)
}
