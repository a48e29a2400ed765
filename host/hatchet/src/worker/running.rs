//! Assigned tasks become running handlers.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::sync::{Mutex, oneshot};

use super::Crew;
use super::durable::{Key, Run, Turn};
use super::report::Report;
use super::task::{Durable, Failed, Normal, Task, Tasks};
use crate::namespace::Namespace;
use crate::proto::{ActionType, AssignedAction};

impl<T: Tasks> Crew<T> {
    /// Does what the engine assigns.
    pub(super) fn assigned(self: &Arc<Self>, action: AssignedAction, worker: String) {
        let turn = turn(&action);
        match action.action_type() {
            ActionType::StartStepRun => self.start(action, turn, worker),
            ActionType::CancelStepRun => self.hub.cancel(&action.task_run_external_id, turn),
            other => tracing::warn!(
                ?other,
                "Hatchet assigned what no workflow of this worker needs"
            ),
        }
    }

    fn start(self: &Arc<Self>, action: AssignedAction, turn: Turn, worker: String) {
        let action = Arc::new(action);
        let id = action.task_run_external_id.clone();
        let crew = self.clone();
        let report = Report::new(crew.hub.client.clone(), action.clone(), worker);
        let report = Arc::new(report);
        let reported = report.clone();
        let spawn = |key: Key, verdict: oneshot::Receiver<Failed>| {
            let tracker = crew.hub.tracker.clone();
            let task = Arc::new(task(&action, &crew.hub.client.namespace));
            tracker
                .spawn(Box::pin(async move {
                    let started = async { report.started().await };
                    let handled = crew.handle(task, key.clone(), &action, verdict);
                    // The end is reported after the start.
                    let ((), result) = tokio::join!(started, handled);
                    if crew.hub.finish(&key) {
                        report.ended(result, &crew.hub.pace).await;
                        crew.hub.finished(&key);
                    }
                }))
                .abort_handle()
        };
        if !self.hub.begin(&id, turn, reported, spawn) {
            tracing::debug!(
                hatchet.task = id,
                "Hatchet assigned an attempt of a task that runs already"
            );
        }
    }

    /// Runs the handler. Its panic is a failure.
    async fn handle(
        self: &Arc<Self>,
        task: Arc<Task>,
        key: Key,
        action: &AssignedAction,
        verdict: oneshot::Receiver<Failed>,
    ) -> Result<Value, Failed> {
        let logs = self.logs.clone();
        let handler = match action.durable_task_invocation_count {
            Some(invocation) => {
                let run = Arc::new(Run {
                    hub: self.hub.clone(),
                    key,
                    invocation,
                    turn: Arc::new(Mutex::new(())),
                });
                self.tasks
                    .durable(Durable { task, run, logs })
                    .left_future()
            }
            None => {
                let client = self.hub.client.clone();
                self.tasks
                    .normal(Normal { task, client, logs })
                    .right_future()
            }
        };
        let handler = AssertUnwindSafe(Box::pin(handler)).catch_unwind();
        tokio::select! {
            biased;
            Ok(failed) = verdict => Err(failed),
            result = handler => result.unwrap_or_else(|panic| {
                Err(Failed::transient(format!("the handler panicked: {}", said(&*panic))))
            }),
        }
    }
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let string = panic.downcast_ref::<String>().map(String::as_str);
    text.or(string).unwrap_or("without a message")
}

/// A normal task has no invocation, and its retries tell its attempts apart.
fn turn(action: &AssignedAction) -> Turn {
    let invocation = action.durable_task_invocation_count.unwrap_or(0);
    (invocation, action.retry_count)
}

fn task(action: &AssignedAction, namespace: &Namespace) -> Task {
    let payload: Value = serde_json::from_str(&action.action_payload).unwrap_or_default();
    let metadata = action.additional_metadata.as_deref();
    let metadata = metadata.and_then(|it| serde_json::from_str(it).ok());
    let name = action.action_id.split(':').next().unwrap_or_default();
    Task {
        id: action.task_run_external_id.clone(),
        workflow: namespace.remove(name).to_owned(),
        input: payload.get("input").cloned().unwrap_or_default(),
        metadata: metadata.unwrap_or_default(),
        retry_count: action.retry_count,
        event_key: action
            .triggering_event_key
            .as_deref()
            .map(|it| namespace.remove(it).to_owned()),
    }
}
