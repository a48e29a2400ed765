//! Taking a task out of memory while it waits.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Hub;
use super::run::Run;
use super::state::{Evicted, Eviction, Key, Probe, Probed, entry};
use crate::proto::v1;
use crate::proto::v1::durable_task_request::Message;

/// How an eviction ended.
enum Left {
    /// The handler is gone, and its wait was over already.
    Over,
    /// The handler is gone, and the engine may tell that its wait was over.
    Asked(oneshot::Receiver<Probed>),
    /// The task is not here any more, or was not evicted.
    Not,
    /// Nobody knows what the engine did.
    Unknown,
}

impl Hub {
    /// Evicts the task of a wait. The engine gives it back to a worker when the wait is over, with the next
    /// invocation.
    pub(super) fn leave(self: &Arc<Self>, run: &Run) {
        let hub = self.clone();
        let key = run.key.clone();
        let invocation = run.invocation;
        let turn = run.turn.clone();
        self.spawn(async move {
            // No request goes out meanwhile.
            let _turn = turn.lock_owned().await;
            hub.evict(key, invocation).await;
        });
    }

    async fn evict(self: &Arc<Self>, key: Key, invocation: i32) {
        let report = self.state().live(&key).map(|it| it.report.clone());
        let Some(report) = report else {
            return;
        };
        if !report.make_known().await {
            return;
        }
        let Some(answer) = self.ask_eviction_of(&key, invocation) else {
            return;
        };
        let outcome = match timeout(self.pace.ack, answer).await {
            Ok(Ok(outcome)) => outcome,
            // Another attempt has begun, or the task is cancelled.
            Ok(Err(_)) => return,
            Err(_) => Evicted::Lost,
        };
        let task = key.task.clone();
        match self.left(&key, invocation, outcome) {
            Left::Not => {}
            Left::Unknown => self.recover(task, invocation, report),
            Left::Over => self.give_back(&task).await,
            Left::Asked(answer) => match timeout(self.pace.probe, answer).await {
                Ok(Ok(Probed::Over)) => {
                    self.state().note(&task).hasty += 1;
                    self.give_back(&task).await;
                }
                Ok(Ok(Probed::Lost)) => self.recover(task, invocation, report),
                // Restored by the engine, or cancelled.
                Ok(Err(_)) => {}
                Err(_) => {
                    let mut state = self.state();
                    state.probes.remove(&task);
                    state.notes.remove(&task);
                }
            },
        }
    }

    /// Asks for the eviction of a task that only waits.
    fn ask_eviction_of(&self, key: &Key, invocation: i32) -> Option<oneshot::Receiver<Evicted>> {
        let mut state = self.state();
        let live = state.live(key)?;
        if !live.is_waiting() || live.leaving {
            return None;
        }
        live.leaving = true;
        let answer = self.send_eviction(&mut state, &key.task, invocation, "waits");
        if answer.is_none()
            && let Some(live) = state.live(key)
        {
            live.leaving = false;
        }
        answer
    }

    /// Sends an eviction; None where no stream is open.
    pub(super) fn send_eviction(
        &self,
        state: &mut super::state::State,
        task: &str,
        invocation: i32,
        reason: &str,
    ) -> Option<oneshot::Receiver<Evicted>> {
        let sent = state.send(Message::EvictInvocation(
            v1::DurableTaskEvictInvocationRequest {
                invocation_count: invocation,
                durable_task_external_id: task.to_owned(),
                reason: Some(reason.to_owned()),
            },
        ));
        if !sent {
            return None;
        }
        let (answer, receiver) = oneshot::channel();
        let eviction = Eviction { invocation, answer };
        state.evictions.insert(task.to_owned(), eviction);
        Some(receiver)
    }

    /// After the answer: drops the handler, and asks whether the wait was over before. The engine restores a task
    /// when its wait ends, so one whose wait has ended already would stay evicted.
    fn left(&self, key: &Key, invocation: i32, outcome: Evicted) -> Left {
        let mut state = self.state();
        if state.live(key).is_none() {
            return Left::Not;
        }
        match outcome {
            Evicted::Stale => {
                state.remove(key);
                Left::Not
            }
            Evicted::Lost => {
                state.remove(key);
                Left::Unknown
            }
            Evicted::Refused(why) => {
                tracing::debug!(hatchet.task = key.task, why, "Hatchet did not evict a task");
                let Some(live) = state.live(key) else {
                    return Left::Not;
                };
                live.leaving = false;
                if live.ended {
                    state.remove(key);
                    return Left::Unknown;
                }
                live.wake_early();
                Left::Not
            }
            Evicted::Acked => {
                let Some(live) = state.remove(key) else {
                    return Left::Not;
                };
                if live.ended_early() {
                    return Left::Over;
                }
                self.probe(&mut state, &key.task, invocation, live.open())
            }
        }
    }

    fn probe(
        &self,
        state: &mut super::state::State,
        task: &str,
        invocation: i32,
        nodes: Vec<super::state::Node>,
    ) -> Left {
        let worker = self.client.connection().borrow().worker.clone();
        let waiting = nodes.iter().map(|it| entry(task, invocation, *it));
        let sent = state.send(Message::WorkerStatus(v1::DurableTaskWorkerStatusRequest {
            worker_id: worker.unwrap_or_default(),
            waiting_entries: waiting.collect(),
        }));
        if !sent {
            return Left::Unknown;
        }
        let (answer, receiver) = oneshot::channel();
        let probe = Probe {
            invocation,
            nodes,
            answer: Some(answer),
        };
        state.probes.insert(task.to_owned(), probe);
        Left::Asked(receiver)
    }
}
