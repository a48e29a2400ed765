//! Durations by their everyday names. A day is 24 hours and a week 7 days, whatever the calendar.

use std::time::Duration;

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

pub const fn weeks(count: u64) -> Duration {
    Duration::from_secs(count * 604_800)
}
