//! Concurrent requests share transactions.
//!
//! A request puts its events in a queue and waits. A few committers take everything that is waiting,
//! store it in one transaction and answer each request after the commit. They never wait to fill a
//! batch: under light load each request has a transaction of its own.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::Instrument as _;

use super::{Ingested, Naming, NewEvent, known, store};
use crate::clock::Clock;
use crate::contacts::NoRoom;
use crate::crew::Crew;
use crate::db::{self, Db, Patience, PoolConn, Tx};
use crate::installed::Installed;
use crate::telemetry::metrics::{INGEST_BATCH, INGEST_EVENTS, INGEST_SECONDS};
use crate::telemetry::traces::{self, spans};

/// Requests that may wait; further ones are refused.
const QUEUE: usize = 4_096;
/// Events in one transaction, unless a single request has more.
const BATCH: usize = 256;
/// How long a connection is kept while no request comes.
const HELD: Duration = Duration::from_millis(50);

/// The queue through which events are stored. Cheap to clone.
#[derive(Clone)]
pub struct Ingestor {
    queue: mpsc::Sender<Request>,
    /// The committers until they are started, then empty.
    committers: Arc<std::sync::Mutex<Vec<Unstarted>>>,
    naming: Arc<Naming>,
}

/// A committer that is not started yet.
enum Unstarted {
    Known(KnownCommitter),
    Any(Committer),
}

/// Why events were not stored. None of the request's events is stored, except that an outage during the
/// commit leaves it open ([`db::may_be_committed`]).
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("too many requests are waiting, try again in a moment")]
    Overloaded,
    #[error("the database does not answer")]
    Unavailable(#[source] Arc<sqlx::Error>),
    #[error("storing the events was interrupted, see the log")]
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
    /// Creates the queue. Nothing is stored before [`start`](Self::start).
    pub fn new(db: &Db, clock: &Clock, installed: &Installed) -> Self {
        let (sender, first) = Queue::new();
        let (rest, second) = Queue::new();
        // One committer computes while the other waits for the disk. The embedded database has a single
        // connection.
        let each = if db.is_embedded() { 1 } else { 2 };
        let mut committers = Vec::new();
        for _ in 0..each {
            committers.push(Unstarted::Known(KnownCommitter {
                db: db.clone(),
                clock: clock.clone(),
                installed: installed.clone(),
                queue: first.clone(),
                rest: rest.clone(),
                held: None,
            }));
            committers.push(Unstarted::Any(Committer {
                db: db.clone(),
                clock: clock.clone(),
                installed: installed.clone(),
                queue: second.clone(),
            }));
        }
        Self {
            queue: sender,
            committers: Arc::new(committers.into()),
            naming: Arc::default(),
        }
    }

    /// Starts the committers. They run until the crew is dropped, so that events of requests that arrive
    /// during a shutdown are stored. A second call does nothing.
    pub fn start(&self, crew: &mut Crew) {
        let mut committers = self
            .committers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for committer in committers.drain(..) {
            match committer {
                Unstarted::Known(known) => crew.spawn("events of known people", known.run()),
                Unstarted::Any(any) => crew.spawn("events", any.run()),
            }
        }
    }

    /// The same queue, with `naming` applied to incoming events.
    pub fn naming(mut self, naming: &Arc<Naming>) -> Self {
        self.naming = naming.clone();
        self
    }

    /// Stores all of a request's events or none, and returns after the commit.
    pub async fn ingest(&self, mut events: Vec<NewEvent>) -> Result<Vec<Ingested>, IngestError> {
        self.naming.apply(&mut events);
        let count = events.len() as u64;
        // All events of a request have one source.
        let source = events.first().map(|event| event.source.clone());
        let span = spans::ingest(events.len());
        if traces::on() {
            let traceparent = span.in_scope(traces::current);
            for event in &mut events {
                event.traceparent.clone_from(&traceparent);
            }
        }
        let result = self.queue_up(events).instrument(span).await;
        let source = source.as_deref().unwrap_or_default();
        match &result {
            Ok(stored) => {
                let new = stored.iter().filter(|one| one.stored).count() as u64;
                INGEST_EVENTS.add(&[source, "stored"], new);
                if new < count {
                    INGEST_EVENTS.add(&[source, "duplicate"], count - new);
                }
            }
            Err(_) => INGEST_EVENTS.add(&[source, "failed"], count),
        }
        result
    }

    async fn queue_up(&self, events: Vec<NewEvent>) -> Result<Vec<Ingested>, IngestError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Request { events, answer })
            .map_err(|_| IngestError::Overloaded)?;
        answered.await.map_err(|_| IngestError::Broken)?
    }
}

/// The requests that wait to be stored, shared by committers.
#[derive(Clone)]
struct Queue(Arc<Mutex<mpsc::Receiver<Request>>>);

impl Queue {
    fn new() -> (mpsc::Sender<Request>, Self) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    /// Waits for a request and takes all that are waiting, up to a batch.
    async fn next_batch(&self) -> Option<Vec<Request>> {
        // Let callers that were just answered queue their next request.
        tokio::task::yield_now().await;
        let mut queue = self.0.lock().await;
        let first = queue.recv().await?;
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

/// Stores events that do not change their contact, and passes the rest to [`Committer`].
struct KnownCommitter {
    db: Db,
    clock: Clock,
    installed: Installed,
    queue: Queue,
    rest: mpsc::Sender<Request>,
    /// A connection kept between batches, because the pool pings a connection each time it is taken or
    /// returned.
    held: Option<PoolConn>,
}

impl KnownCommitter {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            for request in catch_panic(self.commit(batch)).await.unwrap_or_default() {
                if self.rest.send(request).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The next batch. Returns the connection to the pool when none comes for a while.
    async fn next_batch(&mut self) -> Option<Vec<Request>> {
        let next = self.queue.next_batch();
        tokio::pin!(next);
        if self.held.is_some() {
            match tokio::time::timeout(HELD, &mut next).await {
                Ok(batch) => return batch,
                Err(_) => self.held = None,
            }
        }
        next.await
    }

    /// Stores events of existing contacts that do not change the contact. Returns the requests that need
    /// a full transaction.
    async fn commit(&mut self, batch: Vec<Request>) -> Vec<Request> {
        let (whole, mut rest): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|request| known::is_whole(&request.events));
        let (keyed, plain): (Vec<_>, Vec<_>) = whole.into_iter().partition(|request| {
            request
                .events
                .iter()
                .any(|event| event.dedupe_key.is_some())
        });
        for requests in [keyed, plain] {
            rest.extend(self.commit_known(requests).await);
        }
        rest
    }

    /// Stores what it can of these requests in one statement and returns the others.
    async fn commit_known(&mut self, requests: Vec<Request>) -> Vec<Request> {
        if requests.is_empty() {
            return requests;
        }
        let events: Vec<&[NewEvent]> = requests.iter().map(|one| &*one.events).collect();
        let began = Instant::now();
        let stored = known::store(
            &self.db,
            &mut self.held,
            &self.installed.catalog(),
            self.clock.now(),
            &events,
        )
        .await;
        if self.db.is_embedded() {
            self.held = None;
        }
        let count = events.iter().map(|one| one.len()).sum();
        measure("known", count, began);
        match stored {
            Ok(results) => {
                let mut rest = Vec::new();
                for (request, result) in requests.into_iter().zip(results) {
                    match result {
                        Some(result) => {
                            let _ = request.answer.send(Ok(result));
                        }
                        None => rest.push(request),
                    }
                }
                rest
            }
            Err(error) if db::is_unavailable(&error) && !db::is_overdue(&error) => {
                // The statement may have taken effect, so it must not be repeated.
                let error = Arc::new(error);
                for request in requests {
                    let _ = request.answer.send(Err(failure(error.clone())));
                }
                Vec::new()
            }
            Err(_) => requests,
        }
    }
}

/// Stores whole batches, each in a transaction.
struct Committer {
    db: Db,
    clock: Clock,
    installed: Installed,
    queue: Queue,
}

impl Committer {
    async fn run(self) {
        while let Some(batch) = self.queue.next_batch().await {
            catch_panic(self.commit(batch)).await;
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
                    // The events are stored even if the caller disconnected.
                    let _ = request.answer.send(Ok(own));
                }
            }
            Err(error)
                if batch.len() > 1 && (!db::is_unavailable(&error) || db::is_overdue(&error)) =>
            {
                // One request can fail the transaction of all: store each in its own.
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
        let (began, count) = (Instant::now(), events.len());
        let stored = self.store_all(events).await;
        measure("full", count, began);
        stored
    }

    async fn store_all(&self, events: Vec<NewEvent>) -> db::Result<Vec<Ingested>> {
        let events = &events;
        // The result is known before the commit. If the commit gets no answer, only its outcome is open.
        let last = &std::sync::Mutex::new(None);
        let work = |mut tx: Tx| async move {
            let now = self.clock.now();
            let stored = store(&mut tx, &self.installed.catalog(), now, events.clone()).await?;
            let id = db::transaction_id(&mut tx).await?;
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some((id, stored.events.clone()));
            Ok((tx, stored.events))
        };
        // The events of all other requests wait behind this transaction.
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

/// Records a commit of so many events, whether it succeeded or not.
fn measure(path: &str, events: usize, began: Instant) {
    INGEST_BATCH.record(&[path], events as f64);
    INGEST_SECONDS.took(&[path], began.elapsed());
}

/// Catches a panic, so that it fails only the batch that caused it: its callers get
/// [`IngestError::Broken`].
async fn catch_panic<T>(work: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    if done.is_err() {
        tracing::error!("storing a batch of events failed: see the panic above");
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
