//! Waking runs: an event for the task of a run, a new task where there is none, and the end of tasks whose run is
//! over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_hatchet::{CallError, Client, Event, Trigger};
use serde_json::{Map, Value};

use crate::app::App;
use crate::db::{self, RunTask, TaskWanted};
use crate::ids::StateId;
use crate::runs::{self, Recorder};
use crate::worker::engine::SwitchFailed;

/// How long making a task may take; after that another worker makes it.
const MADE_WITHIN: Duration = Duration::from_secs(120);

/// Why runs were not woken.
#[derive(Debug, thiserror::Error)]
pub enum NotWoken {
    #[error(transparent)]
    Hatchet(#[from] CallError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<NotWoken> for SwitchFailed {
    fn from(failed: NotWoken) -> Self {
        match failed {
            NotWoken::Hatchet(error) => Self::Engine(error),
            NotWoken::Database(error) => Self::Database(error),
        }
    }
}

/// The event that ends a wait of the run's task.
pub fn event_key(run: StateId) -> String {
    format!("run:{run}")
}

/// The field of the event with the [`moment`] in which it was sent.
pub const SENT: &str = "sent";

/// A time of the database's clock, as a text that sorts like the time. A look at a run and the wake-ups for it are
/// compared by that clock, whatever those of the workers and of Hatchet show: a wake-up that was sent before the look
/// has nothing new to say.
pub fn moment(time: DateTime<Utc>) -> String {
    format!("{:020}", time.timestamp_micros())
}

/// The workflow of a journey. Hatchet's names are in lower case.
pub fn workflow(journey: &str) -> String {
    format!("journey-{}", journey.to_lowercase())
}

/// Makes these runs' tasks look at them. Runs that are over are left alone.
pub async fn wake(app: &App, client: &Client, runs: &[StateId]) -> Result<(), NotWoken> {
    if runs.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    let (wanted, tasks, sent) = {
        let given_up = now - app.clock.moves(MADE_WITHIN);
        let mut conn = app.db.conn().await?;
        let wanted = db::run_tasks_begin(&mut conn, runs, now, given_up).await?;
        let tasks = db::run_tasks(&mut conn, runs).await?;
        (wanted, tasks, moment(db::wall_time(&mut conn).await?))
    };
    let woken: Vec<StateId> = runs
        .iter()
        .copied()
        .filter(|run| tasks.contains_key(run))
        .collect();
    make(app, client, wanted).await?;
    if woken.is_empty() {
        return Ok(());
    }
    let events: Vec<Event> = woken
        .iter()
        .map(|run| {
            let payload = Map::from_iter([(SENT.to_owned(), Value::from(sent.clone()))]);
            Event::new(event_key(*run), payload)
        })
        .collect();
    client.push(&events).await.map_err(|failed| failed.error)?;
    let mut conn = app.db.conn().await?;
    db::run_tasks_asked(&mut conn, &woken, now).await?;
    Ok(())
}

/// Makes tasks for runs. A run whose journey is in no plugin gets none: it is advanced here, which postpones it
/// and reports the missing plugin.
async fn make(app: &App, client: &Client, wanted: Vec<TaskWanted>) -> Result<(), NotWoken> {
    if wanted.is_empty() {
        return Ok(());
    }
    let catalog = app.catalog();
    let (known, unknown): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|one| catalog.journey(&one.journey_id).is_some());
    let ids = |all: &[TaskWanted]| all.iter().map(|one| one.run).collect::<Vec<_>>();
    let triggers: Vec<Trigger> = known.iter().map(trigger).collect();
    let made = match client.trigger_many(&triggers).await {
        Ok(made) => made,
        Err(error) => {
            let mut conn = app.db.conn().await?;
            let all = [ids(&known), ids(&unknown)].concat();
            db::run_tasks_not_made(&mut conn, &all).await?;
            return Err(error.into());
        }
    };
    let made: Vec<RunTask> = known
        .iter()
        .zip(made)
        .map(|(one, made)| RunTask {
            run: one.run,
            task: made.id().to_owned(),
        })
        .collect();
    {
        let mut conn = app.db.conn().await?;
        db::run_tasks_made(&mut conn, &made).await?;
        db::run_tasks_not_made(&mut conn, &ids(&unknown)).await?;
    }
    let recorder = Recorder::default();
    for one in unknown {
        runs::advance_one(app, &recorder, one.run).await?;
    }
    Ok(())
}

fn trigger(wanted: &TaskWanted) -> Trigger {
    let input = Map::from_iter([("run".to_owned(), Value::String(wanted.run.to_string()))]);
    Trigger::new(workflow(&wanted.journey_id), input)
        .metadata("journey", wanted.journey_id.clone())
        .metadata("contact", wanted.contact_id.to_string())
        .metadata("run", wanted.run.to_string())
}

/// Cancels the tasks of runs that are over.
pub async fn cancel(app: &App, client: &Client, tasks: Vec<RunTask>) -> Result<(), NotWoken> {
    if tasks.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = tasks.iter().map(|one| one.task.clone()).collect();
    client.cancel(&ids).await?;
    let mut conn = app.db.conn().await?;
    db::run_tasks_forget(&mut conn, &tasks).await?;
    Ok(())
}
