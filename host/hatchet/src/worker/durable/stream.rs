//! The DurableTask stream: opened, read, and opened again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::Hub;
use super::state::{Evicted, Key, Probed};
use crate::pace::Backoff;
use crate::proto::v1;
use crate::proto::v1::durable_task_request::Message;

/// The longest that the engine may take to answer the registration.
const OPEN: Duration = Duration::from_secs(10);

impl Hub {
    /// Keeps a stream open for the worker whose id `worker` shows.
    pub async fn keep_stream(self: Arc<Self>, mut worker: watch::Receiver<String>) {
        let mut backoff = Backoff::new(self.pace.reconnect);
        loop {
            let id = worker.borrow_and_update().clone();
            let opened = self.follow(&id, &mut worker).await;
            self.stream_lost();
            if opened {
                backoff.reset();
            }
            backoff.pause().await;
        }
    }

    /// Opens a stream and reads it to its end; whether it was opened.
    async fn follow(self: &Arc<Self>, id: &str, worker: &mut watch::Receiver<String>) -> bool {
        let (out, requests) = mpsc::unbounded_channel();
        // The engine sends nothing, headers included, before it has read this.
        let register = v1::DurableTaskRequestRegisterWorker {
            worker_id: id.to_owned(),
        };
        let first = v1::DurableTaskRequest {
            message: Some(Message::RegisterWorker(register)),
        };
        if out.send(first).is_err() {
            return false;
        }
        let mut dispatcher = self.client.durable_dispatcher();
        let call = dispatcher.durable_task(UnboundedReceiverStream::new(requests));
        let mut stream = match timeout(OPEN, call).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                let error = self.client.link.failed("DurableTask", &status);
                tracing::debug!(%error, "the stream for durable tasks could not be opened");
                return false;
            }
            Err(_) => return false,
        };
        self.client.link.answered();
        let generation = self.opened(out);
        let mut deaf = self.deaf.subscribe();
        loop {
            tokio::select! {
                _ = deaf.wait_for(|it| *it == generation) => return true,
                _ = worker.changed() => return true,
                message = stream.message() => match message {
                    Ok(Some(response)) => {
                        if let Some(message) = response.message {
                            self.hear(message);
                        }
                    }
                    Ok(None) => return true,
                    Err(status) => {
                        self.client.link.failed("DurableTask", &status);
                        return true;
                    }
                },
            }
        }
    }

    fn opened(&self, out: mpsc::UnboundedSender<v1::DurableTaskRequest>) -> u64 {
        let mut state = self.state();
        state.generation += 1;
        state.out = Some(out);
        self.up.send_replace(state.generation);
        state.generation
    }

    /// Waits until a stream is open.
    pub(super) async fn up(&self) {
        // The sender lives as long as `self`.
        let _ = self.up.subscribe().wait_for(|it| *it > 0).await;
    }

    /// Whether the requests without an answer are in the log is unknown, so their tasks restart from it.
    fn stream_lost(self: &Arc<Self>) {
        let mut state = self.state();
        state.out = None;
        self.up.send_replace(0);
        for (_, eviction) in state.evictions.drain() {
            let _ = eviction.answer.send(Evicted::Lost);
        }
        for probe in state.probes.values_mut() {
            if let Some(answer) = probe.answer.take() {
                let _ = answer.send(Probed::Lost);
            }
        }
        state.probes.clear();
        let asking = state.lives.iter().filter(|(_, it)| it.asking.is_some());
        let lost = asking.map(|(task, live)| {
            let key = Key {
                task: task.clone(),
                serial: live.serial,
            };
            (key, live.turn.0, live.report.clone())
        });
        let lost: Vec<_> = lost.collect();
        for (key, _, _) in &lost {
            state.remove(key);
        }
        drop(state);
        for (key, invocation, report) in lost {
            self.recover(key.task, invocation, report);
        }
    }
}
