//! Finds what was lost between Postgres and Hatchet: due runs whose task does not look, tasks that Hatchet no
//! longer has, and tasks that somebody cancelled in Hatchet's dashboard, which ends their run.
//!
//! A task that does not look although it was asked to is one of two. Its start was lost with a connection: then
//! Hatchet takes it for running as long as its worker lives, and the run gets another task. Or it was evicted after
//! the end of its wait, by a worker that died before it noticed: then it is restored.

use std::time::Duration;

use chrono::TimeDelta;
use hogsend_hatchet::{CallError, RunStatus};
use tokio_util::sync::CancellationToken;

use super::Hatchet;
use super::wake::{self, NotWoken};
use crate::app::App;
use crate::audit::Actor;
use crate::db::{self, Overdue, RunTask, TaskCheck};
use crate::ids::StateId;
use crate::runs::decide::{self, AdminError};
use crate::worker::engine::Engine as _;
use crate::worker::periodic::{Left, Pass};

/// Runs woken in one pass.
const RUNS: i64 = 1_000;
/// How long after its time a run is overdue: tasks wake some seconds late under load.
const LATE: Duration = Duration::from_secs(15);
/// How long a task has to look at its run after it was asked.
const ASKED: Duration = Duration::from_secs(30);
/// How long a run may be due whose task Hatchet takes for running: in memory it may wait for its turn.
const LOST: Duration = Duration::from_secs(90);
/// Tasks that do not look, of which Hatchet is asked in one pass. With a backlog at Hatchet all tasks are slow.
const DEAF: usize = 100;
/// Tasks compared with Hatchet in one pass.
const CHECKED: i64 = 100;
/// How long a task is not compared again.
const CHECKED_WITHIN: Duration = Duration::from_secs(60);
/// How long a pass waits for Hatchet.
const ANSWER: Duration = Duration::from_secs(5);
/// The reason of a run that was cancelled in the dashboard.
const CANCELLED: &str = "cancelled_in_hatchet";

pub struct Reconciler {
    app: App,
    engine: Hatchet,
}

impl Reconciler {
    pub fn new(app: &App, engine: &Hatchet) -> Self {
        Self {
            app: app.clone(),
            engine: engine.clone(),
        }
    }

    /// Wakes runs that are overdue. True where there may be more.
    async fn wake_overdue(&self) -> Result<bool, NotWoken> {
        let clock = &self.app.clock;
        let now = clock.now();
        // Hatchet takes its time however fast this clock runs.
        let ago = |real| now - clock.moves(real);
        let overdue = {
            let mut conn = self.app.db.conn().await?;
            db::runs_overdue(&mut conn, now, ago(LATE), ago(ASKED), RUNS).await?
        };
        let more = overdue.len() as i64 == RUNS;
        let mut to_ask = Vec::new();
        let mut deaf = Vec::new();
        for Overdue {
            run,
            due,
            deaf: task,
        } in overdue
        {
            match task {
                Some(task) => deaf.push((RunTask { run, task }, due < ago(LOST))),
                None => to_ask.push(run),
            }
        }
        wake::wake(&self.app, self.engine.client(), &to_ask).await?;
        if !deaf.is_empty() {
            self.revive(&deaf).await?;
        }
        Ok(more)
    }

    /// Makes runs go on whose tasks do not look. Those beyond the first are asked about later: where many are slow,
    /// it is Hatchet that is.
    async fn revive(&self, deaf: &[(RunTask, bool)]) -> Result<(), NotWoken> {
        let mut without = Vec::new();
        for (one, long) in deaf.iter().take(DEAF) {
            if !self.stirs(one, *long).await? {
                without.push(one.run);
            }
        }
        let runs: Vec<StateId> = deaf.iter().map(|(one, _)| one.run).collect();
        {
            let mut conn = self.app.db.conn().await?;
            db::run_tasks_asked(&mut conn, &runs, self.app.clock.now()).await?;
        }
        wake::wake(&self.app, self.engine.client(), &without).await
    }

    /// Whether a task will look at its run, as far as Hatchet says. One that does not is forgotten.
    async fn stirs(&self, one: &RunTask, long: bool) -> Result<bool, NotWoken> {
        let client = self.engine.client();
        let details = client.run(&one.task).await?;
        match details.map(|details| details.status) {
            Some(RunStatus::Queued) => return Ok(true),
            Some(RunStatus::Running) if !long => return Ok(true),
            Some(RunStatus::Evicted) => match client.restore(&one.task).await {
                Ok(()) => return Ok(true),
                Err(CallError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            Some(RunStatus::Running) => {}
            over => {
                self.ended(one, over).await?;
                return Ok(false);
            }
        }
        tracing::info!(state.id = %one.run, hatchet.task = one.task,
            "the task of a run is lost in Hatchet, the run gets another one");
        self.forget(one).await?;
        // After that: the run of a task that is cancelled in the dashboard ends.
        client.cancel(std::slice::from_ref(&one.task)).await?;
        Ok(false)
    }

    async fn forget(&self, one: &RunTask) -> Result<u64, NotWoken> {
        let mut conn = self.app.db.conn().await?;
        Ok(db::run_tasks_forget(&mut conn, std::slice::from_ref(one)).await?)
    }

    async fn check(&self) -> Result<(), NotWoken> {
        let now = self.app.clock.now();
        let before = now - self.app.clock.moves(CHECKED_WITHIN);
        let checks = {
            let mut conn = self.app.db.conn().await?;
            db::run_tasks_check(&mut conn, before, now, CHECKED).await?
        };
        let (open, over): (Vec<_>, Vec<_>) = checks.into_iter().partition(|one| one.open);
        let unmade: Vec<_> = over
            .iter()
            .filter(|one| one.task.is_none())
            .map(|one| one.run)
            .collect();
        {
            let mut conn = self.app.db.conn().await?;
            db::run_tasks_not_made(&mut conn, &unmade).await?;
        }
        wake::cancel(
            &self.app,
            self.engine.client(),
            over.into_iter().filter_map(task).collect(),
        )
        .await?;
        for one in open.into_iter().filter_map(task) {
            self.compare(&one).await?;
        }
        Ok(())
    }

    /// Compares the task of an open run with what Hatchet says.
    async fn compare(&self, one: &RunTask) -> Result<(), NotWoken> {
        let details = self.engine.client().run(&one.task).await?;
        match details.map(|details| details.status) {
            Some(status) if !status.is_over() => Ok(()),
            status => self.ended(one, status).await,
        }
    }

    /// Handles a task that is over, or that Hatchet does not know, while its run is open.
    async fn ended(&self, one: &RunTask, status: Option<RunStatus>) -> Result<(), NotWoken> {
        // One that failed, or that Hatchet forgot: the run gets another one when it is due.
        let forgotten = self.forget(one).await?;
        // A task that was taken from Hatchet meanwhile was cancelled for that.
        if forgotten == 1 && status == Some(RunStatus::Cancelled) {
            self.exit(one).await?;
        }
        Ok(())
    }

    /// Ends the run of a task that was cancelled in the dashboard.
    async fn exit(&self, one: &RunTask) -> Result<(), NotWoken> {
        match decide::exit(&self.app, &Actor::Command, one.run, CANCELLED).await {
            Ok(()) => {
                tracing::info!(run_id = %one.run, "a run was ended: its task was cancelled in Hatchet");
                Ok(())
            }
            Err(AdminError::Database(error)) => Err(error.into()),
            // It ended meanwhile.
            Err(AdminError::NotFound(_) | AdminError::Conflict(_)) => Ok(()),
        }
    }
}

fn task(check: TaskCheck) -> Option<RunTask> {
    let run = check.run;
    check.task.map(|task| RunTask { run, task })
}

impl Pass for Reconciler {
    const NAME: &'static str = "comparison with Hatchet";
    const EVERY: TimeDelta = TimeDelta::seconds(5);

    fn app(&self) -> &App {
        &self.app
    }

    async fn pass(&self, stop: &CancellationToken) -> db::Result<Left> {
        {
            let mut conn = self.app.db.conn().await?;
            db::engine_note(&mut conn, Hatchet::KIND, self.app.clock.now()).await?;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Left::Nothing),
            taken = tokio::time::timeout(ANSWER, self.engine.until_it_takes_wakes()) => {
                if taken.is_err() {
                    return Ok(Left::Nothing);
                }
            }
        }
        let reconciled = async {
            let more = self.wake_overdue().await?;
            self.check().await?;
            Ok(more)
        };
        match reconciled.await {
            Ok(true) => Ok(Left::Perhaps),
            Ok(false) => Ok(Left::Nothing),
            Err(NotWoken::Database(error)) => Err(error),
            Err(NotWoken::Hatchet(error)) => {
                tracing::debug!(%error, "runs are compared with Hatchet when it answers");
                Ok(Left::Nothing)
            }
        }
    }
}
