//! Which plugin is being called for which run, mail or batch, kept so that after an end of the
//! process the call that ended it is known.
//!
//! Each call is noted in the database before it begins and for as long as it runs. A worker that
//! claims a row with a note whose call never returned counts the end of the one before: for this row
//! alone, not for what was merely claimed with it. After two ends in the same call the row is worked
//! on alone in the process, and after a third one no more. A call that returns clears its count.
//!
//! Whoever kills workers from outside kills them in some call now and then. So the next start on the
//! same data folder takes back the notes of calls that were not inside the plugin's code
//! ([`flight`]), and a worker that is stopped takes back its own.

mod alone;

pub use alone::Alone;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{self, Db, Deaths, PluginCall};
use crate::ids::Claim;
use crate::plugins::flight::{self, Flights, Slot};

/// Workers that may end in the same call for one row before it is left alone.
pub const DEATHS_MAX: i16 = 3;

/// The calls of this process.
pub struct Calls {
    db: Db,
    clock: Clock,
    flights: Flights,
    /// Noted calls whose caller was broken off.
    broken: Mutex<Vec<(Uuid, Claim)>>,
    /// Held while notes are taken back: who claims after it finds it done.
    taking_back: tokio::sync::Mutex<()>,
}

/// A call that is noted, or about to be.
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
            taking_back: tokio::sync::Mutex::default(),
        }
    }

    /// Calls a plugin for a run, a mail or a batch, with a note for as long as the call runs.
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

    /// Notes that a call has returned, that another begins, or both.
    pub async fn switch(
        &self,
        ended: Option<&PluginCall>,
        begun: Option<&PluginCall>,
    ) -> db::Result<()> {
        // The embedded database ends with the process.
        let durable = self.db.is_embedded();
        let mut conn = self.db.conn().await?;
        db::call_switch(&mut conn, ended, begun, durable, self.clock.now()).await
    }

    /// Takes back the notes of calls that were broken off, and those of processes that ended while the
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
    /// Begins with a call; the note in the database is the caller's to write. `what` is a run, a mail
    /// or a batch.
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

    /// The call has returned and its note is gone.
    pub fn close(mut self) {
        self.closed = true;
    }

    /// Awaits the plugin's answer, then takes the note back. Where the database does not answer the
    /// note is taken back later.
    pub async fn run<T>(self, answer: impl Future<Output = T>) -> T {
        let answer = self.answer(answer).await;
        let ended = self.calls.switch(Some(&self.call), None);
        match ended.await {
            Ok(()) => self.close(),
            Err(error) => tracing::debug!(%error, "a note of a call is taken back later"),
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

/// Says from what a worker died whose run, mail or batch this one has claimed.
pub fn report(what: &'static str, id: impl std::fmt::Display, deaths: &Deaths) {
    if let (true, Some(call)) = (deaths.fresh, &deaths.call) {
        tracing::warn!(what, %id, call, deaths = deaths.count,
            "a worker ended while this call was under way");
    }
}

/// The words for a row that is given up.
pub fn verdict(deaths: &Deaths) -> String {
    let call = deaths.call.as_deref().unwrap_or("a plugin");
    format!(
        "{} workers ended while they were calling {call}, the last time with nothing else under way",
        deaths.count
    )
}
