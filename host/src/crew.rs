//! The tasks a process consists of, watched: one that ends before its time ends the process, by
//! name, so that whoever restarts processes does so.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// After a stop, or the end of one, how long the others get to finish.
const GRACE: Duration = Duration::from_secs(9);

/// Tasks that run until `stop`.
pub struct Crew {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

/// A task that ended before it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task `{name}` {how}: see the log above; the process ends so that it is started again")]
pub struct Died {
    pub name: &'static str,
    how: &'static str,
}

impl Crew {
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
            stop,
        }
    }

    /// What asks the tasks to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task. It ends when `stop` is cancelled, and not before.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(task);
        self.names.insert(task.id(), name);
    }

    /// Waits until the tasks have ended after a stop.
    ///
    /// # Errors
    /// Where one ended without being asked, by itself or by a panic: then the others are asked to
    /// end, too.
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
            tracing::error!(task = name, "a task that should run until the end {how}");
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
