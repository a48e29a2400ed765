//! Time, injected: the one place that reads the wall clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A clock; cheap to clone. A manual clock only moves when a test advances it.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Manual(Arc<Mutex<DateTime<Utc>>>),
    Fast {
        start: DateTime<Utc>,
        /// The machine's time when this clock showed `start`.
        since: DateTime<Utc>,
        factor: i32,
        /// The time at which it stops.
        stop: DateTime<Utc>,
    },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that shows `start` until [`advance`](Clock::advance).
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Kind::Manual(Arc::new(Mutex::new(start))))
    }

    /// A clock that showed `start` when the machine's showed `since`, and runs `factor` times as
    /// fast until it stops at `stop`: for tests with several processes.
    pub fn fast(
        start: DateTime<Utc>,
        since: DateTime<Utc>,
        factor: i32,
        stop: DateTime<Utc>,
    ) -> Self {
        Self(Kind::Fast {
            start,
            since,
            factor: factor.max(1),
            stop,
        })
    }

    /// Parses `start/since/factor` or `start/since/factor/stop`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let start = parts.next()?.parse().ok()?;
        let since = parts.next()?.parse().ok()?;
        let factor = parts.next()?.parse().ok()?;
        let stop = match parts.next() {
            Some(stop) => stop.parse().ok()?,
            None => DateTime::<Utc>::MAX_UTC,
        };
        let whole = parts.next().is_none();
        whole.then(|| Self::fast(start, since, factor, stop))
    }

    /// Now, in whole microseconds, the resolution of Postgres.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Kind::System => wall(),
            Kind::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::Fast {
                start,
                since,
                factor,
                stop,
            } => (*start + (wall() - *since) * *factor).min(*stop),
        }
    }

    /// The real time that corresponds to a duration on this clock.
    pub fn takes(&self, stretch: Duration) -> Duration {
        match self.0 {
            Kind::Fast { factor, .. } => stretch / factor.unsigned_abs(),
            _ => stretch,
        }
    }

    /// How far this clock moves in a stretch of real time.
    pub fn moves(&self, real: Duration) -> TimeDelta {
        let real = TimeDelta::from_std(real).unwrap_or(TimeDelta::MAX);
        match self.0 {
            Kind::Fast { factor, .. } => real.checked_mul(factor).unwrap_or(TimeDelta::MAX),
            _ => real,
        }
    }

    /// Waits until this clock shows `at`. Returns at once for a manual clock, which does not run;
    /// for a clock that stops, waits as if it kept running.
    pub async fn sleep_until(&self, at: DateTime<Utc>) {
        if matches!(self.0, Kind::Manual(_)) {
            return;
        }
        let left = (at - self.now()).to_std().unwrap_or_default();
        tokio::time::sleep(self.takes(left)).await;
    }

    /// Moves a manual clock forward; does nothing to the others.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(now) = &self.0 {
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            *now += TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock"
)]
fn wall() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

static START: std::sync::LazyLock<std::time::Instant> =
    std::sync::LazyLock::new(std::time::Instant::now);

/// How long the process has been running; the first call starts the count.
pub fn since_start() -> Duration {
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Clock, wall};

    #[test]
    fn a_fast_clock_stops_at_its_stop_time() {
        let start: DateTime<Utc> = "2026-03-02T09:00:00Z".parse().unwrap();
        let since = wall() - TimeDelta::seconds(10);
        let text = format!("{}/{}/3600", start.to_rfc3339(), since.to_rfc3339());
        let runs = Clock::parse(&text).unwrap();
        assert!(runs.now() >= start + TimeDelta::hours(10));
        let stops = Clock::parse(&format!("{text}/2026-03-02T11:00:00Z")).unwrap();
        assert_eq!(stops.now(), start + TimeDelta::hours(2));
        let minute = std::time::Duration::from_secs(60);
        assert_eq!(runs.moves(minute), TimeDelta::hours(60));
        assert_eq!(runs.takes(minute * 3600), minute);
        for wrong in [
            "",
            "2026-03-02T09:00:00Z",
            &format!("{text}/soon"),
            &format!("{text}/a/b"),
        ] {
            assert!(Clock::parse(wrong).is_none(), "{wrong}");
        }
    }
}
