//! Failures that repeat: one line when they begin, one a minute while they last, one when they are over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing more is logged after a line.
const SILENCE: Duration = Duration::from_secs(60);
/// Maximum number of things whose failures are told apart. Further ones are logged each time.
const KEYS_MAX: usize = 1_000;

/// The database does not answer. It concerns all of a process, so all of it shares one line.
pub static DATABASE: Outage = Outage::new();

/// Something that may fail again and again.
#[derive(Debug, Default)]
pub struct Outage(Mutex<State>);

/// The same for many things, each with a key: a provider, a plugin, an endpoint.
#[derive(Debug, Default)]
pub struct Outages(Mutex<HashMap<String, State>>);

/// A line about a failure is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when, in whole seconds.
    pub seconds: u64,
    /// How often it failed since the last line, this time included.
    pub failures: u64,
}

/// A line about a recovery is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// How long it failed, in whole seconds.
    pub seconds: u64,
}

#[derive(Debug, Default)]
struct State {
    /// When the outage began that lasts.
    since: Option<Instant>,
    /// When a failure was logged last. It outlives an outage, so that one which comes and goes is not logged
    /// each time.
    logged: Option<Instant>,
    /// Whether a failure of this outage was logged.
    known: bool,
    /// Failures since then.
    silent: u64,
}

impl State {
    const NEW: Self = Self {
        since: None,
        logged: None,
        known: false,
        silent: 0,
    };

    fn failed(&mut self, now: Instant) -> Option<Failing> {
        let since = *self.since.get_or_insert(now);
        self.silent += 1;
        let quiet = |logged| now.saturating_duration_since(logged) < SILENCE;
        if self.logged.is_some_and(quiet) {
            return None;
        }
        self.logged = Some(now);
        self.known = true;
        Some(Failing {
            seconds: now.saturating_duration_since(since).as_secs(),
            failures: std::mem::take(&mut self.silent),
        })
    }

    fn over(&mut self, now: Instant) -> Option<Recovered> {
        let since = self.since.take()?;
        std::mem::take(&mut self.known).then(|| Recovered {
            seconds: now.saturating_duration_since(since).as_secs(),
        })
    }
}

impl Outage {
    pub const fn new() -> Self {
        Self(Mutex::new(State::NEW))
    }

    /// Records a failure. Some where it is to be logged.
    pub fn failed(&self) -> Option<Failing> {
        self.lock().failed(Instant::now())
    }

    /// Records that it works. Some where that is to be logged: a failure was.
    pub fn over(&self) -> Option<Recovered> {
        self.lock().over(Instant::now())
    }

    /// Whether it failed when it was tried last.
    pub fn lasts(&self) -> bool {
        self.lock().since.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outages {
    /// As [`Outage::failed`], for the thing with this key.
    pub fn failed(&self, key: &str) -> Option<Failing> {
        self.failed_at(key, Instant::now())
    }

    fn failed_at(&self, key: &str, now: Instant) -> Option<Failing> {
        let mut all = self.lock();
        if let Some(one) = all.get_mut(key) {
            return one.failed(now);
        }
        if all.len() >= KEYS_MAX {
            all.retain(|_, one| one.since.is_some());
        }
        if all.len() >= KEYS_MAX {
            return State::default().failed(now);
        }
        all.entry(key.to_owned()).or_default().failed(now)
    }

    /// As [`Outage::over`], for the thing with this key.
    pub fn over(&self, key: &str) -> Option<Recovered> {
        self.lock().get_mut(key)?.over(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn line(seconds: u64, failures: u64) -> Option<Failing> {
        Some(Failing { seconds, failures })
    }

    #[test]
    fn an_outage_is_a_line_a_minute_and_its_end_is_one() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut state = State::default();
        assert_eq!(state.over(at(0)), None, "it has not failed");
        assert_eq!(state.failed(at(0)), line(0, 1));
        for second in 1..60 {
            assert_eq!(state.failed(at(second)), None, "second {second}");
        }
        assert_eq!(state.failed(at(60)), line(60, 60));
        assert_eq!(state.failed(at(61)), None);
        assert_eq!(state.over(at(75)), Some(Recovered { seconds: 75 }));
        assert_eq!(state.over(at(76)), None, "that it works is no news");
    }

    #[test]
    fn what_comes_and_goes_is_a_line_a_minute_too() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut state = State::default();
        let mut failures = 0;
        let mut recoveries = 0;
        for second in 0..300 {
            failures += usize::from(state.failed(at(second)).is_some());
            recoveries += usize::from(state.over(at(second)).is_some());
        }
        assert_eq!((failures, recoveries), (5, 5));
    }

    #[test]
    fn things_are_told_apart_up_to_a_bound() {
        let outages = Outages::default();
        let now = Instant::now();
        assert_eq!(outages.failed_at("one", now), line(0, 1));
        assert_eq!(outages.failed_at("one", now), None);
        assert_eq!(outages.failed_at("other", now), line(0, 1));
        for key in 0..2 * KEYS_MAX {
            assert_eq!(outages.failed_at(&key.to_string(), now), line(0, 1));
        }
        assert!(outages.lock().len() <= KEYS_MAX);
        assert_eq!(outages.failed_at("one", now), None, "it is still known");
    }
}
