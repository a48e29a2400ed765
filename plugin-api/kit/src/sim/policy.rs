//! The rules of an installation.

use std::time::Duration;

use chrono_tz::Tz;
use hogsend_semantics::pace::{Cap, Window};

/// A local time of day: hour (0 to 23) and minute (0 to 59).
pub type HourMinute = (u32, u32);

/// The rules of an installation. By default there are none, and time zones default to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most mails one person gets within a sliding window. The host skips further mails.
    pub frequency_cap: Option<(u32, Duration)>,
    /// Start and end of the time of day, in the person's time zone, in which mail is sent. Mail
    /// waits for the next window.
    pub send_window: Option<(HourMinute, HourMinute)>,
    /// The time zone of people whose own is not known.
    pub default_zone: Tz,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            frequency_cap: None,
            send_window: None,
            default_zone: Tz::UTC,
        }
    }
}

impl Policy {
    pub(super) fn cap(&self) -> Option<Cap> {
        self.frequency_cap
            .map(|(limit, window)| Cap { limit, window })
    }

    pub(super) fn window(&self) -> Option<Window> {
        self.send_window.map(|(start, end)| Window { start, end })
    }
}
