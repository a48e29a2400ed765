//! Instants in the person's time zone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chrono::{DateTime, Utc, Weekday};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sleep::millis;
use super::step;
use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// Inputs of a `when` step. Hours (0 to 23) and minutes (0 to 59) are local times in the person's
/// time zone.
///
/// A local time that a daylight-saving change skips becomes the first instant after the gap. A local
/// time that occurs twice becomes the first of the two instants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenArgs {
    /// At this time on the next such weekday, which is today where the time is still ahead.
    #[non_exhaustive]
    Next {
        /// `Mon`, `Tue`, …
        weekday: Weekday,
        hour: u32,
        minute: u32,
    },
    /// At this time on the next day.
    #[non_exhaustive]
    Tomorrow { hour: u32, minute: u32 },
    /// At the first such time after the duration: on the day it ends, else on the day after.
    #[non_exhaustive]
    In {
        /// The duration, in milliseconds.
        ms: u64,
        hour: u32,
        minute: u32,
    },
    /// Now where the local time is within the window, else at the next start of the window. A window
    /// whose end is before its start spans midnight.
    #[non_exhaustive]
    Window {
        /// Hour and minute.
        start: (u32, u32),
        /// Hour and minute.
        end: (u32, u32),
    },
}

impl WhenArgs {
    /// At this time on the next such weekday.
    pub fn next(weekday: Weekday, hour: u32, minute: u32) -> Self {
        Self::Next {
            weekday,
            hour,
            minute,
        }
    }

    /// At this time on the next day.
    pub fn tomorrow(hour: u32, minute: u32) -> Self {
        Self::Tomorrow { hour, minute }
    }

    /// At the first such time after so many milliseconds.
    pub fn after(ms: u64, hour: u32, minute: u32) -> Self {
        Self::In { ms, hour, minute }
    }

    /// Within this window; each end is an hour and a minute.
    pub fn window(start: (u32, u32), end: (u32, u32)) -> Self {
        Self::Window { start, end }
    }
}

/// The result of a `when` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Moment {
    /// The instant.
    pub at: DateTime<Utc>,
    /// The IANA name of the time zone used: `Europe/Berlin`.
    pub zone: String,
}

impl Moment {
    /// An instant, found in this time zone.
    pub fn new(at: DateTime<Utc>, zone: impl Into<String>) -> Self {
        Self {
            at,
            zone: zone.into(),
        }
    }
}

/// Finds instants in the person's time zone: the one in analytics, else the contact's own property
/// `timezone`, else the installation's, else UTC.
pub struct When(pub(super) Replay);

impl When {
    /// The next such weekday: `when().next(Weekday::Mon).at(9, 0)`.
    pub fn next(self, weekday: Weekday) -> WhenDay {
        WhenDay(self.0, Day::Next(weekday))
    }

    /// The next day.
    pub fn tomorrow(self) -> WhenDay {
        WhenDay(self.0, Day::Tomorrow)
    }

    /// The day on which a duration from now ends.
    pub fn in_(self, duration: Duration) -> WhenDay {
        WhenDay(self.0, Day::In(millis(duration)))
    }

    /// Now where the local time is between `start` and `end` (hour, minute), else the next `start`.
    /// A window whose end is before its start spans midnight.
    pub fn window(self, start: (u32, u32), end: (u32, u32)) -> At {
        At::new(&self.0, WhenArgs::Window { start, end })
    }
}

enum Day {
    Next(Weekday),
    Tomorrow,
    In(u64),
}

/// A day that needs a time.
#[must_use = "say at which time: `.at(9, 0)`"]
pub struct WhenDay(Replay, Day);

impl WhenDay {
    /// At this hour (0 to 23) and minute (0 to 59).
    pub fn at(self, hour: u32, minute: u32) -> At {
        let args = match self.1 {
            Day::Next(weekday) => WhenArgs::Next {
                weekday,
                hour,
                minute,
            },
            Day::Tomorrow => WhenArgs::Tomorrow { hour, minute },
            Day::In(ms) => WhenArgs::In { ms, hour, minute },
        };
        At::new(&self.0, args)
    }
}

/// An instant to find. Resolves to a UTC time. Fails with `time_invalid` where an hour or minute is
/// out of range.
#[must_use = "an instant is not found until it is awaited"]
pub struct At(StepHandle);

impl At {
    fn new(replay: &Replay, args: WhenArgs) -> Self {
        Self(replay.step(step::WHEN, json!(args)))
    }
}

impl Future for At {
    type Output = Result<DateTime<Utc>, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(
            value
                .and_then(super::advance::typed)
                .map(|moment: Moment| moment.at),
        )
    }
}
