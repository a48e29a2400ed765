//! Instants by the clock on the person's wall.

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

/// Inputs of a `when` step. Hours and minutes are those of the person's time zone.
///
/// A time the clocks skip in spring is the first instant after the gap; of a time they show twice
/// in autumn the first is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenArgs {
    /// The next such weekday, today where its time has not come yet.
    Next {
        /// `Mon`, `Tue`, …
        weekday: Weekday,
        hour: u32,
        minute: u32,
    },
    Tomorrow {
        hour: u32,
        minute: u32,
    },
    /// On the day on which the duration ends; the day after where that time has passed by then.
    In {
        ms: u64,
        hour: u32,
        minute: u32,
    },
    /// Now where the person's clock is between the two, else when it next shows the first. A
    /// window whose end comes before its start goes over midnight.
    Window {
        /// Hour and minute.
        start: (u32, u32),
        end: (u32, u32),
    },
}

/// The result of a `when` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub at: DateTime<Utc>,
    /// The zone it was found in: `Europe/Berlin`.
    pub zone: String,
}

/// Finds instants in the person's time zone: the one analytics knows, else the contact's own
/// (`timezone`), else the installation's, else UTC.
pub struct When(pub(super) Replay);

impl When {
    /// The next such weekday: `when().next(Weekday::Mon).at(9, 0)`.
    pub fn next(self, weekday: Weekday) -> WhenDay {
        WhenDay(self.0, Day::Next(weekday))
    }

    pub fn tomorrow(self) -> WhenDay {
        WhenDay(self.0, Day::Tomorrow)
    }

    /// The day on which a duration from now ends.
    pub fn in_(self, duration: Duration) -> WhenDay {
        WhenDay(self.0, Day::In(millis(duration)))
    }

    /// Now, where the person's clock is between the two (hour, minute), else when it next shows
    /// the first.
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

/// An instant being found. Fails with `time_invalid` where there is no such hour or minute.
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
