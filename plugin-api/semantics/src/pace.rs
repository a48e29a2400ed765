//! How often and when mail may go out.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use hogsend_plugin_api::journey::WhenArgs;

use super::when;

/// The most mails one person gets within a window that moves with the clock, over all journeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    pub limit: u32,
    pub window: Duration,
}

impl Cap {
    /// Mails from then on count.
    pub fn since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        TimeDelta::from_std(self.window)
            .ok()
            .and_then(|window| now.checked_sub_signed(window))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// Whether one more may go out, `sent` having gone out [`since`](Cap::since).
    pub fn allows(&self, sent: u64) -> bool {
        sent < u64::from(self.limit)
    }
}

/// Hours of the person's day in which mail may go out. An end before the start is on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Hour and minute.
    pub start: (u32, u32),
    pub end: (u32, u32),
}

impl Window {
    /// `now` where the window is open, else when it opens next.
    pub fn opens(&self, now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
        let args = WhenArgs::Window {
            start: self.start,
            end: self.end,
        };
        when::resolve(&args, now, zone).unwrap_or(now)
    }
}

/// Whether a journey's least gap between two mails to a person allows another one.
pub fn gap_allows(last: Option<DateTime<Utc>>, now: DateTime<Utc>, suppress_ms: u64) -> bool {
    let gap = i64::try_from(suppress_ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .unwrap_or(TimeDelta::MAX);
    suppress_ms == 0 || last.is_none_or(|last| now - last >= gap)
}
