//! Health of the background loops of this process.
//!
//! A failing loop is logged once a minute, and once more when it recovers. A database outage affects all
//! loops and is logged for the process as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::db;
use crate::telemetry::metrics::LOOP_FAILURES;
use crate::telemetry::{DATABASE, Outages};

/// Interval of a worker's heartbeat.
pub const BEAT: Duration = Duration::from_secs(10);

/// The pause after a first failure, and the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Logs that the database does not answer, for the whole process once a minute. A loop that polls successfully
/// ends the outage.
pub fn database_failed(error: &sqlx::Error) {
    if let Some(failing) = DATABASE.failed() {
        let (failures, seconds) = (failing.failures, failing.seconds);
        if db::is_full(error) {
            tracing::error!(%error, failures, seconds,
                "the disk of the database is full and nothing can be stored: free up space");
        } else {
            tracing::error!(%error, failures, seconds,
                "the database does not answer; requests get 503 and background work waits for it");
        }
    }
}

/// Logs why an item of background work could not be finished. Where the database does not answer, all items fail,
/// and its outage is logged instead.
pub fn item_failed(what: &'static str, error: &sqlx::Error) {
    if db::is_unavailable(error) {
        tracing::debug!(%error, "{what}");
        database_failed(error);
    } else {
        tracing::error!(%error, "{what}");
    }
}

/// The loops of a process.
#[derive(Debug, Default)]
pub struct Loops {
    state: Mutex<State>,
    /// Loops that fail for a reason of their own.
    failing: Outages,
}

#[derive(Debug, Default)]
struct State {
    loops: BTreeMap<&'static str, Loop>,
    /// Journeys with open runs that no plugin provides any longer.
    without_plugin: BTreeSet<String>,
    /// Number of addresses that belong to several contacts without another name.
    shared_addresses: i64,
}

#[derive(Debug, Default)]
struct Loop {
    /// Failures in a row.
    failures: u32,
    /// None where it works, or waits for the database.
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
        if let Some(recovered) = DATABASE.over() {
            let seconds = recovered.seconds;
            tracing::info!(seconds, "the database answers again");
        }
        if let Some(recovered) = self.failing.over(name) {
            let seconds = recovered.seconds;
            tracing::info!(work = name, seconds, "background work has recovered");
        }
        let mut state = self.lock();
        let entry = state.loops.entry(name).or_default();
        entry.failures = 0;
        entry.failing = None;
    }

    /// Records that a loop failed to poll. Returns how long it pauses.
    pub fn failed(&self, name: &'static str, error: &sqlx::Error) -> Duration {
        LOOP_FAILURES.add(&[name], 1);
        let away = db::is_unavailable(error);
        if away {
            database_failed(error);
        } else if let Some(failing) = self.failing.failed(name) {
            let (failures, seconds) = (failing.failures, failing.seconds);
            tracing::error!(work = name, %error, failures, seconds,
                "background work failed and will be retried");
        }
        let mut state = self.lock();
        let entry = state.loops.entry(name).or_default();
        let pause = (PAUSE_FIRST * 2_u32.pow(entry.failures.min(10))).min(PAUSE_MAX);
        entry.failures += 1;
        if !away && entry.failing.is_none() {
            entry.failing = Some(Failing {
                since: Instant::now(),
                error: error.to_string(),
            });
        }
        // Jitter, so that the loops do not all retry at once.
        pause.mul_f64(rand::random_range(0.75..=1.0))
    }

    /// Records a run whose journey no plugin provides. Logged once per journey.
    pub fn without_plugin(&self, journey: &str) {
        let mut state = self.lock();
        if state.without_plugin.insert(journey.to_owned()) {
            tracing::warn!(
                journey = journey,
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
