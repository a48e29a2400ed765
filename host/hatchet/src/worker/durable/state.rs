//! The tasks that run here, and what each waits for. Changes are made under one lock and never wait.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::super::report::Report;
use super::super::task::Failed;
use crate::proto::v1::durable_task_request::Message as Ask;
use crate::proto::v1::{DurableTaskAwaitedCompletedEntry, DurableTaskRequest};

/// A place in a task's log: branch and node, in the order of worker_status.
pub(super) type Node = (i64, i64);

/// One attempt of a task in this process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub task: String,
    /// Counts the starts in this process.
    pub serial: u64,
}

/// The order of a task's attempts on the engine: its invocation (0 for a normal task) and its retry count.
pub(crate) type Turn = (i32, i32);

#[derive(Default)]
pub(super) struct State {
    serials: u64,
    /// Counts the DurableTask streams.
    pub generation: u64,
    /// The requests of the open stream.
    pub out: Option<mpsc::UnboundedSender<DurableTaskRequest>>,
    pub lives: HashMap<String, Live>,
    /// Evictions whose answer has not come.
    pub evictions: HashMap<String, Eviction>,
    /// Tasks that were evicted a moment ago.
    pub probes: HashMap<String, Probe>,
    pub notes: HashMap<String, Notes>,
}

/// A task whose handler runs, or whose end is being reported.
pub(super) struct Live {
    pub serial: u64,
    pub turn: Turn,
    pub report: Arc<Report>,
    pub abort: AbortHandle,
    /// Ends the handler with a failure.
    pub verdict: Option<oneshot::Sender<Failed>>,
    /// The request that waits for its answer: at most one, since answers carry no id.
    pub asking: Option<Asking>,
    pub waits: BTreeMap<Node, Waiting>,
    pub memos: HashSet<Node>,
    /// Its eviction was sent. Ends of waits are kept until the answer is there.
    pub leaving: bool,
    /// The handler ended meanwhile.
    pub ended: bool,
    /// Its end is being reported.
    pub finishing: bool,
}

pub(super) struct Asking {
    pub kind: AckKind,
    pub answer: oneshot::Sender<Ack>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckKind {
    Memo,
    Wait,
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// What was stored before, if anything was.
    Memo(Option<Vec<u8>>),
    Wait(Node),
}

/// What a wait has come to.
#[derive(Default)]
pub(super) struct Waiting {
    /// The engine has acknowledged the wait, so the place is a wait's.
    pub acked: bool,
    pub wake: Option<oneshot::Sender<Value>>,
    /// Arrived before anybody waited for it, or while the task is being evicted.
    pub early: Option<Value>,
    pub over: bool,
    /// The stream on which the end arrived last; 0 for none.
    pub heard: u64,
}

pub(super) struct Eviction {
    pub invocation: i32,
    pub answer: oneshot::Sender<Evicted>,
}

/// The answer to an eviction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evicted {
    Acked,
    /// The engine could not do it.
    Refused(String),
    /// Another invocation has taken over.
    Stale,
    /// The stream ended first: nobody knows.
    Lost,
}

pub(super) struct Probe {
    pub invocation: i32,
    pub nodes: Vec<Node>,
    pub answer: Option<oneshot::Sender<Probed>>,
}

/// What became of a task after its eviction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// Its wait was over before the eviction.
    Over,
    Lost,
}

/// What is remembered of a task beyond one attempt.
#[derive(Default)]
pub(super) struct Notes {
    /// How often in a row it was evicted although its wait was over.
    pub hasty: u32,
    /// How often in a row a request had no answer.
    pub silent: u32,
}

impl State {
    pub fn serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    /// The attempt, unless another took its place.
    pub fn live(&mut self, key: &Key) -> Option<&mut Live> {
        let live = self.lives.get_mut(&key.task)?;
        (live.serial == key.serial).then_some(live)
    }

    /// The attempt of this invocation.
    pub fn invoked(&mut self, task: &str, invocation: i32) -> Option<&mut Live> {
        let live = self.lives.get_mut(task)?;
        (live.turn.0 == invocation).then_some(live)
    }

    /// Removes an attempt and stops its handler.
    pub fn remove(&mut self, key: &Key) -> Option<Live> {
        self.live(key)?;
        let live = self.lives.remove(&key.task)?;
        live.abort.abort();
        Some(live)
    }

    /// Forgets what goes on outside the handler: another attempt begins, or the task is cancelled.
    pub fn forget(&mut self, task: &str) {
        self.evictions.remove(task);
        self.probes.remove(task);
    }

    /// Sends on the open stream; false where there is none.
    pub fn send(&mut self, message: Ask) -> bool {
        let request = DurableTaskRequest {
            message: Some(message),
        };
        let sent = self.out.as_ref().is_some_and(|it| it.send(request).is_ok());
        if !sent {
            self.out = None;
        }
        sent
    }

    /// What to ask the engine about. The engine releases ends in the order in which they came, and each stream counts
    /// from the first: so after a reconnect also those that arrived on an earlier stream are listed until
    /// they arrive again, or a later one never does.
    pub fn entries(&self) -> Vec<DurableTaskAwaitedCompletedEntry> {
        let mut all = Vec::new();
        for (task, live) in &self.lives {
            for (node, wait) in &live.waits {
                let open = !wait.over && wait.early.is_none();
                if wait.acked && (open || wait.heard != self.generation) {
                    all.push(entry(task, live.turn.0, *node));
                }
            }
        }
        for (task, probe) in &self.probes {
            all.extend(
                probe
                    .nodes
                    .iter()
                    .map(|node| entry(task, probe.invocation, *node)),
            );
        }
        all
    }

    /// How long a wait stays in memory before the task is evicted.
    pub fn patience(&self, task: &str, grace: Duration) -> Duration {
        let hasty = self.notes.get(task).map_or(0, |it| it.hasty);
        (grace * 2_u32.saturating_pow(hasty)).min(grace.max(Duration::from_secs(60)))
    }

    pub fn note(&mut self, task: &str) -> &mut Notes {
        self.notes.entry(task.to_owned()).or_default()
    }
}

impl Live {
    /// Whether it only waits: then it can be evicted.
    pub fn is_waiting(&self) -> bool {
        !self.finishing
            && self.asking.is_none()
            && self.waits.values().any(Waiting::is_awaited)
            && self.waits.values().all(|it| it.early.is_none())
    }

    /// The waits that are not over.
    pub fn open(&self) -> Vec<Node> {
        let open = self.waits.iter().filter(|(_, it)| it.acked && !it.over);
        open.map(|(node, _)| *node).collect()
    }

    /// Whether a wait, or the handler, ended while the task was being evicted.
    pub fn ended_early(&self) -> bool {
        self.ended || self.waits.values().any(|it| it.early.is_some())
    }

    /// Hands early ends to those who wait for them.
    pub fn wake_early(&mut self) {
        for wait in self.waits.values_mut() {
            if wait.wake.is_some()
                && let Some(value) = wait.early.take()
            {
                wait.end(value);
            }
        }
    }
}

impl Waiting {
    fn is_awaited(&self) -> bool {
        self.wake.as_ref().is_some_and(|it| !it.is_closed())
    }

    /// Hands the end to who waits, or keeps it until somebody does.
    pub fn end(&mut self, value: Value) {
        match self.wake.take() {
            Some(wake) => {
                self.over = true;
                // Whoever waited may be gone.
                let _ = wake.send(value);
            }
            None => self.early = Some(value),
        }
    }
}

pub(super) fn entry(task: &str, invocation: i32, node: Node) -> DurableTaskAwaitedCompletedEntry {
    DurableTaskAwaitedCompletedEntry {
        durable_task_external_id: task.to_owned(),
        branch_id: node.0,
        node_id: node.1,
        invocation_count: invocation,
    }
}
