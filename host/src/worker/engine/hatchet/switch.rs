//! Moving the runs to Hatchet, and away from it.

use hogsend_hatchet::{Client, Settings};
use uuid::Uuid;

use super::Hatchet;
use super::tasks::workflows;
use super::wake::{self, NotWoken};
use crate::app::App;
use crate::clock::Clock;
use crate::db;
use crate::ids::StateId;
use crate::worker::engine::{SwitchFailed, Unfit};

/// Runs handed over together.
const TOGETHER: i64 = 1_000;

/// Whether Hatchet answers.
pub async fn check(settings: &Settings, clock: &Clock) -> Result<String, Unfit> {
    let checked = match Hatchet::new(settings, clock) {
        Ok(engine) => engine.client().check().await.map_err(|it| it.problem),
        Err(problem) => Err(problem),
    };
    checked
        .map(|version| format!("Hatchet {version} answers at {}", settings.address))
        .map_err(|why| Unfit {
            why,
            fix: "correct the setting, or unset HATCHET_CLIENT_TOKEN to use the worker's own engine",
        })
}

/// Makes a task for each open run that has none.
pub async fn hand_over(app: &App, dry_run: bool) -> Result<Vec<String>, SwitchFailed> {
    let (client, answers) = connect(
        app,
        "HATCHET_CLIENT_TOKEN is required: give this command the settings that the workers will have",
    )
    .await?;
    let moved = if dry_run {
        let waiting = db::runs_without_task_count(&mut *app.db.conn().await?).await?;
        format!("{waiting} open runs would get a task in Hatchet")
    } else {
        let moved = make_tasks(app, &client).await?;
        format!("{moved} open runs have got a task in Hatchet")
    };
    Ok(vec![
        answers,
        moved,
        "set HATCHET_CLIENT_TOKEN, and what else this command was given of HATCHET_CLIENT_…, for every worker and \
         restart them. Until then the workers go on with the runs as before"
            .to_owned(),
    ])
}

/// Cancels the tasks of all runs.
pub async fn take_back(app: &App, dry_run: bool) -> Result<Vec<String>, SwitchFailed> {
    let (client, answers) = connect(
        app,
        "HATCHET_CLIENT_TOKEN is required: give this command the settings that the workers had, so that it can \
         cancel what Hatchet still has",
    )
    .await?;
    let moved = if dry_run {
        let tasks = db::run_tasks_count(&mut *app.db.conn().await?).await?;
        format!("the tasks of {tasks} runs would be cancelled in Hatchet")
    } else {
        let moved = cancel_tasks(app, &client).await?;
        format!("the tasks of {moved} runs are cancelled in Hatchet")
    };
    Ok(vec![
        answers,
        moved,
        "unset HATCHET_CLIENT_TOKEN for every worker and restart them; then run this command again, because workers \
         that still use Hatchet make new tasks for runs that are due. No run is lost meanwhile"
            .to_owned(),
    ])
}

/// The engine of the settings, which answers.
async fn connect(app: &App, unset: &'static str) -> Result<(Client, String), SwitchFailed> {
    let settings = app.config.engine.as_ref();
    let settings = settings.ok_or(SwitchFailed::Unset(unset))?;
    let engine = Hatchet::new(settings, &app.clock).map_err(SwitchFailed::Settings)?;
    let client = engine.client().clone();
    let version = client.check().await?;
    let answers = format!("Hatchet {version} answers at {}", settings.address);
    Ok((client, answers))
}

async fn make_tasks(app: &App, client: &Client) -> Result<usize, NotWoken> {
    // Hatchet takes the name of a workflow that it does not know, and runs nothing.
    for workflow in workflows(app) {
        client.put_workflow(&workflow).await?;
    }
    let mut after = StateId(Uuid::nil());
    let mut runs = 0;
    loop {
        let found = {
            let mut conn = app.db.conn().await?;
            db::runs_without_task(&mut conn, after, TOGETHER).await?
        };
        let Some(last) = found.last() else {
            return Ok(runs);
        };
        after = *last;
        runs += found.len();
        wake::wake(app, client, &found).await?;
    }
}

async fn cancel_tasks(app: &App, client: &Client) -> Result<usize, NotWoken> {
    let mut runs = 0;
    loop {
        let tasks = {
            let mut conn = app.db.conn().await?;
            let tasks = db::run_tasks_all(&mut conn, TOGETHER).await?;
            // First: a task that is cancelled while it is still that of its run ends the run.
            db::run_tasks_forget(&mut conn, &tasks).await?;
            tasks
        };
        if tasks.is_empty() {
            return Ok(runs);
        }
        runs += tasks.len();
        let ids: Vec<String> = tasks.iter().map(|one| one.task.clone()).collect();
        if let Err(error) = client.cancel(&ids).await {
            let mut conn = app.db.conn().await?;
            let now = app.clock.now();
            for one in &tasks {
                db::run_task_adopt(&mut conn, one.run, &one.task, now).await?;
            }
            return Err(error.into());
        }
    }
}
