//! Starting runs of workflows by name.

use prost::Message;
use serde_json::{Map, Value};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{Client, LONG, SHORT};
use crate::error::CallError;
use crate::proto::{BulkTriggerWorkflowRequest, v1};
use crate::workflow::ONCE;

/// A run to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The workflow's name, without the namespace. The engine takes an unknown name and runs nothing.
    pub workflow: String,
    /// Must be an object. Give 64-bit numbers as strings: the engine rounds integers above 2^53.
    pub input: Map<String, Value>,
    /// Texts by name, shown with the run and found by its filters.
    pub metadata: Map<String, Value>,
    /// For a workflow with [`once_per_key`](crate::Workflow::once_per_key): triggers with the same key start one
    /// run within that time. Counts per workflow. None for a run of its own.
    pub key: Option<String>,
}

/// What became of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggered {
    /// A run was started; its id.
    Started(String),
    /// A trigger with the same key had started this run before. The engine notes a key before it makes the run:
    /// where [`Client::run`] does not know this id a minute later, trigger with another key.
    Already(String),
}

impl Triggered {
    /// The run's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Started(id) | Self::Already(id) => id,
        }
    }
}

impl Trigger {
    pub fn new(workflow: impl Into<String>, input: Map<String, Value>) -> Self {
        Self {
            workflow: workflow.into(),
            input,
            metadata: Map::new(),
            key: None,
        }
    }

    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata
            .insert(name.into(), Value::String(value.into()));
        self
    }

    /// The metadata with the key. There is always one: without it the engine would skip a run of a workflow with
    /// `once_per_key`. Keys are shared by a tenant's workflows, so they begin with the workflow's name.
    fn full_metadata(&self, workflow: &str) -> Vec<u8> {
        let mut all = self.metadata.clone();
        let key = match &self.key {
            Some(key) => format!("{workflow}:{key}"),
            None => Uuid::now_v7().to_string(),
        };
        all.insert(ONCE.to_owned(), Value::String(key));
        Value::Object(all).to_string().into_bytes()
    }
}

/// The most bytes of the runs in one call; the engine takes 4 MiB.
const CALL_BYTES: usize = 3 << 20;
/// The most runs in one call.
const CALL_RUNS: usize = 1000;

impl Client {
    /// Starts a run.
    ///
    /// # Errors
    /// Where the engine is away or refuses it. After [`CallError::Away`] the run may have started nevertheless:
    /// only a key makes a repeat safe.
    pub async fn trigger(&self, trigger: &Trigger) -> Result<Triggered, CallError> {
        let workflow = self.namespace.workflow(&trigger.workflow)?;
        let request = v1::TriggerWorkflowRunRequest {
            input: Value::Object(trigger.input.clone())
                .to_string()
                .into_bytes(),
            additional_metadata: trigger.full_metadata(&workflow),
            workflow_name: workflow,
        };
        let mut admin = self.admin();
        let name = "TriggerWorkflowRun";
        match tokio::time::timeout(SHORT, admin.trigger_workflow_run(request)).await {
            Ok(Ok(response)) => {
                self.link.answered();
                Ok(Triggered::Started(response.into_inner().external_id))
            }
            Ok(Err(status)) => match collision(&status) {
                Some(existing) => Ok(Triggered::Already(existing)),
                None => Err(self.link.failed(name, &status)),
            },
            Err(_) => Err(CallError::Away {
                address: self.link.address.clone(),
                why: format!("no answer to {name} within {SHORT:?}"),
            }),
        }
    }

    /// Starts many runs, in calls of at most 1,000. What became of each, in their order.
    ///
    /// # Errors
    /// As [`trigger`](Self::trigger), and some runs may have started then: only keys make a repeat safe.
    pub async fn trigger_many(&self, triggers: &[Trigger]) -> Result<Vec<Triggered>, CallError> {
        let mut all = Vec::with_capacity(triggers.len());
        let requests = triggers.iter().map(|it| self.bulk_request(it));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let mut rest = triggers;
        for call in super::events::calls(requests, CALL_RUNS, CALL_BYTES, Message::encoded_len) {
            let (now, later) = rest.split_at(call.len());
            rest = later;
            all.extend(self.trigger_call(now, call).await?);
        }
        Ok(all)
    }

    fn bulk_request(&self, trigger: &Trigger) -> Result<v1::TriggerWorkflowRequest, CallError> {
        let name = self.namespace.workflow(&trigger.workflow)?;
        let metadata = trigger.full_metadata(&name);
        Ok(v1::TriggerWorkflowRequest {
            input: Value::Object(trigger.input.clone()).to_string(),
            additional_metadata: String::from_utf8(metadata).ok(),
            name,
        })
    }

    async fn trigger_call(
        &self,
        triggers: &[Trigger],
        workflows: Vec<v1::TriggerWorkflowRequest>,
    ) -> Result<Vec<Triggered>, CallError> {
        let mut client = self.workflows();
        let call = client.bulk_trigger_workflow(BulkTriggerWorkflowRequest { workflows });
        match self.link.call("BulkTriggerWorkflow", LONG, call).await {
            Ok(response) if response.workflow_run_ids.len() == triggers.len() => {
                let ids = response.workflow_run_ids;
                Ok(ids.into_iter().map(Triggered::Started).collect())
            }
            Ok(response) => Err(CallError::Failed {
                call: "BulkTriggerWorkflow",
                message: format!(
                    "it answered {} runs for {} triggers",
                    response.workflow_run_ids.len(),
                    triggers.len()
                ),
            }),
            // Some had keys in use; the others have started. The answer does not say which are which, and asking
            // for each again does.
            Err(error) if error.code() == Some(Code::AlreadyExists) => {
                let mut all = Vec::with_capacity(triggers.len());
                for trigger in triggers {
                    match &trigger.key {
                        Some(_) => all.push(self.trigger(trigger).await?),
                        None => return Err(error),
                    }
                }
                Ok(all)
            }
            Err(error) => Err(error),
        }
    }
}

/// The run that has the key already. The detail is in `grpc-status-details-bin`.
fn collision(status: &Status) -> Option<String> {
    if status.code() != Code::AlreadyExists {
        return None;
    }
    let details = v1::ErrorDetails::decode(status.details()).ok()?;
    details
        .details
        .iter()
        .filter(|it| it.type_url.ends_with("v1.IdempotencyCollisionError"))
        .find_map(|it| v1::IdempotencyCollisionError::decode(it.value.as_slice()).ok())
        .map(|it| it.existing_run_external_id)
}
