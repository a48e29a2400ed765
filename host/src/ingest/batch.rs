//! Concurrent requests share commits.
//!
//! A request hands its events over and waits; a few committers take whatever is waiting, store it
//! in one transaction and answer each request after the commit. Nothing is delayed to fill a
//! batch: under light load each request has a transaction of its own.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Ingested, Naming, NewEvent, known, store};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::contacts::NoRoom;
use crate::crew::Crew;
use crate::db::{self, Db, Patience, PoolConn, Tx};

/// Requests that may wait; more are turned away.
const QUEUE: usize = 4_096;
/// Events in one transaction, unless a single request brings more.
const BATCH: usize = 256;

/// Takes events in. Cheap to clone.
#[derive(Clone)]
pub struct Ingestor {
    queue: mpsc::Sender<Request>,
    /// Until they are started.
    committers: Arc<std::sync::Mutex<Vec<Hand>>>,
    naming: Arc<Naming>,
}

/// What stores events, before it is started.
enum Hand {
    Known(KnownCommitter),
    Any(Committer),
}

/// Why events were not stored. None of the request's events is, but for an outage during the commit
/// ([`db::may_be_committed`]).
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("too many requests are waiting, try again in a moment")]
    Overloaded,
    #[error("the database does not answer")]
    Unavailable(#[source] Arc<sqlx::Error>),
    #[error("storing the events broke off, see the log")]
    Broken,
    #[error(transparent)]
    NoRoom(NoRoom),
    #[error("the events could not be stored")]
    Failed(#[source] Arc<sqlx::Error>),
}

struct Request {
    events: Vec<NewEvent>,
    answer: oneshot::Sender<Result<Vec<Ingested>, IngestError>>,
}

impl Ingestor {
    /// A queue for events, which waits for [`start`](Self::start).
    pub fn new(db: &Db, clock: &Clock, catalog: &Arc<Catalog>) -> Self {
        let (sender, first) = Queue::new();
        let (rest, second) = Queue::new();
        // While one waits for the disk another one computes. The embedded database has a single
        // connection.
        let each = if db.is_embedded() { 1 } else { 2 };
        let mut committers = Vec::new();
        for _ in 0..each {
            committers.push(Hand::Known(KnownCommitter {
                db: db.clone(),
                clock: clock.clone(),
                catalog: catalog.clone(),
                queue: first.clone(),
                rest: rest.clone(),
                held: None,
            }));
            committers.push(Hand::Any(Committer {
                db: db.clone(),
                clock: clock.clone(),
                catalog: catalog.clone(),
                queue: second.clone(),
            }));
        }
        Self {
            queue: sender,
            committers: Arc::new(committers.into()),
            naming: Arc::default(),
        }
    }

    /// Starts what stores the events. They work until the crew is dropped, so that requests that
    /// are answered during a stop have their events stored. A second call does nothing.
    pub fn start(&self, crew: &mut Crew) {
        let mut committers = self
            .committers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for hand in committers.drain(..) {
            match hand {
                Hand::Known(known) => crew.spawn("events of known people", known.run()),
                Hand::Any(any) => crew.spawn("events", any.run()),
            }
        }
    }

    /// The same, with names given to events as they come in.
    pub fn naming(mut self, naming: &Arc<Naming>) -> Self {
        self.naming = naming.clone();
        self
    }

    /// Stores all of a request's events or none, and returns after the commit.
    pub async fn ingest(&self, mut events: Vec<NewEvent>) -> Result<Vec<Ingested>, IngestError> {
        self.naming.take(&mut events);
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Request { events, answer })
            .map_err(|_| IngestError::Overloaded)?;
        answered.await.map_err(|_| IngestError::Broken)?
    }
}

/// What waits to be stored, shared by committers.
#[derive(Clone)]
struct Queue(Arc<Mutex<mpsc::Receiver<Request>>>);

impl Queue {
    fn new() -> (mpsc::Sender<Request>, Self) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    /// Everything that waits, up to a batch. Calls `idle` before it has to wait itself.
    async fn next_batch(&self, mut idle: impl FnMut()) -> Option<Vec<Request>> {
        // Callers just answered get to hand over their next request.
        tokio::task::yield_now().await;
        let mut queue = match self.0.try_lock() {
            Ok(queue) => queue,
            Err(_) => {
                idle();
                self.0.lock().await
            }
        };
        let first = match queue.try_recv() {
            Ok(first) => first,
            Err(_) => {
                idle();
                queue.recv().await?
            }
        };
        let mut size = first.events.len();
        let mut batch = vec![first];
        while size < BATCH
            && let Ok(next) = queue.try_recv()
        {
            size += next.events.len();
            batch.push(next);
        }
        Some(batch)
    }
}

/// Stores the single events of people whom they change in nothing, and hands on the rest.
struct KnownCommitter {
    db: Db,
    clock: Clock,
    catalog: Arc<Catalog>,
    queue: Queue,
    rest: mpsc::Sender<Request>,
    /// Kept from batch to batch while there is work: the pool asks a connection whether it lives
    /// each time it is taken or given back.
    held: Option<PoolConn>,
}

impl KnownCommitter {
    async fn run(mut self) {
        loop {
            let idle = || self.held = None;
            let Some(batch) = self.queue.next_batch(idle).await else {
                return;
            };
            for request in unbroken(self.commit(batch)).await.unwrap_or_default() {
                if self.rest.send(request).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Stores the single events of people who exist and whom they change in nothing, in one
    /// statement, and returns the requests that take more.
    async fn commit(&mut self, batch: Vec<Request>) -> Vec<Request> {
        let (simple, mut rest): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|request| request.events.len() == 1);
        if simple.is_empty() {
            return rest;
        }
        let events: Vec<&NewEvent> = simple.iter().flat_map(|request| &request.events).collect();
        let stored = known::store(
            &self.db,
            &mut self.held,
            &self.catalog,
            self.clock.now(),
            &events,
        )
        .await;
        if self.db.is_embedded() {
            self.held = None;
        }
        match stored {
            Ok(results) => {
                for (request, result) in simple.into_iter().zip(results) {
                    match result {
                        Some(result) => {
                            let _ = request.answer.send(Ok(vec![result]));
                        }
                        None => rest.push(request),
                    }
                }
            }
            Err(error) if db::is_unavailable(&error) && !db::is_overdue(&error) => {
                // It may have taken effect, so it is not repeated here.
                let error = Arc::new(error);
                for request in simple {
                    let _ = request.answer.send(Err(failure(error.clone())));
                }
            }
            Err(_) => rest.extend(simple),
        }
        rest
    }
}

/// Stores whole batches, each in a transaction.
struct Committer {
    db: Db,
    clock: Clock,
    catalog: Arc<Catalog>,
    queue: Queue,
}

impl Committer {
    async fn run(self) {
        while let Some(batch) = self.queue.next_batch(|| ()).await {
            unbroken(self.commit(batch)).await;
        }
    }

    async fn commit(&self, batch: Vec<Request>) {
        let all = batch
            .iter()
            .flat_map(|request| request.events.clone())
            .collect();
        match self.store(all).await {
            Ok(results) => {
                let mut results = results.into_iter();
                for request in batch {
                    let own = results.by_ref().take(request.events.len()).collect();
                    // A caller that hung up still has its events stored.
                    let _ = request.answer.send(Ok(own));
                }
            }
            Err(error)
                if batch.len() > 1 && (!db::is_unavailable(&error) || db::is_overdue(&error)) =>
            {
                // One request spoils the transaction for all: give each its own.
                for request in batch {
                    let result = self.store(request.events).await.map_err(failure);
                    let _ = request.answer.send(result);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for request in batch {
                    let _ = request.answer.send(Err(failure(error.clone())));
                }
            }
        }
    }

    async fn store(&self, events: Vec<NewEvent>) -> db::Result<Vec<Ingested>> {
        let events = &events;
        // What a commit comes to is known before it; only whether it took effect may not be.
        let last = &std::sync::Mutex::new(None);
        let work = |mut tx: Tx| async move {
            let now = self.clock.now();
            let stored = store(&mut tx, &self.catalog, now, events.clone()).await?;
            let id = db::transaction_id(&mut tx).await?;
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some((id, stored.events.clone()));
            Ok((tx, stored.events))
        };
        // Everybody's events wait behind this one's.
        let error = match self.db.transact_within(Patience::Shared, work).await {
            Err(error) if db::may_be_committed(&error) => error,
            done => return done,
        };
        let last = last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((id, stored)) = last else {
            return Err(error);
        };
        match self.db.committed(&id).await {
            Some(true) => Ok(stored),
            Some(false) => Err(db::not_committed(&error)),
            None => Err(error),
        }
    }
}

/// A panic costs the batch that caused it, whose callers are answered that it broke off, and nothing
/// else.
async fn unbroken<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    if done.is_err() {
        tracing::error!("storing a batch of events broke off: see the panic above");
    }
    done.ok()
}

fn failure(error: impl Into<Arc<sqlx::Error>>) -> IngestError {
    let error = error.into();
    if let Some(no_room) = NoRoom::of(&error) {
        IngestError::NoRoom(no_room.clone())
    } else if db::is_unavailable(&error) {
        IngestError::Unavailable(error)
    } else {
        IngestError::Failed(error)
    }
}
