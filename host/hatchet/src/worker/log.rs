//! Lines for the logs of tasks, sent aside so that no handler waits for them.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::task::Task;
use crate::client::{Client, LogLevel};

/// Takes lines. When the engine is slower than they come, the newest are dropped.
#[derive(Clone)]
pub(super) struct Logs(mpsc::Sender<Line>);

pub(super) struct Line {
    task: String,
    retry_count: i32,
    message: String,
}

const WAITING: usize = 1000;
const AT_ONCE: usize = 8;

pub(super) fn logs() -> (Logs, mpsc::Receiver<Line>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Logs(sender), receiver)
}

impl Logs {
    pub fn add(&self, task: &Arc<Task>, message: String) {
        let line = Line {
            task: task.id.clone(),
            retry_count: task.retry_count,
            message: crate::json::text(&message),
        };
        if self.0.try_send(line).is_err() {
            tracing::debug!(hatchet.task = task.id, "a line of a task's log was dropped");
        }
    }
}

/// Sends lines until all who add some are gone.
pub(super) async fn send_logs(client: Client, lines: mpsc::Receiver<Line>) {
    let send = |line: Line| {
        let client = client.clone();
        async move {
            let level = LogLevel::Info;
            let sent = client.put_log(&line.task, line.retry_count, level, &line.message);
            if let Err(error) = sent.await {
                tracing::debug!(%error, "a line of a task's log was dropped");
            }
        }
    };
    ReceiverStream::new(lines)
        .for_each_concurrent(AT_ONCE, send)
        .await;
}
