//! The lines of tasks' logs that say where runs wait. They are written together: one query for all runs that began to
//! wait at about the same time.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_hatchet::Durable;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::db;
use crate::ids::StateId;

/// Lines that are kept until they are written; what is more is dropped.
const KEPT: usize = 10_000;
/// Lines written together.
const TOGETHER: usize = 500;
/// Between two rounds.
const BETWEEN: Duration = Duration::from_millis(250);

/// Takes lines. They are written until the last of these is dropped.
pub struct Notes(mpsc::Sender<Note>);

struct Note {
    run: StateId,
    until: Option<DateTime<Utc>>,
    task: Durable,
}

impl Notes {
    pub fn new(app: &App, tracker: &TaskTracker) -> Self {
        let (sender, notes) = mpsc::channel(KEPT);
        tracker.spawn(write(app.clone(), notes));
        Self(sender)
    }

    /// The run begins to wait.
    pub fn add(&self, run: StateId, until: Option<DateTime<Utc>>, task: &Durable) {
        let task = task.clone();
        // A log that lacks a line is better than a task that waits for it.
        let _ = self.0.try_send(Note { run, until, task });
    }
}

async fn write(app: App, mut notes: mpsc::Receiver<Note>) {
    let mut some = Vec::new();
    while notes.recv_many(&mut some, TOGETHER).await > 0 {
        let runs: Vec<StateId> = some.iter().map(|one| one.run).collect();
        let nodes = nodes(&app, &runs).await.unwrap_or_default();
        for one in some.drain(..) {
            let node = nodes.get(&one.run).map_or("unknown", String::as_str);
            let until = one.until.map_or("something happens".to_owned(), |until| {
                until.format("%F %T UTC").to_string()
            });
            one.task.log(format!("at {node}: waits until {until}"));
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn nodes(app: &App, runs: &[StateId]) -> db::Result<HashMap<StateId, String>> {
    let mut conn = app.db.conn().await?;
    db::state_nodes(&mut conn, runs).await
}
