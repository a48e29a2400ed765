//! A worker: takes tasks from the engine and runs their handlers.

mod durable;
mod heartbeat;
mod listen;
mod log;
mod register;
mod report;
mod running;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use task::{Durable, EventWait, Failed, Normal, Task, Tasks, Wait, Woke};

use crate::client::{CheckFailed, Client, SHORT};
use crate::error::CallError;
use crate::namespace::NameProblem;
use crate::pace::Pace;
use crate::proto::WorkerUnsubscribeRequest;
use crate::workflow::Workflow;
use durable::Hub;

/// What a worker runs, and how much at once.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Shown in the engine's dashboard; several workers may have the same.
    pub name: String,
    /// Their names must differ.
    pub workflows: Vec<Workflow>,
    /// How many durable tasks are in memory at once. Tasks that wait long are not.
    pub durable_slots: u32,
    /// How many normal tasks run at once.
    pub slots: u32,
    pub pace: Pace,
}

/// A worker that cannot start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerFailed {
    #[error(transparent)]
    Check(CheckFailed),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl WorkerFailed {
    /// Whether it may pass by itself, as when the engine is not up yet.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Check(check) => check.may_pass,
            Self::Call(call) => call.is_transient(),
        }
    }
}

/// A worker, before it runs.
pub struct Worker<T> {
    crew: Arc<Crew<T>>,
    lines: tokio::sync::mpsc::Receiver<log::Line>,
}

/// What the loops of a worker share.
pub(crate) struct Crew<T> {
    hub: Arc<Hub>,
    config: WorkerConfig,
    tasks: T,
    logs: log::Logs,
    /// The worker's id; another one after the engine forgot it.
    worker: watch::Sender<String>,
    registering: Mutex<()>,
    /// The number of the stream of tasks, and since when it is opened or open.
    listening: watch::Sender<Option<(u64, Instant)>>,
    /// The number of a stream with which the engine took the worker for dead: it is to be opened anew.
    refused: watch::Sender<u64>,
}

impl<T: Tasks> Worker<T> {
    /// A worker for the client's engine.
    ///
    /// # Errors
    /// Where the engine would not take the name of a workflow, or two have the same.
    pub fn new(client: Client, config: WorkerConfig, tasks: T) -> Result<Self, NameProblem> {
        let mut names = std::collections::HashSet::new();
        for workflow in &config.workflows {
            let name = client.namespace.workflow(&workflow.name)?;
            if !names.insert(name.clone()) {
                return Err(NameProblem::Twice { name });
            }
        }
        let (logs, lines) = log::logs();
        let crew = Crew {
            hub: Hub::new(client, config.pace.clone()),
            config,
            tasks,
            logs,
            worker: watch::channel(String::new()).0,
            registering: Mutex::new(()),
            listening: watch::channel(None).0,
            refused: watch::channel(0).0,
        };
        Ok(Self {
            crew: Arc::new(crew),
            lines,
        })
    }

    /// Runs until `stop`. Waits for an engine that is away, at the start and later. After the stop, waiting
    /// durable tasks are evicted, so that other workers continue them, and running handlers may go on for
    /// [`Pace::drain`]. Dropping the future stops everything at once, and the engine gives the tasks to others
    /// after 30 s.
    ///
    /// # Errors
    /// Where the worker cannot start and waiting will not help.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerFailed> {
        let crew = self.crew;
        let hub = crew.hub.clone();
        let _guard = AbortOnDrop(hub.clone());
        let worker = tokio::select! {
            worker = crew.start_up() => worker?,
            () = stop.cancelled() => return Ok(()),
        };
        crew.worker.send_replace(worker);
        let mut loops = JoinSet::new();
        let id = || crew.worker.subscribe();
        loops.spawn(crew.clone().keep_alive(id()));
        loops.spawn(hub.clone().keep_stream(id()));
        loops.spawn(hub.clone().ask_for_ends());
        let mut listening = JoinSet::new();
        listening.spawn(crew.clone().keep_listening(id()));
        let mut logging = JoinSet::new();
        logging.spawn(log::send_logs(hub.client.clone(), self.lines));
        tokio::select! {
            () = stop.cancelled() => {}
            Some(Err(error)) = loops.join_next() => resume(error),
            Some(Err(error)) = listening.join_next() => resume(error),
        }
        crew.shut_down().await;
        hub.client.link.note(|it| it.worker = None);
        loops.shutdown().await;
        listening.shutdown().await;
        drop(crew);
        // Nobody adds lines now; what is left of them is sent.
        let _ = timeout(Duration::from_secs(2), logging.join_next()).await;
        Ok(())
    }
}

impl<T: Tasks> Crew<T> {
    /// Heartbeats go on meanwhile: without them the engine gives running tasks to others.
    async fn shut_down(&self) {
        // Its heartbeats are refused from now on, which must not make it listen again.
        self.hub.closing.cancel();
        self.unsubscribe().await;
        // What is evicted now goes to other workers.
        self.hub.stopping.cancel();
        self.hub.tracker.close();
        let drained = timeout(self.hub.pace.drain, self.hub.tracker.wait()).await;
        if drained.is_err() {
            let left = self.hub.abort_all();
            tracing::warn!(
                tasks = left,
                "tasks were left for other workers, which begin them in 30 s"
            );
        }
    }

    async fn unsubscribe(&self) {
        let client = &self.hub.client;
        let mut dispatcher = client.dispatcher();
        let worker_id = self.worker.borrow().clone();
        let call = dispatcher.unsubscribe(WorkerUnsubscribeRequest { worker_id });
        if let Err(error) = client.link.call("Unsubscribe", SHORT, call).await {
            tracing::debug!(%error, "the worker could not be unsubscribed");
        }
    }
}

/// Goes on with the panic of a loop.
fn resume(error: tokio::task::JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Stops the handlers when the worker's future is dropped.
struct AbortOnDrop(Arc<Hub>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}
