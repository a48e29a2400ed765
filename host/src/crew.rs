//! Supervises the tasks of a process: a task that ends early ends the process, with its name, so
//! that the process manager restarts it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long the tasks may take to finish after a stop, or after one of them ended.
const GRACE: Duration = Duration::from_secs(9);

/// Tasks that run until `stop` is cancelled.
pub struct Crew {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

/// A task that ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task `{name}` {how}: see the log above; the process ends so that it is started again")]
pub struct Died {
    pub name: &'static str,
    how: &'static str,
}

impl Died {
    /// A task that could not start; the log says why.
    pub fn at_start(name: &'static str) -> Self {
        let how = "could not start";
        Self { name, how }
    }
}

impl Crew {
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
            stop,
        }
    }

    /// The token that asks the tasks to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task. It must end when `stop` is cancelled, and not earlier.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), name);
    }

    /// Waits until the tasks have ended after a stop.
    ///
    /// # Errors Where one ended early, by itself or by a panic: then the others are asked to end,
    /// too.
    pub async fn ended(mut self) -> Result<(), Died> {
        let mut died = None;
        while died.is_none()
            && !self.stop.is_cancelled()
            && let Some(done) = self.tasks.join_next_with_id().await
        {
            let (id, how) = match &done {
                Ok((id, ())) => (*id, "ended by itself"),
                Err(error) => (error.id(), "broke off"),
            };
            let name = self.names.get(&id).copied().unwrap_or("unknown");
            if self.stop.is_cancelled() && done.is_ok() {
                break;
            }
            tracing::error!(
                task = name,
                "a task that should run until the process stops {how}"
            );
            died = Some(Died { name, how });
        }
        self.stop.cancel();
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "tasks did not end in time and are dropped"
            );
        }
        died.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_others_and_is_named() {
        let mut crew = Crew::new(CancellationToken::new());
        let stop = crew.stop().clone();
        let others = stop.clone();
        crew.spawn("mails", async move { others.cancelled().await });
        crew.spawn("runs", async { panic!("a fault of a test") });
        let died = crew.ended().await.unwrap_err();
        assert_eq!(died.name, "runs");
        assert!(died.to_string().contains("`runs` broke off"), "{died}");
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_task_that_returns_early_is_named_too() {
        let mut crew = Crew::new(CancellationToken::new());
        crew.spawn("runs", async {});
        assert_eq!(crew.ended().await.unwrap_err().name, "runs");
    }

    #[tokio::test]
    async fn tasks_that_end_when_asked_are_well() {
        let mut crew = Crew::new(CancellationToken::new());
        let stop = crew.stop().clone();
        for name in ["runs", "mails"] {
            let stop = stop.clone();
            crew.spawn(name, async move { stop.cancelled().await });
        }
        stop.cancel();
        assert_eq!(crew.ended().await, Ok(()));
    }
}
