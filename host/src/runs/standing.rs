//! Where a run is after an advance, for the engine that wakes it.

use chrono::{DateTime, Utc};

/// What a run needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be advanced now.
    Due,
    /// To be left alone until a time, or until something wakes it: an event, the end of a pause, an
    /// administrator.
    Waits {
        /// None where there is no time.
        until: Option<DateTime<Utc>>,
    },
    /// Nothing: it ended, or only an administrator resumes it, which wakes it.
    Over,
}

impl Standing {
    /// The standing of an open run that is due at this time.
    pub fn at(wake_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        match wake_at {
            Some(at) if at <= now => Self::Due,
            until => Self::Waits { until },
        }
    }
}
