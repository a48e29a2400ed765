//! The task of one run: ask what the run needs, wait as long as the answer says, ask again.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use hogsend_hatchet::{Durable, Failed, Wait};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::tasks::Tasks;
use super::wake::{SENT, event_key, moment};
use crate::app::App;
use crate::clock::Clock;
use crate::db::{self, RunTask};
use crate::ids::StateId;
use crate::runs::{self, Standing};
use crate::states::RunState;

/// The longest wait in Hatchet; a run that waits longer is looked at in between.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How far back Hatchet looks for wake-ups that came before a wait began. Its clock may be wrong by as much.
const LOOK_BACK: Duration = Duration::from_secs(600);

/// One wait of a task, as Hatchet keeps it. A replay goes through the waits of the past, which are over, with the
/// values that they had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parked {
    /// Tells a wait that begins now from one of the past.
    mark: Uuid,
    sleep_ms: u64,
    /// Hatchet looks for wake-ups from then on, by its own clock.
    since_ms: i64,
    /// Those of them count that were sent after the run was looked at; see [`moment`].
    looked: String,
}

/// What a look at a run found.
struct Found {
    /// When the run is due next; None where it waits for something to happen.
    until: Option<DateTime<Utc>>,
    /// See [`moment`].
    looked: String,
}

impl Found {
    /// The wait that begins now: a replay may have waited since the look.
    fn park(&self, clock: &Clock) -> Parked {
        let now = clock.now();
        let left = self
            .until
            .map(|until| (until - now).to_std().unwrap_or_default());
        let left = left.map_or(WAIT_MAX, |left| clock.takes(left));
        let sleep = left.min(WAIT_MAX);
        Parked {
            mark: Uuid::now_v7(),
            sleep_ms: u64::try_from(sleep.as_millis()).unwrap_or(u64::MAX),
            since_ms: (now - clock.moves(LOOK_BACK)).timestamp_millis(),
            looked: self.looked.clone(),
        }
    }
}

impl Parked {
    fn wait(&self, run: StateId) -> Wait {
        let since = u64::try_from(self.since_ms).unwrap_or_default();
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(since);
        Wait::sleep(Duration::from_millis(self.sleep_ms))
            .or_event(event_key(run), since)
            .after(SENT, &self.looked)
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
        let mut next: Option<Found> = None;
        loop {
            let found = if let Some(found) = next.take() {
                found
            } else if !self.adopt(run, &task.id).await {
                return Ok(json!({ "run": run, "result": "another task has the run" }));
            } else if let Some(found) = self.look(run, task).await {
                found
            } else if let Some(result) = self.over(run, task).await {
                return Ok(result);
            } else {
                // It was reopened meanwhile.
                continue;
            };
            let parked = found.park(&self.app.clock);
            let kept = task.memo("park", parked.clone()).await?;
            if kept.mark != parked.mark {
                // A wait of the past: what was found now is for the first one that is not.
                next = Some(found);
            }
            task.wait(&kept.wait(run)).await;
        }
    }

    /// Advances the run as far as it goes. None where it is over.
    async fn look(&self, run: StateId, task: &Durable) -> Option<Found> {
        loop {
            let (looked, standing) = self
                .persist(|app| {
                    let recorder = self.recorder.clone();
                    async move {
                        let looked = {
                            let mut conn = app.db.conn().await?;
                            db::wall_time(&mut conn).await?
                        };
                        let standing = runs::advance_one(&app, &recorder, run).await?;
                        Ok((looked, standing))
                    }
                })
                .await;
            let until = match standing {
                Standing::Due => continue,
                Standing::Over => return None,
                Standing::Waits { until } => until,
            };
            self.notes.add(run, until, task);
            return Some(Found {
                until,
                looked: moment(looked),
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

    /// Does something with Postgres for a run, with as many others as the embedded engine has in progress; see
    /// [`Tasks::patiently`].
    async fn persist<T, F>(&self, work: impl Fn(App) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = db::Result<T>> + Send + 'static,
    {
        self.patiently(|| {
            let (places, work) = (self.places.clone(), work(self.app.clone()));
            async move {
                let Ok(_place) = places.acquire().await else {
                    return std::future::pending().await;
                };
                work.await
            }
        })
        .await
    }
}
