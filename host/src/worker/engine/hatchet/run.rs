//! The task of one run: ask what the run needs, wait as long as the answer says, ask again.

use std::time::{Duration, SystemTime};

use hogsend_hatchet::{Durable, Failed, Wait};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::tasks::Tasks;
use super::wake::event_key;
use crate::app::App;
use crate::db::{self, RunTask};
use crate::ids::StateId;
use crate::runs::{self, Standing};
use crate::states::RunState;

/// The longest wait in Hatchet; a run that waits longer is looked at in between.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The pauses between attempts while Postgres does not answer.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// One wait of a task, as Hatchet keeps it. A replay goes through the waits of the past, which are over, with the
/// values that they had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parked {
    /// Tells a wait that begins now from one of the past.
    mark: Uuid,
    sleep_ms: u64,
    /// Wake-ups since then end it: the moment before the run was looked at.
    since_ms: i64,
}

impl Parked {
    fn wait(&self, run: StateId) -> Wait {
        let since = u64::try_from(self.since_ms).unwrap_or_default();
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(since);
        Wait::sleep(Duration::from_millis(self.sleep_ms)).or_event(event_key(run), since)
    }
}

impl Tasks {
    /// Runs the task of a run until the run is over, or has another task.
    pub(super) async fn follow(&self, task: &Durable) -> Result<Value, Failed> {
        let run = task.input.get("run").and_then(Value::as_str);
        let Some(run) = run.and_then(|run| run.parse::<StateId>().ok()) else {
            return Err(Failed::permanent(format!(
                "the input has no run of Hogsend: {}",
                task.input
            )));
        };
        let mut next: Option<Parked> = None;
        loop {
            let parked = if let Some(parked) = next.take() {
                parked
            } else if !self.adopt(run, &task.id).await {
                return Ok(json!({ "run": run, "result": "another task has the run" }));
            } else if let Some(parked) = self.look(run, task).await {
                parked
            } else if let Some(result) = self.over(run, task).await {
                return Ok(result);
            } else {
                // It was reopened meanwhile.
                continue;
            };
            let kept = task.memo("park", parked.clone()).await?;
            if kept.mark != parked.mark {
                // A wait of the past: what was found now is for the first one that is not.
                next = Some(parked);
            }
            task.wait(&kept.wait(run)).await;
        }
    }

    /// Advances the run as far as it goes. None where it is over.
    async fn look(&self, run: StateId, task: &Durable) -> Option<Parked> {
        loop {
            let since = self.app.clock.now();
            let standing = self
                .persist(|app| {
                    let recorder = self.recorder.clone();
                    async move { runs::advance_one(&app, &recorder, run).await }
                })
                .await;
            let until = match standing {
                Standing::Due => continue,
                Standing::Over => return None,
                Standing::Waits { until } => until,
            };
            let now = self.app.clock.now();
            let left = until.map(|until| (until - now).to_std().unwrap_or_default());
            let left = left.map_or(WAIT_MAX, |left| self.app.clock.takes(left));
            let sleep = left.min(WAIT_MAX);
            self.notes.add(run, until, task);
            return Some(Parked {
                mark: Uuid::now_v7(),
                sleep_ms: u64::try_from(sleep.as_millis()).unwrap_or(u64::MAX),
                since_ms: since.timestamp_millis(),
            });
        }
    }

    /// Whether this is the task of the run.
    async fn adopt(&self, run: StateId, task: &str) -> bool {
        let task = task.to_owned();
        let adopt = |app: App| {
            let task = task.clone();
            async move {
                let mut conn = app.db.conn().await?;
                db::run_task_adopt(&mut conn, run, &task, app.clock.now()).await
            }
        };
        self.persist(adopt).await
    }

    /// What the task completes with. None where the run is open again: whoever reopened it may still have found
    /// this task, and made no other.
    async fn over(&self, run: StateId, task: &Durable) -> Option<Value> {
        let id = task.id.clone();
        let forget = |app: App| {
            let task = id.clone();
            async move {
                let mut conn = app.db.conn().await?;
                db::run_tasks_forget(&mut conn, &[RunTask { run, task }]).await?;
                db::state_get(&mut conn, run).await
            }
        };
        let status = self.persist(forget).await.map(|state| state.status);
        if status.is_some_and(RunState::is_open) {
            return None;
        }
        let status = status.map_or("deleted", RunState::name);
        task.log(format!("the run is {status}"));
        Some(json!({ "run": run, "result": status }))
    }

    /// Does something with Postgres, in a task of its own, so that it ends although Hatchet takes this one away;
    /// again and again while Postgres does not answer.
    async fn persist<T, F>(&self, work: impl Fn(App) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = db::Result<T>> + Send + 'static,
    {
        let mut failures = 0;
        loop {
            let result = {
                let Ok(_place) = self.places.acquire().await else {
                    return std::future::pending().await;
                };
                self.tracker.spawn(work(self.app.clone())).await
            };
            match result {
                Ok(Ok(value)) => return value,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a task of Hatchet waits for the database");
                }
                Err(error) => tracing::error!(%error, "advancing a run panicked"),
            }
            tokio::time::sleep(PAUSES[failures]).await;
            failures = (failures + 1).min(PAUSES.len() - 1);
        }
    }
}
