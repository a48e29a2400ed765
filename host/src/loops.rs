//! Health of the background loops of this process.
//!
//! A failing loop is logged once, and once more when it recovers. A database outage affects all
//! loops and is logged once for the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::db;

/// Interval of a worker's heartbeat.
pub const BEAT: Duration = Duration::from_secs(10);

/// The pause after a first failure, and the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The loops of a process.
#[derive(Debug, Default)]
pub struct Loops {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    loops: BTreeMap<&'static str, Loop>,
    /// Start of the database outage, if there is one.
    outage: Option<Instant>,
    /// Journeys with open runs that no plugin provides any longer.
    without_plugin: BTreeSet<String>,
    /// Number of addresses that belong to several contacts without another name.
    shared_addresses: i64,
}

#[derive(Debug, Default)]
struct Loop {
    /// Failures in a row.
    failures: u32,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    error: String,
}

impl Loops {
    /// Records that a loop polled successfully.
    pub fn sound(&self, name: &'static str) {
        let mut state = self.lock();
        if let Some(since) = state.outage.take() {
            let seconds = since.elapsed().as_secs();
            tracing::info!(seconds, "the database answers again");
        }
        let entry = state.loops.entry(name).or_default();
        entry.failures = 0;
        if let Some(failing) = entry.failing.take() {
            let seconds = failing.since.elapsed().as_secs();
            tracing::info!(work = name, seconds, "background work has recovered");
        }
    }

    /// Records that a loop failed to poll. Returns how long it pauses.
    pub fn failed(&self, name: &'static str, error: &sqlx::Error) -> Duration {
        let mut state = self.lock();
        let now = Instant::now();
        let away = db::is_unavailable(error);
        if away && state.outage.is_none() {
            state.outage = Some(now);
            tracing::error!(%error, "the database does not answer; background work waits for it");
        }
        let entry = state.loops.entry(name).or_default();
        let pause = (PAUSE_FIRST * 2_u32.pow(entry.failures.min(10))).min(PAUSE_MAX);
        entry.failures += 1;
        if !away && entry.failing.is_none() {
            tracing::error!(work = name, %error, "background work failed and will be retried");
            let error = error.to_string();
            entry.failing = Some(Failing { since: now, error });
        }
        // Jitter, so that the loops do not all retry at once.
        pause.mul_f64(rand::random_range(0.75..=1.0))
    }

    /// Records a run whose journey no plugin provides. Logged once per journey.
    pub fn without_plugin(&self, journey: &str) {
        let mut state = self.lock();
        if state.without_plugin.insert(journey.to_owned()) {
            tracing::warn!(
                journey.id = journey,
                "no plugin provides this journey any longer, so its runs wait: load its plugin, or end them"
            );
        }
    }

    /// Forgets the journeys that no plugin provided, because other plugins are in use now.
    pub fn plugins_changed(&self) {
        self.lock().without_plugin.clear();
    }

    /// Adds to the number of addresses that belong to several contacts without another name.
    pub fn shared_addresses(&self, count: i64) {
        self.lock().shared_addresses += count;
    }

    /// The journeys with open runs that no plugin provides any longer.
    pub fn journeys_without_plugin(&self) -> Vec<String> {
        self.lock().without_plugin.iter().cloned().collect()
    }

    /// Findings for the operator, one sentence each.
    pub fn findings(&self) -> Vec<String> {
        let state = self.lock();
        let failing = state.loops.iter().filter_map(|(name, entry)| {
            let failing = entry.failing.as_ref()?;
            let seconds = failing.since.elapsed().as_secs();
            Some(format!(
                "background work `{name}` has failed for {seconds} s: {}",
                failing.error
            ))
        });
        let shared = state.shared_addresses;
        let shared = (shared > 0).then(|| {
            format!(
                "{shared} addresses from an older version belong to several contacts without a \
                 userId: the next event that names one of them merges its contacts."
            )
        });
        failing.chain(shared).collect()
    }

    /// The loops of this process, and whether each is healthy.
    pub fn list(&self) -> Vec<(&'static str, bool)> {
        let state = self.lock();
        let well = |entry: &Loop| entry.failures == 0;
        state
            .loops
            .iter()
            .map(|(name, one)| (*name, well(one)))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_loop_pauses_longer_each_time_and_is_named_until_it_works() {
        let loops = Loops::default();
        let error = sqlx::Error::RowNotFound;
        let pauses: Vec<_> = (0..8).map(|_| loops.failed("runs", &error)).collect();
        assert!(pauses[0] <= PAUSE_FIRST && pauses[3] > pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        loops.sound("mails");
        assert_eq!(loops.list(), [("mails", true), ("runs", false)]);
        assert!(
            loops.findings()[0].contains("`runs`"),
            "{:?}",
            loops.findings()
        );
        loops.sound("runs");
        assert!(loops.findings().is_empty());
        assert!(loops.failed("runs", &error) <= PAUSE_FIRST);
    }
}
