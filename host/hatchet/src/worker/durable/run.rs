//! The requests of one invocation of a durable task.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::Hub;
use super::state::{Ack, AckKind, Asking, Key, Node};
use crate::proto::v1;
use crate::proto::v1::durable_task_request::Message;
use crate::worker::task::{Failed, Wait, Woke};
use crate::{durations, expression};

/// One invocation of a durable task.
pub(crate) struct Run {
    pub hub: Arc<Hub>,
    pub key: Key,
    pub invocation: i32,
    /// Held from a request to its answer, and by an eviction.
    pub turn: Arc<Mutex<()>>,
}

/// The names of the two ends of a wait in its payload. Part of what a replay is compared with.
const SLEPT: &str = "slept";
const EVENT: &str = "event";

/// How many requests in a row may stay without an answer.
const SILENT: u32 = 3;

/// Never returns: the handler's future is dropped by whoever took the task away.
async fn dropped<T>() -> T {
    std::future::pending().await
}

impl Run {
    /// Stores bytes under the next place of the log; what was stored there before, if anything was.
    pub async fn memo(&self, key: &str, payload: Vec<u8>) -> Option<Vec<u8>> {
        let message = Message::Memo(v1::DurableTaskMemoRequest {
            invocation_count: self.invocation,
            durable_task_external_id: self.key.task.clone(),
            key: key.as_bytes().to_vec(),
            payload: Some(payload),
        });
        match self.ask(message, AckKind::Memo).await {
            Ack::Memo(stored) => stored,
            Ack::Wait(_) => dropped().await,
        }
    }

    pub async fn wait(&self, wait: &Wait) -> Woke {
        let message = Message::WaitFor(v1::DurableTaskWaitForRequest {
            invocation_count: self.invocation,
            durable_task_external_id: self.key.task.clone(),
            wait_for_conditions: Some(self.conditions(wait)),
            label: wait.label.clone(),
        });
        let Ack::Wait(node) = self.ask(message, AckKind::Wait).await else {
            return dropped().await;
        };
        let Some(mut woken) = self.hub.expect(&self.key, node) else {
            return dropped().await;
        };
        let pace = &self.hub.pace;
        let mut patience = match wait.sleep > pace.hold {
            true => self.hub.state().patience(&self.key.task, pace.grace),
            false => wait.sleep + pace.hold,
        };
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                end = &mut woken => return match end {
                    Ok(payload) => woke(&payload),
                    Err(_) => dropped().await,
                },
                () = self.hub.stopping.cancelled(), if !stopping => stopping = true,
                () = sleep(patience) => {}
            }
            self.hub.leave(self);
            // An eviction that failed is tried again.
            patience = pace.hold + pace.ack;
        }
    }

    fn conditions(&self, wait: &Wait) -> v1::DurableEventListenerConditions {
        // Conditions of one group: the first that is met ends the wait. The id is not compared in a replay, and one
        // that is no UUID is never answered.
        let group = Uuid::new_v4().to_string();
        let base = |name: &str| v1::BaseMatchCondition {
            readable_data_key: name.to_owned(),
            action: v1::Action::Create.into(),
            or_group_id: group.clone(),
            expression: String::new(),
        };
        let namespace = &self.hub.client.namespace;
        let event = wait.event.as_ref().map(|event| {
            let key = namespace.add(&event.key);
            let mut base = base(EVENT);
            if let Some((field, text)) = &event.after {
                base.expression = expression::after(field, text);
            }
            v1::UserEventMatchCondition {
                base: Some(base),
                // Only with both do events count that were pushed before.
                event_scope: Some(key.clone()),
                consider_events_since: Some(event.since.into()),
                user_event_key: key,
            }
        });
        v1::DurableEventListenerConditions {
            sleep_conditions: vec![v1::SleepMatchCondition {
                base: Some(base(SLEPT)),
                sleep_for: durations::text(wait.sleep),
            }],
            user_event_conditions: event.into_iter().collect(),
        }
    }

    /// Sends a request and waits for its answer. The engine answers requests without saying which, so there is one
    /// at a time; and what was lost must not be sent again, since it would take the next place of the log.
    async fn ask(&self, message: Message, kind: AckKind) -> Ack {
        let _turn = self.turn.clone().lock_owned().await;
        let answer = loop {
            match self.hub.ask(&self.key, message.clone(), kind) {
                Asked::Sent(answer) => break answer,
                Asked::Down => self.hub.up().await,
                Asked::Gone => return dropped().await,
            }
        };
        match timeout(self.hub.pace.ack, answer).await {
            Ok(Ok(ack)) => ack,
            // The stream ended: `stream.rs` recovers the task.
            Ok(Err(_)) => dropped().await,
            Err(_) => {
                self.hub.silent(self);
                dropped().await
            }
        }
    }
}

/// What the payload of a wait says.
fn woke(payload: &Value) -> Woke {
    let events = payload.pointer("/CREATE").and_then(|it| it.get(EVENT));
    match events.and_then(|it| it.get(0)) {
        Some(event) => Woke::Event(event.clone()),
        None => Woke::Slept,
    }
}

/// Whether a request was sent.
enum Asked {
    Sent(oneshot::Receiver<Ack>),
    Down,
    /// The task was taken away.
    Gone,
}

impl Hub {
    fn ask(&self, key: &Key, message: Message, kind: AckKind) -> Asked {
        let mut state = self.state();
        if state.live(key).is_none() {
            return Asked::Gone;
        }
        if !state.send(message) {
            return Asked::Down;
        }
        let (answer, receiver) = oneshot::channel();
        if let Some(live) = state.live(key) {
            live.asking = Some(Asking { kind, answer });
        }
        Asked::Sent(receiver)
    }

    /// What resolves when the wait ends; at once where it has ended already.
    fn expect(&self, key: &Key, node: Node) -> Option<oneshot::Receiver<Value>> {
        let mut state = self.state();
        let wait = state.live(key)?.waits.entry(node).or_default();
        let (wake, woken) = oneshot::channel();
        wait.wake = Some(wake);
        if let Some(value) = wait.early.take() {
            wait.end(value);
        }
        Some(woken)
    }

    /// A request had no answer. Nobody knows whether it is in the log: a replay does.
    fn silent(self: &Arc<Self>, run: &Run) {
        let task = &run.key.task;
        let mut state = self.state();
        let notes = state.note(task);
        notes.silent += 1;
        let count = notes.silent;
        let Some(live) = state.live(&run.key) else {
            return;
        };
        tracing::warn!(
            hatchet.task = task,
            "Hatchet did not answer a request of a durable task"
        );
        if count < SILENT {
            let report = live.report.clone();
            state.remove(&run.key);
            drop(state);
            self.recover(task.clone(), run.invocation, report);
            return;
        }
        if let Some(verdict) = live.verdict.take() {
            let text = format!("Hatchet did not answer {count} requests of this task in a row");
            let _ = verdict.send(Failed::transient(text));
        }
    }
}
