//! What the tasks of Hatchet do here.

use std::sync::Arc;
use std::time::Duration;

use hogsend_hatchet::{Durable, Failed, Normal, Workflow};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::notes::Notes;
use super::offers::{Offers, SEND_EMAIL};
use super::wake::workflow;
use crate::app::App;
use crate::db;
use crate::runs::{self, Recorder};

/// How long a request may take that its task still waits for.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);
/// The pauses between attempts while Postgres does not answer.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// The handler of a worker's tasks.
pub struct Tasks {
    pub(super) app: App,
    pub(super) offers: Arc<Offers>,
    /// As many runs are advanced at once as by the embedded engine.
    pub(super) places: Arc<Semaphore>,
    pub(super) notes: Notes,
    pub(super) recorder: Arc<Recorder>,
    /// Work with Postgres that goes on although Hatchet took its task away.
    pub(super) tracker: TaskTracker,
}

impl Tasks {
    pub fn new(app: &App, offers: &Arc<Offers>, tracker: &TaskTracker) -> Self {
        Self {
            app: app.clone(),
            offers: offers.clone(),
            places: Arc::new(Semaphore::new(runs::places(app))),
            notes: Notes::new(app, tracker),
            recorder: Arc::default(),
            tracker: tracker.clone(),
        }
    }

    /// Does something with Postgres again and again while it does not answer. Each attempt is a task of `tracker`,
    /// so that it ends although Hatchet takes its own task away.
    pub(super) async fn patiently<T, F>(&self, attempt: impl Fn() -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = db::Result<T>> + Send + 'static,
    {
        let mut failures = 0;
        loop {
            match self.tracker.spawn(attempt()).await {
                Ok(Ok(value)) => return value,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a task of Hatchet waits for the database");
                }
                Err(error) => tracing::error!(%error, "the work of a task panicked"),
            }
            tokio::time::sleep(PAUSES[failures]).await;
            failures = (failures + 1).min(PAUSES.len() - 1);
        }
    }
}

/// The workflows of an installation: one for each journey, and that of mail.
pub fn workflows(app: &App) -> Vec<Workflow> {
    let catalog = app.catalog();
    let mut all: Vec<Workflow> = Vec::new();
    for journey in catalog.journeys() {
        let name = workflow(&journey.definition.id);
        // Ids that differ in case only share one: the input says which run a task is for.
        if all.iter().all(|one| one.name != name) {
            let mut one = Workflow::durable(name);
            one.description = format!("Runs of the journey '{}'", journey.definition.id);
            all.push(one);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let mut mail = Workflow::normal(SEND_EMAIL);
    // One whose start was lost with a connection begins again. A request goes on without its task.
    mail.timeout = SEND_TIMEOUT;
    mail.retries = 3;
    mail.description = "Requests to the delivery provider, one for each task".to_owned();
    all.push(mail);
    all
}

impl hogsend_hatchet::Tasks for Tasks {
    async fn durable(&self, task: Durable) -> Result<Value, Failed> {
        self.follow(&task).await
    }

    async fn normal(&self, task: Normal) -> Result<Value, Failed> {
        Ok(self.send(&task).await)
    }
}
