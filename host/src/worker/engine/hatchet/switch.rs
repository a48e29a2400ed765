//! Handing runs over to Hatchet, and taking them back.

use hogsend_hatchet::Client;
use uuid::Uuid;

use super::tasks::workflows;
use super::wake::{self, NotWoken};
use crate::app::App;
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::ids::StateId;

/// Runs handed over together.
const TOGETHER: i64 = 1_000;

/// How many runs changed their engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOver {
    pub runs: u64,
}

/// Makes a task for each open run that has none. Safe to repeat, and while workers work: whichever engine they run,
/// a claim decides who advances a run.
pub async fn hand_over(app: &App, client: &Client) -> Result<HandedOver, NotWoken> {
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
            return Ok(HandedOver { runs });
        };
        after = *last;
        runs += found.len() as u64;
        wake::wake(app, client, &found).await?;
    }
}

/// Cancels the tasks of all runs, which go on with the embedded engine.
pub async fn take_back(db: &Db, client: &Client) -> Result<HandedOver, NotWoken> {
    let mut runs = 0;
    loop {
        let tasks = {
            let mut conn = db.conn().await?;
            let tasks = db::run_tasks_all(&mut conn, TOGETHER).await?;
            // First: a task that is cancelled while it is still that of its run ends the run.
            db::run_tasks_forget(&mut conn, &tasks).await?;
            tasks
        };
        if tasks.is_empty() {
            return Ok(HandedOver { runs });
        }
        runs += tasks.len() as u64;
        let ids: Vec<String> = tasks.iter().map(|one| one.task.clone()).collect();
        if let Err(error) = client.cancel(&ids).await {
            let mut conn = db.conn().await?;
            let now = Clock::system().now();
            for one in &tasks {
                db::run_task_adopt(&mut conn, one.run, &one.task, now).await?;
            }
            return Err(error.into());
        }
    }
}
