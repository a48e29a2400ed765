//! Telling the engine that this worker lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Code;

use super::Crew;
use super::task::Tasks;
use crate::proto::HeartbeatRequest;

/// Between a heartbeat that failed and the next.
const AGAIN: Duration = Duration::from_secs(1);

impl<T: Tasks> Crew<T> {
    pub(super) async fn keep_alive(self: Arc<Self>, worker: watch::Receiver<String>) {
        let pace = &self.hub.pace;
        let mut tick = interval(pace.heartbeat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let id = worker.borrow().clone();
            if !self.beat(&id).await {
                // Without one for 5 s the engine assigns nothing.
                tick.reset_after(pace.heartbeat.min(AGAIN));
            }
        }
    }

    /// Whether the engine took the heartbeat.
    async fn beat(&self, worker: &str) -> bool {
        let link = &self.hub.client.link;
        let now = (link.now)();
        let listening = *self.listening.borrow();
        let mut dispatcher = self.hub.client.dispatcher();
        let call = dispatcher.heartbeat(HeartbeatRequest {
            worker_id: worker.to_owned(),
            heartbeat_at: Some(now.into()),
        });
        let timeout = self.hub.pace.heartbeat_timeout;
        let Err(error) = link.call("Heartbeat", timeout, call).await else {
            link.note(|it| it.heartbeat = Some(now));
            return true;
        };
        match error.code() {
            // Unsubscribed: no heartbeat is taken any more.
            _ if self.hub.closing.is_cancelled() => {}
            Some(Code::NotFound | Code::InvalidArgument) => self.register_again(worker).await,
            // The engine takes this worker for dead. A stream that is only being opened is not closed for that.
            Some(Code::FailedPrecondition) => {
                if let Some((number, since)) = listening
                    && since.elapsed() >= self.hub.pace.heartbeat
                {
                    self.refused.send_replace(number);
                }
            }
            _ => {
                if error.is_away() {
                    link.away(error.to_string());
                }
                tracing::debug!(%error, "a heartbeat failed");
            }
        }
        false
    }
}
