//! The stream of assigned tasks. One per worker: when the newest of two ends, the engine takes the worker for dead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Crew;
use super::task::Tasks;
use crate::pace::Backoff;
use crate::proto::WorkerListenRequest;

/// A stream that lasted this long was open.
const LASTING: Duration = Duration::from_secs(1);

impl<T: Tasks> Crew<T> {
    pub(super) async fn keep_listening(self: Arc<Self>, mut worker: watch::Receiver<String>) {
        let mut backoff = Backoff::new(self.hub.pace.reconnect);
        let mut refused = self.refused.subscribe();
        let mut number = 0;
        loop {
            let id = worker.borrow_and_update().clone();
            number += 1;
            let mut heard = false;
            let begun = Instant::now();
            self.listening.send_replace(Some((number, begun)));
            let ended = tokio::select! {
                ended = self.listen(&id, &mut heard) => ended,
                _ = refused.wait_for(|it| *it == number) => {
                    heard = true;
                    Ok(())
                }
                _ = worker.changed() => Ok(()),
            };
            self.listening.send_replace(None);
            if self.hub.closing.is_cancelled() {
                return;
            }
            if let Err(status) = ended {
                let error = self.hub.client.link.failed("ListenV2", &status);
                tracing::debug!(%error, "the stream of tasks ended");
                if status.code() == Code::NotFound {
                    self.register_again(&id).await;
                }
            }
            // Without a task nothing tells that a stream is open, other than that it lasts.
            if heard || begun.elapsed() > LASTING {
                backoff.reset();
            }
            // The old stream is closed now; the pause lets the engine see that before the next one.
            backoff.pause().await;
        }
    }

    async fn listen(self: &Arc<Self>, worker: &str, heard: &mut bool) -> Result<(), Status> {
        let mut dispatcher = self.hub.client.dispatcher();
        let request = WorkerListenRequest {
            worker_id: worker.to_owned(),
        };
        // The engine sends no headers before the first task, so this may take as long as that.
        let mut stream = dispatcher.listen_v2(request).await?.into_inner();
        while let Some(action) = stream.message().await? {
            *heard = true;
            self.assigned(action, worker.to_owned());
        }
        Ok(())
    }
}
