//! Telling the engine how a task goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::task::Failed;
use crate::client::{Client, SHORT};
use crate::error::CallError;
use crate::json;
use crate::pace::{Backoff, Pace};
use crate::proto::{AssignedAction, StepActionEvent, StepActionEventType};

/// The reports of one attempt of a task.
pub(crate) struct Report {
    client: Client,
    action: Arc<AssignedAction>,
    worker: String,
    /// The engine knows which attempt this is.
    known: AtomicBool,
}

impl Report {
    pub fn new(client: Client, action: Arc<AssignedAction>, worker: String) -> Self {
        Self {
            client,
            // A first attempt needs no telling.
            known: AtomicBool::new(action.retry_count == 0),
            action,
            worker,
        }
    }

    /// The handler begins.
    ///
    /// The engine remembers the retry count of a task from when it first saw it, and evicts that attempt: it
    /// acknowledges the eviction of a later one and does nothing. A report without the count makes it look
    /// the task up again.
    pub async fn started(&self) {
        let mut event = self.event(StepActionEventType::Started, String::new());
        if self.action.retry_count > 0 {
            event.retry_count = None;
        }
        match self.send(event).await {
            Ok(()) => self.known.store(true, Ordering::SeqCst),
            Err(error) => tracing::debug!(%error, "the start of a task was not reported"),
        }
    }

    /// Whether the engine knows which attempt this is, so that an eviction is of this one; tells it where it
    /// does not.
    pub async fn make_known(&self) -> bool {
        if !self.known.load(Ordering::SeqCst) {
            self.started().await;
        }
        self.known.load(Ordering::SeqCst)
    }

    /// The handler has ended. Repeated until the engine takes it: a task whose end is lost runs again after its
    /// time-out.
    pub async fn ended(&self, result: Result<Value, Failed>, pace: &Pace) {
        let event = match result {
            Ok(output) => {
                let kind = StepActionEventType::Completed;
                self.event(kind, json::output(output))
            }
            Err(failed) => {
                let kind = StepActionEventType::Failed;
                let mut event = self.event(kind, json::text(&failed.message));
                event.should_not_retry = Some(!failed.retry);
                event
            }
        };
        let mut backoff = Backoff::new(pace.reconnect);
        loop {
            match self.send(event.clone()).await {
                Ok(()) => return,
                Err(error) if error.is_transient() || matches!(error, CallError::Token { .. }) => {
                    tracing::debug!(%error, "reporting the end of a task is tried again");
                }
                Err(error) => {
                    let task = &self.action.task_run_external_id;
                    tracing::warn!(hatchet.task = task, %error, "Hatchet does not take the end of a task");
                    return;
                }
            }
            backoff.pause().await;
        }
    }

    async fn send(&self, event: StepActionEvent) -> Result<(), CallError> {
        let mut dispatcher = self.client.dispatcher();
        let call = dispatcher.send_step_action_event(event);
        let link = &self.client.link;
        link.call("SendStepActionEvent", SHORT, call).await?;
        Ok(())
    }

    fn event(&self, kind: StepActionEventType, payload: String) -> StepActionEvent {
        let action = &self.action;
        StepActionEvent {
            worker_id: self.worker.clone(),
            job_id: action.job_id.clone(),
            job_run_id: action.job_run_id.clone(),
            task_id: action.task_id.clone(),
            task_run_external_id: action.task_run_external_id.clone(),
            action_id: action.action_id.clone(),
            event_timestamp: Some((self.client.link.now)().into()),
            event_type: kind.into(),
            event_payload: payload,
            retry_count: Some(action.retry_count),
            should_not_retry: None,
        }
    }
}
