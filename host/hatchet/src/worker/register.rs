//! Making this worker known to the engine.

use std::sync::Arc;

use super::task::Tasks;
use super::{Crew, WorkerFailed};
use crate::client::SHORT;
use crate::error::CallError;
use crate::pace::{Backoff, Complaint};
use crate::proto::{RuntimeInfo, WorkerRegisterRequest};
use crate::workflow::{DURABLE_SLOT, SLOT};

impl<T: Tasks> Crew<T> {
    /// Checks the engine, registers the workflows, then the worker; repeats what may pass by itself.
    pub(super) async fn start_up(self: &Arc<Self>) -> Result<String, WorkerFailed> {
        let mut backoff = Backoff::new(self.hub.pace.reconnect);
        let mut complaint = Complaint::default();
        loop {
            match self.introduce().await {
                Ok(worker) => {
                    if complaint.is_made() {
                        tracing::info!("the worker has started after all");
                    }
                    return Ok(worker);
                }
                Err(error) if error.may_pass() => {
                    if complaint.is_due() {
                        tracing::warn!(%error, "the worker cannot start yet");
                    }
                }
                Err(error) => return Err(error),
            }
            backoff.pause().await;
        }
    }

    async fn introduce(&self) -> Result<String, WorkerFailed> {
        let client = &self.hub.client;
        client.check().await.map_err(WorkerFailed::Check)?;
        for workflow in &self.config.workflows {
            client.put_workflow(workflow).await?;
        }
        Ok(self.register().await?)
    }

    async fn register(&self) -> Result<String, CallError> {
        let client = &self.hub.client;
        let config = &self.config;
        let actions = config.workflows.iter();
        let actions = actions.map(|it| it.action(&client.namespace));
        let mut dispatcher = client.dispatcher();
        let slots = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let call = dispatcher.register(WorkerRegisterRequest {
            worker_name: config.name.clone(),
            actions: actions.collect::<Result<_, _>>()?,
            labels: [].into(),
            runtime_info: Some(RuntimeInfo {
                sdk_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                os: Some(std::env::consts::OS.to_owned()),
                extra: Some("rust".to_owned()),
            }),
            slot_config: [
                (SLOT.to_owned(), slots(config.slots)),
                (DURABLE_SLOT.to_owned(), slots(config.durable_slots)),
            ]
            .into(),
        });
        let worker = client.link.call("Register", SHORT, call).await?.worker_id;
        client.link.note(|it| it.worker = Some(worker.clone()));
        tracing::info!(hatchet.worker = worker, "registered at Hatchet");
        Ok(worker)
    }

    /// The engine does not know the worker any more: registers it, unless that was done since.
    pub(super) async fn register_again(&self, unknown: &str) {
        let _one = self.registering.lock().await;
        if *self.worker.borrow() != unknown || self.hub.closing.is_cancelled() {
            return;
        }
        match self.register().await {
            Ok(worker) => {
                self.worker.send_replace(worker);
            }
            Err(error) => tracing::warn!(%error, "the worker could not be registered again"),
        }
    }
}
