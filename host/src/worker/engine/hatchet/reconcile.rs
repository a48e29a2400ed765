//! Finds what was lost between Postgres and Hatchet: due runs whose task does not look, tasks that Hatchet no
//! longer has, and tasks that somebody cancelled in Hatchet's dashboard, which ends their run.

use std::time::Duration;

use chrono::TimeDelta;
use hogsend_hatchet::RunStatus;
use tokio_util::sync::CancellationToken;

use super::Hatchet;
use super::wake::{self, NotWoken};
use crate::app::App;
use crate::audit::Actor;
use crate::db::{self, RunTask, TaskCheck};
use crate::runs::decide::{self, AdminError};
use crate::worker::engine::Engine as _;
use crate::worker::periodic::{Left, Pass};

/// Runs woken in one pass.
const RUNS: i64 = 1_000;
/// How long after its time a run is overdue: tasks wake some seconds late under load.
const LATE: TimeDelta = TimeDelta::seconds(15);
/// How long a task has to look at its run before it is asked again. Longer than Hatchet starts no task after its
/// own restart, which is a minute.
const ASKED: TimeDelta = TimeDelta::seconds(90);
/// Tasks compared with Hatchet in one pass.
const CHECKED: i64 = 100;
/// How long a task is not compared again.
const CHECKED_WITHIN: TimeDelta = TimeDelta::minutes(1);
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
        let now = self.app.clock.now();
        let overdue = {
            let mut conn = self.app.db.conn().await?;
            db::runs_overdue(&mut conn, now, now - LATE, now - ASKED, RUNS).await?
        };
        wake::wake(&self.app, self.engine.client(), &overdue).await?;
        Ok(overdue.len() as i64 == RUNS)
    }

    async fn check(&self) -> Result<(), NotWoken> {
        let now = self.app.clock.now();
        let checks = {
            let mut conn = self.app.db.conn().await?;
            db::run_tasks_check(&mut conn, now - CHECKED_WITHIN, now, CHECKED).await?
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
            self.compare(one).await?;
        }
        Ok(())
    }

    /// Compares the task of an open run with what Hatchet says.
    async fn compare(&self, one: RunTask) -> Result<(), NotWoken> {
        let details = self.engine.client().run(&one.task).await?;
        let status = details.map(|details| details.status);
        if status.is_some_and(|status| !status.is_over()) {
            return Ok(());
        }
        // One that failed, or that Hatchet forgot: the run gets another one when it is due.
        let forgotten = {
            let mut conn = self.app.db.conn().await?;
            db::run_tasks_forget(&mut conn, std::slice::from_ref(&one)).await?
        };
        // A task that was taken from Hatchet meanwhile was cancelled for that.
        if forgotten == 1 && status == Some(RunStatus::Cancelled) {
            self.exit(&one).await?;
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
