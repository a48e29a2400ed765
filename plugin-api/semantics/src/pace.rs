//! How often and when mail may be sent.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use hogsend_plugin_api::journey::WhenArgs;

use super::when;

/// A frequency cap: the most mails one person gets within a sliding window, over all journeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The most mails.
    pub limit: u32,
    /// The length of the window.
    pub window: Duration,
}

impl Cap {
    /// The start of the window; mails since then count.
    pub fn since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        TimeDelta::from_std(self.window)
            .ok()
            .and_then(|window| now.checked_sub_signed(window))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Whether one more mail may be sent, after `sent` mails since [`since`](Cap::since).
    pub fn allows(&self, sent: u64) -> bool {
        sent < u64::from(self.limit)
    }
}

/// A send window: the local time of day in which mail may be sent. A window whose end is before its
/// start spans midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Hour and minute.
    pub start: (u32, u32),
    /// Hour and minute.
    pub end: (u32, u32),
}

impl Window {
    /// `now` where the window is open, else when it opens next.
    pub fn opens(&self, now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let args = WhenArgs::window(self.start, self.end);
        when::resolve(&args, now, zone).unwrap_or(now)
    }
}

/// Whether a journey's minimum interval between two mails to one person allows another mail. `last`
/// is when the last one was sent; 0 ms means no interval.
pub fn gap_allows(last: Option<DateTime<Utc>>, now: DateTime<Utc>, suppress_ms: u64) -> bool {
    let gap = i64::try_from(suppress_ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .unwrap_or(TimeDelta::MAX);
    suppress_ms == 0 || last.is_none_or(|last| now - last >= gap)
}
