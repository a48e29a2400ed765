//! How the background loops of this process are doing.
//!
//! A loop that cannot work says so once and once more when it can again. That the database does not
//! answer concerns all of them and is said once for the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::db;

/// How often a worker says that it is alive.
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
    /// Since when the database does not answer.
    outage: Option<Instant>,
    /// Journeys with runs that no plugin brings any more.
    without_plugin: BTreeSet<String>,
    /// Addresses of several contacts that are known by nothing else.
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
    /// A loop looked for work and could.
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
            tracing::info!(work = name, seconds, "background work goes on again");
        }
    }

    /// A loop could not look for work. Returns how long it pauses.
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
            tracing::error!(work = name, %error, "background work failed and is tried again");
            let error = error.to_string();
            entry.failing = Some(Failing { since: now, error });
        }
        // A little apart, so that loops do not come back all at once.
        pause.mul_f64(rand::random_range(0.75..=1.0))
    }

    /// A run was met whose journey no plugin brings. Said once for each journey.
    pub fn without_plugin(&self, journey: &str) {
        let mut state = self.lock();
        if state.without_plugin.insert(journey.to_owned()) {
            tracing::warn!(
                journey.id = journey,
                "no plugin brings this journey any more, so its runs wait: load its plugin, or end them"
            );
        }
    }

    /// So many more addresses were found that belong to several contacts known by nothing else.
    pub fn shared_addresses(&self, count: i64) {
        self.lock().shared_addresses += count;
    }

    /// The journeys with runs that no plugin brings any more.
    pub fn journeys_without_plugin(&self) -> Vec<String> {
        self.lock().without_plugin.iter().cloned().collect()
    }

    /// What an operator is to know, one sentence each.
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
                "{shared} addresses of the version before are those of several contacts without a \
                 userId: the next event that names one makes one contact of them."
            )
        });
        failing.chain(shared).collect()
    }

    /// The loops of this process, and whether each works.
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
