//! Continuing a task of which nobody knows how far it came: it is evicted and given back to the workers, and its
//! replay finds out.

use std::sync::Arc;

use tokio::time::timeout;

use super::Hub;
use super::state::Evicted;
use crate::error::CallError;
use crate::pace::Backoff;
use crate::worker::report::Report;

/// What an eviction for a recovery came to.
enum Step {
    Evicted,
    /// Another invocation continues the task, or nobody should.
    Over,
    Again,
}

impl Hub {
    /// Evicts the task and gives it back. Its handler must be gone.
    pub(super) fn recover(self: &Arc<Self>, task: String, invocation: i32, report: Arc<Report>) {
        let hub = self.clone();
        tracing::info!(
            hatchet.task = task,
            "restarting a durable task from its log"
        );
        self.spawn(async move {
            let mut backoff = Backoff::new(hub.pace.reconnect);
            loop {
                match hub.evict_again(&task, invocation, &report).await {
                    Step::Evicted => return hub.give_back(&task).await,
                    Step::Over => return,
                    Step::Again => backoff.pause().await,
                }
            }
        });
    }

    /// A task must be evicted to be given back: the engine takes the call for another one, and does nothing.
    async fn evict_again(&self, task: &str, invocation: i32, report: &Report) -> Step {
        self.up().await;
        if !report.make_known().await {
            return Step::Again;
        }
        let (answer, generation) = {
            let mut state = self.state();
            if state.lives.contains_key(task) {
                return Step::Over;
            }
            let answer = self.send_eviction(&mut state, task, invocation, "restarts from its log");
            (answer, state.generation)
        };
        let Some(answer) = answer else {
            return Step::Again;
        };
        match timeout(self.pace.ack, answer).await {
            Ok(Ok(Evicted::Acked)) => Step::Evicted,
            Ok(Ok(Evicted::Refused(why))) => {
                tracing::warn!(
                    hatchet.task = task,
                    why,
                    "Hatchet did not evict a task that should restart"
                );
                match why.contains("not found") {
                    true => Step::Over,
                    false => Step::Again,
                }
            }
            Ok(Ok(Evicted::Stale) | Err(_)) => Step::Over,
            Ok(Ok(Evicted::Lost)) => Step::Again,
            Err(_) => {
                self.deaf.send_replace(generation);
                Step::Again
            }
        }
    }

    /// Gives an evicted task back to the workers.
    pub(super) async fn give_back(&self, task: &str) {
        let mut backoff = Backoff::new(self.pace.reconnect);
        loop {
            match self.client.restore(task).await {
                Ok(()) => return,
                Err(
                    error @ (CallError::Refused { .. }
                    | CallError::Unfit { .. }
                    | CallError::Name(_)),
                ) => {
                    tracing::warn!(hatchet.task = task, %error, "an evicted task could not be given back");
                    return;
                }
                Err(error) => {
                    tracing::debug!(hatchet.task = task, %error, "giving an evicted task back is tried again");
                }
            }
            backoff.pause().await;
            if self.state().lives.contains_key(task) {
                return;
            }
        }
    }
}
