//! What the installation allows.

use std::time::Duration;

use chrono_tz::Tz;
use hogsend_semantics::pace::{Cap, Window};

/// An hour and a minute on somebody's clock.
pub type HourMinute = (u32, u32);

/// The rules of an installation. None by default, with clocks in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most mails one person gets within a window that moves with the clock. Mails above it
    /// are skipped.
    pub frequency_cap: Option<(u32, Duration)>,
    /// From when until when on the person's clock mail goes out. Other mails wait.
    pub send_window: Option<(HourMinute, HourMinute)>,
    /// The zone of people of whom none is known.
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
