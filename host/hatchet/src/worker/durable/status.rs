//! Asking for waits that are over. After a reconnect this is the only way in which the end of a wait arrives.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use super::Hub;
use crate::proto::v1;
use crate::proto::v1::durable_task_request::Message;

impl Hub {
    /// Asks each second while anything waits.
    pub async fn ask_for_ends(self: Arc<Self>) {
        let mut tick = interval(self.pace.status);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let worker = self.client.connection().borrow().worker.clone();
            let mut state = self.state();
            let waiting_entries = state.entries();
            // The engine ignores an empty list.
            if !waiting_entries.is_empty() {
                state.send(Message::WorkerStatus(v1::DurableTaskWorkerStatusRequest {
                    worker_id: worker.unwrap_or_default(),
                    waiting_entries,
                }));
            }
        }
    }
}
