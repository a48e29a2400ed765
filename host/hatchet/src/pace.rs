//! How fast a worker does things; the defaults are those that the engine expects.

use std::time::Duration;

use tokio::time::Instant;

/// Intervals and limits of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between heartbeats. The engine assigns only to workers that it heard from within 5 s.
    pub heartbeat: Duration,
    /// The longest that a heartbeat may take.
    pub heartbeat_timeout: Duration,
    /// Between questions for the waits that are over.
    pub status: Duration,
    /// Waits up to this long keep their handler in memory; longer ones are evicted at once.
    pub hold: Duration,
    /// How long a wait that will be evicted may turn out to be over already, as it is in a replay. Doubles for a
    /// task for which it was too short.
    pub grace: Duration,
    /// How long to wait for the answer to a request of a durable task, and to an eviction.
    pub ack: Duration,
    /// How long after an eviction to look for a wait that ended just before it.
    pub probe: Duration,
    /// The first and the longest pause before a stream is opened again.
    pub reconnect: (Duration, Duration),
    /// How long running tasks may go on after a stop. The engine gives tasks of a lost worker to others after 30 s.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(4),
            heartbeat_timeout: Duration::from_secs(5),
            status: Duration::from_secs(1),
            hold: Duration::from_secs(5),
            grace: Duration::from_secs(1),
            ack: Duration::from_secs(30),
            probe: Duration::from_secs(2),
            reconnect: (Duration::from_millis(500), Duration::from_secs(5)),
            drain: Duration::from_secs(30),
        }
    }
}

/// Pauses that double from the first to the longest.
pub(crate) struct Backoff {
    pace: (Duration, Duration),
    next: Duration,
}

impl Backoff {
    pub fn new(pace: (Duration, Duration)) -> Self {
        Self { next: pace.0, pace }
    }

    pub async fn pause(&mut self) {
        let pause = self.next;
        self.next = (self.next * 2).min(self.pace.1);
        tokio::time::sleep(pause).await;
    }

    pub fn reset(&mut self) {
        self.next = self.pace.0;
    }
}

/// Between two lines of the log about a problem that lasts.
const REMINDER: Duration = Duration::from_secs(60);

/// Keeps a problem that lasts from filling the log.
#[derive(Default)]
pub(crate) struct Complaint {
    last: Option<Instant>,
}

impl Complaint {
    /// Whether to write a line about it now: the first time, then once a minute.
    pub fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|at| at.elapsed() >= REMINDER);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }

    /// Whether a line was written, so that its end is worth one.
    pub fn is_made(&self) -> bool {
        self.last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_problem_that_lasts_is_reported_at_first_and_then_once_a_minute() {
        let mut complaint = Complaint::default();
        assert!(!complaint.is_made());
        let mut lines = Vec::new();
        for second in 0..180 {
            if complaint.is_due() {
                lines.push(second);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(lines, [0, 60, 120]);
        assert!(complaint.is_made());
    }
}
