//! What the stand-in does as an engine of v0.105 does, and what a test makes it do wrong.

use std::time::Duration;

/// The engine's rules that surprise, each on. A test switches one off to show that the worker does not rely on it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A stream sends no headers before its first message.
    pub late_headers: bool,
    /// Triggers of unknown workflows are acknowledged, and nothing runs.
    pub takes_unknown_workflows: bool,
    /// The ends of an invocation's waits are released in the order in which they came, counted from the first
    /// for each stream: after a reconnect a later one is held back until the earlier ones went out again.
    pub counts_ends_per_stream: bool,
    /// A task evicted after its wait was over stays evicted.
    pub strands_hasty_evictions: bool,
    /// Nothing is assigned for [`Timing::restart`] after a restart.
    pub pauses_after_restart: bool,
    /// The retry count of a task is remembered from when it was first asked for, until somebody reports a start
    /// without one: evictions are of that attempt, and acknowledged for others.
    pub remembers_retry_counts: bool,
    /// A worker is dead when the newest of its streams ends, although an older one is open.
    pub newest_stream_decides: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            late_headers: true,
            takes_unknown_workflows: true,
            counts_ends_per_stream: true,
            strands_hasty_evictions: true,
            pauses_after_restart: true,
            remembers_retry_counts: true,
            newest_stream_decides: true,
        }
    }
}

/// The engine's intervals.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between looks at timers, lost workers and queued tasks.
    pub tick: Duration,
    /// Without a heartbeat for this long, a worker gets no tasks.
    pub silent: Duration,
    /// Without a heartbeat for this long, a worker's tasks go to others.
    pub lost: Duration,
    /// How long nothing is assigned after a restart.
    pub restart: Duration,
    /// How long a held-back end waits for an earlier one.
    pub stall: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            silent: Duration::from_secs(5),
            lost: Duration::from_secs(30),
            restart: Duration::from_secs(62),
            stall: Duration::from_secs(60),
        }
    }
}

/// What goes wrong next; each counts down to zero.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Starts of tasks that go into a connection that breaks: they do not arrive, and the worker's stream ends.
    pub lose_starts: u32,
    /// Evicted tasks whose wait ends and that stay evicted, as if the wait had ended just before.
    pub strand_evicted: u32,
    /// Ends of tasks (COMPLETED, FAILED) that are answered UNAVAILABLE and not recorded.
    pub lose_ends: u32,
    /// Requests of durable tasks that are recorded, and whose answers are not sent.
    pub lose_answers: u32,
    /// Waits that are over when they are asked for, as in a replay, and whose ends are told only when the worker asks
    /// for them.
    pub late_ends: u32,
    /// Evictions that are made, and whose answers are not sent.
    pub lose_eviction_answers: u32,
    /// Evictions that are refused.
    pub refuse_evictions: u32,
    /// Heartbeats that are not answered.
    pub swallow_heartbeats: u32,
}

/// Counts a fault down; whether it happens.
pub(super) fn strikes(count: &mut u32) -> bool {
    let strikes = *count > 0;
    *count = count.saturating_sub(1);
    strikes
}
