//! The open streams: of tasks, and of durable tasks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use crate::proto::v1::durable_task_response::Message;
use crate::proto::{AssignedAction, v1};

pub(super) type Out<T> = mpsc::UnboundedSender<Result<T, Status>>;

/// A worker, and its streams of tasks, the oldest first.
pub(super) struct Worker {
    pub id: String,
    pub name: String,
    pub actions: Vec<String>,
    pub slots: HashMap<String, i32>,
    pub heartbeat: Duration,
    pub listeners: Vec<(u64, Out<AssignedAction>)>,
    /// Whether it has a stream, as far as the engine knows.
    pub active: bool,
    /// It has listened once: heartbeats need a stream.
    pub needs_stream: bool,
    /// It gets no more tasks.
    pub unsubscribed: bool,
}

impl Worker {
    pub fn send(&self, action: AssignedAction) -> bool {
        self.listeners
            .iter()
            .any(|(_, out)| out.send(Ok(action.clone())).is_ok())
    }
}

/// A stream of durable tasks.
pub(super) struct Session {
    pub out: Out<v1::DurableTaskResponse>,
    /// Takes and sends nothing, as a connection that is half open.
    pub mute: bool,
    releases: HashMap<(String, i32), Release>,
}

/// The ends of one invocation's waits that went out on one stream.
#[derive(Default)]
struct Release {
    sent: i64,
    held: BTreeMap<i64, Message>,
    oldest: Option<Duration>,
}

impl Session {
    pub fn new(out: Out<v1::DurableTaskResponse>) -> Self {
        Self {
            out,
            mute: false,
            releases: HashMap::new(),
        }
    }

    pub fn send(&self, message: Message) {
        if !self.mute {
            let message = Some(message);
            let _ = self.out.send(Ok(v1::DurableTaskResponse { message }));
        }
    }

    /// Sends the end of a wait after all that came before it.
    pub fn release(
        &mut self,
        task: &str,
        invocation: i32,
        order: i64,
        end: Message,
        now: Duration,
    ) {
        let key = (task.to_owned(), invocation);
        if !self.releases.contains_key(&key) {
            self.releases
                .retain(|(other, count), _| other != task || *count >= invocation);
        }
        let release = self.releases.entry(key).or_default();
        let mut ready = Vec::new();
        if order <= release.sent {
            ready.push(end);
        } else if order > release.sent + 1 {
            release.held.entry(order).or_insert(end);
            release.oldest.get_or_insert(now);
        } else {
            ready.push(end);
            release.sent = order;
            while let Some(next) = release.held.remove(&(release.sent + 1)) {
                ready.push(next);
                release.sent += 1;
            }
            if release.held.is_empty() {
                release.oldest = None;
            }
        }
        ready.into_iter().for_each(|it| self.send(it));
    }

    /// Gives up ends that waited too long for an earlier one.
    pub fn evict_stalled(&mut self, now: Duration, stall: Duration) {
        let stalled: Vec<_> = self
            .releases
            .iter()
            .filter(|(_, it)| it.oldest.is_some_and(|at| now.saturating_sub(at) > stall))
            .map(|(key, _)| key.clone())
            .collect();
        for key in stalled {
            self.releases.remove(&key);
            let reason = "ordered durable completion release stalled on a missing entry";
            self.send(server_evict(&key.0, key.1, reason.to_owned()));
        }
    }
}

pub(super) fn server_evict(task: &str, invocation: i32, reason: String) -> Message {
    Message::ServerEvict(v1::DurableTaskServerEvictNotice {
        durable_task_external_id: task.to_owned(),
        invocation_count: invocation,
        reason,
    })
}
