//! Durable tasks: their requests, waits and evictions, over one DurableTask stream.
//!
//! The surprise: a reconnect, an eviction that races with the end of a wait, and a lost answer each can leave a task
//! on the engine that nobody continues. The cures are in `state.rs` (`entries`), `evict.rs` and `recover.rs`.

mod evict;
mod hear;
mod recover;
mod run;
mod state;
mod status;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use run::Run;
pub(super) use state::{Key, Turn};
use state::{Live, State};

use super::report::Report;
use super::task::Failed;
use crate::client::Client;
use crate::pace::Pace;

/// The tasks of one worker, durable and normal.
pub(crate) struct Hub {
    pub client: Client,
    pub pace: Pace,
    /// The worker takes no more tasks.
    pub closing: CancellationToken,
    /// Waits are evicted at once.
    pub stopping: CancellationToken,
    /// Nothing goes on.
    dead: CancellationToken,
    /// Handlers, reports, evictions and recoveries.
    pub tracker: TaskTracker,
    state: Mutex<State>,
    /// The number of the open stream; 0 while there is none.
    up: watch::Sender<u64>,
    /// The number of a stream that is open and carries nothing: it is to be opened anew.
    deaf: watch::Sender<u64>,
}

impl Hub {
    pub fn new(client: Client, pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            client,
            pace,
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
            dead: CancellationToken::new(),
            tracker: TaskTracker::new(),
            state: Mutex::default(),
            up: watch::channel(0).0,
            deaf: watch::channel(0).0,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an attempt of a task; stops an earlier one. `spawn` starts the handler.
    pub fn begin(
        &self,
        task: &str,
        turn: Turn,
        report: Arc<Report>,
        spawn: impl FnOnce(Key, oneshot::Receiver<Failed>) -> AbortHandle,
    ) -> bool {
        let mut state = self.state();
        if let Some(live) = state.lives.get(task) {
            if live.turn >= turn {
                return false;
            }
            live.abort.abort();
        }
        state.forget(task);
        let key = Key {
            task: task.to_owned(),
            serial: state.serial(),
        };
        let (verdict, receiver) = oneshot::channel();
        let live = Live {
            serial: key.serial,
            turn,
            report,
            abort: spawn(key, receiver),
            verdict: Some(verdict),
            asking: None,
            waits: std::collections::BTreeMap::new(),
            memos: std::collections::HashSet::new(),
            leaving: false,
            ended: false,
            finishing: false,
        };
        state.lives.insert(task.to_owned(), live);
        true
    }

    /// Whether the attempt may report its end: no other has taken its place.
    pub fn finish(&self, key: &Key) -> bool {
        let mut state = self.state();
        let Some(live) = state.live(key) else {
            return false;
        };
        if live.leaving {
            live.ended = true;
            return false;
        }
        live.finishing = true;
        live.waits.clear();
        state.notes.remove(&key.task);
        true
    }

    /// Forgets an attempt whose end is reported.
    pub fn finished(&self, key: &Key) {
        let mut state = self.state();
        if state.live(key).is_some() {
            state.lives.remove(&key.task);
        }
    }

    /// Stops a task that the engine cancelled, unless a later attempt runs.
    pub fn cancel(&self, task: &str, turn: Turn) {
        let mut state = self.state();
        let live = state.lives.get(task);
        if live.is_some_and(|it| it.turn > turn) {
            return;
        }
        let key = live.map(|it| Key {
            task: task.to_owned(),
            serial: it.serial,
        });
        state.forget(task);
        state.notes.remove(task);
        if let Some(key) = key {
            state.remove(&key);
        }
    }

    /// Does something beside the handlers.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let dead = self.dead.clone();
        self.tracker
            .spawn(async move { dead.run_until_cancelled(work).await });
    }

    /// Stops everything without telling the engine.
    pub fn abort_all(&self) -> usize {
        self.dead.cancel();
        let mut state = self.state();
        let lives = std::mem::take(&mut state.lives);
        lives.values().for_each(|it| it.abort.abort());
        state.evictions.clear();
        state.probes.clear();
        lives.len()
    }
}
