//! Telling the engine that this worker lives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Code;

use super::Crew;
use super::task::Tasks;
use crate::proto::HeartbeatRequest;

impl<T: Tasks> Crew<T> {
    pub(super) async fn keep_alive(self: Arc<Self>, worker: watch::Receiver<String>) {
        let pace = &self.hub.pace;
        let mut tick = interval(pace.heartbeat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let id = worker.borrow().clone();
            self.beat(&id).await;
        }
    }

    async fn beat(&self, worker: &str) {
        let link = &self.hub.client.link;
        let now = (link.now)();
        let listening = self.listening.load(Ordering::SeqCst);
        let mut dispatcher = self.hub.client.dispatcher();
        let call = dispatcher.heartbeat(HeartbeatRequest {
            worker_id: worker.to_owned(),
            heartbeat_at: Some(now.into()),
        });
        let timeout = self.hub.pace.heartbeat_timeout;
        let Err(error) = link.call("Heartbeat", timeout, call).await else {
            return link.note(|it| it.heartbeat = Some(now));
        };
        match error.code() {
            // Unsubscribed: no heartbeat is taken any more.
            _ if self.hub.closing.is_cancelled() => {}
            Some(Code::NotFound | Code::InvalidArgument) => self.register_again(worker).await,
            // The engine takes this worker for dead. Where that is because its stream is being opened again, closing
            // it again would not help.
            Some(Code::FailedPrecondition) if listening == 0 => {}
            Some(Code::FailedPrecondition) => {
                self.refused.send_replace(listening);
            }
            _ => {
                if error.is_away() {
                    link.away(error.to_string());
                }
                tracing::debug!(%error, "a heartbeat failed");
            }
        }
    }
}
