//! Asking about runs, cancelling and replaying them.

use serde_json::Value;
use tonic::Code;

use super::{Client, LONG, SHORT};
use crate::error::CallError;
use crate::proto::v1;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
    /// Waits on the engine, without a worker.
    Evicted,
}

impl RunStatus {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A run of a workflow of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDetails {
    pub status: RunStatus,
    /// What it completed with.
    pub output: Option<Value>,
    /// What it failed with.
    pub error: Option<String>,
}

impl Client {
    /// A run; None where the engine does not know it. A run is known some milliseconds after its trigger.
    ///
    /// # Errors
    /// Where the engine is away.
    pub async fn run(&self, id: &str) -> Result<Option<RunDetails>, CallError> {
        let mut admin = self.admin();
        let external_id = id.to_owned();
        let call = admin.get_run_details(v1::GetRunDetailsRequest { external_id });
        let details = match self.link.call("GetRunDetails", SHORT, call).await {
            Err(error) if error.code() == Some(Code::NotFound) => return Ok(None),
            details => details?,
        };
        let evicted = details.is_evicted || details.task_runs.values().any(|it| it.is_evicted);
        let status = match details.status() {
            v1::RunStatus::Running if evicted => RunStatus::Evicted,
            v1::RunStatus::Queued => RunStatus::Queued,
            v1::RunStatus::Running => RunStatus::Running,
            v1::RunStatus::Completed => RunStatus::Completed,
            v1::RunStatus::Failed => RunStatus::Failed,
            v1::RunStatus::Cancelled => RunStatus::Cancelled,
            v1::RunStatus::Evicted => RunStatus::Evicted,
        };
        let task = details.task_runs.into_values().next();
        let (output, error) = task.map_or((None, None), |it| (it.output, it.error));
        Ok(Some(RunDetails {
            status,
            output: output.and_then(|it| serde_json::from_slice(&it).ok()),
            // A completed task has an empty error.
            error: error.filter(|it| !it.is_empty()),
        }))
    }

    /// Cancels runs. Those that are unknown or over are left alone.
    ///
    /// # Errors
    /// Where the engine is away.
    pub async fn cancel(&self, ids: &[String]) -> Result<(), CallError> {
        for ids in ids.chunks(IDS) {
            let mut admin = self.admin();
            let external_ids = ids.to_vec();
            let call = admin.cancel_tasks(v1::CancelTasksRequest { external_ids });
            self.link.call("CancelTasks", LONG, call).await?;
        }
        Ok(())
    }

    /// Starts runs anew that are over. A durable one keeps what it waited for and agreed on, and goes on from there.
    ///
    /// # Errors
    /// Where the engine is away.
    pub async fn replay(&self, ids: &[String]) -> Result<(), CallError> {
        for ids in ids.chunks(IDS) {
            let mut admin = self.admin();
            let external_ids = ids.to_vec();
            let call = admin.replay_tasks(v1::ReplayTasksRequest { external_ids });
            self.link.call("ReplayTasks", LONG, call).await?;
        }
        Ok(())
    }

    /// Gives an evicted task back to the workers at once, where its replay finds whether its wait is over. Does
    /// nothing to a task that is not evicted. For tasks that stay [`RunStatus::Evicted`] past their time, as after
    /// a crash between an eviction and its check.
    ///
    /// # Errors
    /// Where the engine is away or does not know the task.
    pub async fn restore(&self, task: &str) -> Result<(), CallError> {
        let mut dispatcher = self.dispatcher();
        let task_run_external_id = task.to_owned();
        let request = crate::proto::RestoreEvictedTaskRequest {
            task_run_external_id,
        };
        let call = dispatcher.restore_evicted_task(request);
        self.link.call("RestoreEvictedTask", SHORT, call).await?;
        Ok(())
    }
}

/// The most ids in one call.
const IDS: usize = 500;
