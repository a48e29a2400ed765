//! Records which plugin is being called for which run, mail or batch, so that after a crash the
//! call that killed the process is known.
//!
//! Each call is recorded in the database before it begins and for as long as it runs. A worker that
//! claims a row with a record of a call that never returned counts a worker death: for this row
//! alone, not for rows that were merely claimed with it. After two deaths in the same call the row
//! is processed exclusively ([`alone`]), and after a third one it is given up. A call that returns
//! clears its count.
//!
//! Workers that are killed from outside sometimes die during a call as well. So the next start on
//! the same data folder deletes the records of calls that were not inside the plugin's code
//! ([`flight`]), and a worker that is stopped deletes its own.

mod alone;

pub use alone::Alone;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{self, CallSwitch, Db, Deaths, PluginCall};
use crate::ids::Claim;
use crate::plugins::flight::{self, Flights, Slot};
use crate::rounds::{Part, Rounds};

/// Worker deaths in the same call for one row after which it is given up.
pub const DEATHS_MAX: i16 = 3;

/// Statements at the same time that record calls, and the most calls that one of them records.
const ROUNDS: (usize, usize) = (2, 128);

/// The calls of this process.
pub struct Calls {
    db: Db,
    clock: Clock,
    flights: Flights,
    /// Recorded calls whose caller was cancelled.
    broken: Mutex<Vec<(Uuid, Claim)>>,
    /// Calls that end or begin while others are being recorded.
    switches: Rounds<Waiting>,
    /// Held while records are deleted: a claim made afterwards sees them gone.
    taking_back: tokio::sync::Mutex<()>,
}

/// A change that waits to be recorded.
struct Waiting {
    change: CallSwitch,
    recorded: oneshot::Sender<()>,
}

impl Part for Waiting {
    fn subject(&self) -> Uuid {
        let call = self.change.begun.as_ref().or(self.change.ended.as_ref());
        call.map(|call| call.subject).unwrap_or_default()
    }
}

/// A call that is recorded, or about to be.
pub struct Open {
    calls: Arc<Calls>,
    call: PluginCall,
    slot: Option<Arc<Slot>>,
    closed: bool,
}

impl Calls {
    pub fn new(data_dir: &Path, db: Db, clock: Clock) -> Self {
        Self {
            db,
            clock,
            flights: Flights::new(data_dir.join("calls")),
            broken: Mutex::default(),
            switches: Rounds::new(ROUNDS.0, ROUNDS.1),
            taking_back: tokio::sync::Mutex::default(),
        }
    }

    /// Calls a plugin for a run, a mail or a batch, with a record for as long as the call runs.
    pub async fn noted<T>(
        self: &Arc<Self>,
        what: &'static str,
        call: PluginCall,
        answer: impl Future<Output = T>,
    ) -> db::Result<T> {
        let open = Open::new(self, what, call);
        self.switch(None, Some(open.call())).await?;
        Ok(open.run(answer).await)
    }

    /// Records that a call for something has returned, that another for it begins, or both.
    pub async fn switch(
        self: &Arc<Self>,
        ended: Option<&PluginCall>,
        begun: Option<&PluginCall>,
    ) -> db::Result<()> {
        let change = CallSwitch {
            ended: ended.cloned(),
            begun: begun.cloned(),
        };
        let (recorded, done) = oneshot::channel();
        let waiting = Waiting {
            change: change.clone(),
            recorded,
        };
        let calls = self.clone();
        let round = move |waiting: Vec<Waiting>| {
            let calls = calls.clone();
            async move { calls.record_round(waiting).await }
        };
        self.switches.add(waiting, round);
        if done.await.is_ok() {
            return Ok(());
        }
        // Each gets its own answer of the database.
        self.record(&[change]).await
    }

    async fn record_round(&self, mut waiting: Vec<Waiting>) {
        waiting.retain(|one| !one.recorded.is_closed());
        let changes: Vec<_> = waiting.iter().map(|one| one.change.clone()).collect();
        if changes.is_empty() || self.record(&changes).await.is_err() {
            return;
        }
        for one in waiting {
            // A caller that was cancelled meanwhile did not begin the call.
            if one.recorded.send(()).is_err()
                && let Some(call) = one.change.begun
            {
                self.broken().push((call.subject, call.claim));
            }
        }
    }

    async fn record(&self, changes: &[CallSwitch]) -> db::Result<()> {
        // The embedded database dies with the process, so its records must be on disk.
        let durable = self.db.is_embedded();
        let mut conn = self.db.conn().await?;
        db::calls_switch(&mut conn, changes, durable, self.clock.now()).await
    }

    /// Deletes the records of calls that were cancelled, and those of processes that died while the
    /// call was not inside the plugin's code.
    pub async fn take_back(&self) -> db::Result<()> {
        let _turn = self.taking_back.lock().await;
        let broken = std::mem::take(&mut *self.broken());
        let left = self.flights.left();
        let idle = left.iter().flat_map(|one| one.idle.iter().copied());
        let void: Vec<_> = broken.iter().copied().chain(idle).collect();
        if !void.is_empty() {
            let done = match self.db.conn().await {
                Ok(mut conn) => db::calls_void(&mut conn, &void).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                self.broken().extend(broken);
                return Err(error);
            }
        }
        left.into_iter().for_each(flight::Left::remove);
        Ok(())
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, Vec<(Uuid, Claim)>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Opens a call; the caller writes the record in the database. `what` is `run`, `mail` or
    /// `batch`, for the log.
    pub fn new(calls: &Arc<Calls>, what: &'static str, call: PluginCall) -> Self {
        tracing::debug!(what, id = %call.subject, call = call.name, "calling a plugin");
        let slot = calls.flights.slot(call.subject, call.claim);
        Self {
            calls: calls.clone(),
            call,
            slot,
            closed: false,
        }
    }

    pub fn call(&self) -> &PluginCall {
        &self.call
    }

    /// Awaits the plugin's answer.
    pub async fn answer<T>(&self, answer: impl Future<Output = T>) -> T {
        flight::within(self.slot.clone(), answer).await
    }

    /// The call has returned and its record is gone.
    pub fn close(mut self) {
        self.closed = true;
    }

    /// Awaits the plugin's answer, then deletes the record. Where the database does not answer the
    /// record is deleted later.
    pub async fn run<T>(self, answer: impl Future<Output = T>) -> T {
        let answer = self.answer(answer).await;
        let ended = self.calls.switch(Some(&self.call), None);
        match ended.await {
            Ok(()) => self.close(),
            Err(error) => {
                tracing::debug!(%error, "the record of a plugin call will be deleted later");
            }
        }
        answer
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.closed {
            let call = (self.call.subject, self.call.claim);
            self.calls.broken().push(call);
        }
    }
}

/// Logs the call in which the worker died that held this run, mail or batch before.
pub fn report(what: &'static str, id: impl std::fmt::Display, deaths: &Deaths) {
    if let (true, Some(call)) = (deaths.fresh, &deaths.call) {
        tracing::warn!(what, %id, call, deaths = deaths.count,
            "a worker died while this call was under way");
    }
}

/// The reason stored with a row that is given up.
pub fn verdict(deaths: &Deaths) -> String {
    let call = deaths.call.as_deref().unwrap_or("a plugin");
    format!(
        "{} workers died while calling {call}, the last time with nothing else under way",
        deaths.count
    )
}
