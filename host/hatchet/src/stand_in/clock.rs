//! The engine's time: it runs with tokio's clock, and a test moves it forward.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub(super) struct Clock {
    begin: Instant,
    wall: SystemTime,
    ahead: Mutex<Duration>,
}

impl Clock {
    pub fn new(wall: SystemTime) -> Self {
        Self {
            begin: Instant::now(),
            wall,
            ahead: Mutex::default(),
        }
    }

    /// Since the engine was made, without what was skipped: for heartbeats.
    pub fn real(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Since the engine was made: for waits and time-outs.
    pub fn now(&self) -> Duration {
        self.real() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wall(&self) -> SystemTime {
        self.wall + self.now()
    }

    pub fn skip(&self, by: Duration) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}
