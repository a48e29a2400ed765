//! The loop of all background work: it claims as many items as it has free places, processes each
//! in its own task, and polls again on a wake-up, when an item is due, or when a place is free.
//!
//! Claims are renewed for as long as their items are processed. While the database is one that was restored or
//! copied, nothing is claimed.
//!
//! On a stop, no new item begins, items claimed but not begun are released, and those that do not
//! end in time are released as well where that is safe.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::crew::Crew;
use crate::db::{self, Topic};

/// Longest time between two polls.
const LOOK: Duration = Duration::from_secs(5);
/// How long items that have begun may take to end after a stop.
const GRACE: Duration = Duration::from_secs(8);

/// One kind of background work.
pub(super) trait Work: Send + Sync + 'static {
    /// What one place processes.
    type Item: Send + 'static;
    /// What is needed to release an item.
    type Ticket: Clone + Send + Sync + 'static;

    /// Its name in the log and in health.
    const NAME: &'static str;
    /// The wake-up that makes the loop poll at once.
    const TOPIC: Option<Topic>;

    fn app(&self) -> &App;

    /// How many items are processed concurrently.
    fn places(&self) -> usize;

    /// Claims at most `free` due items.
    fn claim(&self, free: usize) -> impl Future<Output = db::Result<Vec<Self::Item>>> + Send;

    /// When the next item is due.
    fn next_due(&self) -> impl Future<Output = db::Result<Option<DateTime<Utc>>>> + Send;

    /// Processes an item. An error is logged where it happens; it is returned so that a database
    /// outage slows the loop down.
    fn perform(
        &self,
        item: Self::Item,
        stop: &CancellationToken,
    ) -> impl Future<Output = db::Result<()>> + Send;

    /// Whether an item cancelled by a stop may be released at once. Otherwise it stays claimed
    /// until its lease expires.
    const REPEATABLE: bool;

    fn ticket(item: &Self::Item) -> Self::Ticket;

    /// Extends the leases of items in progress.
    fn renew(&self, _: Vec<Self::Ticket>) -> impl Future<Output = db::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Makes claimed items due again that are not in progress.
    fn give_back(&self, tickets: Vec<Self::Ticket>) -> impl Future<Output = db::Result<()>> + Send;
}

/// Starts the loop of a kind of work.
pub(super) fn start<W: Work>(crew: &mut Crew, work: W) {
    let stop = crew.stop().clone();
    crew.spawn(W::NAME, run(Arc::new(work), stop));
}

/// Result of a poll.
enum Found<T> {
    Items(Vec<T>),
    /// Every place is taken.
    Full,
    Nothing(Option<DateTime<Utc>>),
}

async fn look<W: Work>(work: &W, taken: usize) -> db::Result<Found<W::Item>> {
    let free = work.places().saturating_sub(taken);
    if free == 0 {
        return Ok(Found::Full);
    }
    let app = work.app();
    if app.halt.lasts(&app.db).await? {
        return Ok(Found::Nothing(None));
    }
    let items = work.claim(free).await?;
    if items.is_empty() {
        return work.next_due().await.map(Found::Nothing);
    }
    Ok(Found::Items(items))
}

/// Polls until `stop`, then waits for the items in progress.
async fn run<W: Work>(work: Arc<W>, stop: CancellationToken) {
    let app = work.app().clone();
    let mut busy = Busy::<W>::default();
    let mut renewal = tokio::time::interval(app.clock.takes(app.config.lease / 3));
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        let pause = match look(&*work, busy.tasks.len()).await {
            Ok(Found::Items(items)) => {
                app.loops.sound(W::NAME);
                if stop.is_cancelled() {
                    let tickets = items.iter().map(W::ticket).collect();
                    give_back(&*work, tickets).await;
                    break;
                }
                for item in items {
                    busy.begin(&work, item, &stop);
                }
                continue;
            }
            Ok(Found::Full) => None,
            Ok(Found::Nothing(due)) => {
                app.loops.sound(W::NAME);
                Some(until(&app, due))
            }
            Err(error) => {
                let pause = app.loops.failed(W::NAME, &error);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                continue;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            Some(error) = busy.some() => {
                // In a database outage the next claim would fail as well, so pause; otherwise the
                // free place is filled at once.
                if let Some(error) = error.filter(db::is_unavailable) {
                    let pause = app.loops.failed(W::NAME, &error);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
            _ = renewal.tick() => {
                let tickets: Vec<_> = busy.tickets.values().cloned().collect();
                if !tickets.is_empty() && let Err(error) = work.renew(tickets).await {
                    tracing::debug!(work = W::NAME, %error,
                        "leases were not renewed, the next tick retries");
                }
            }
            () = called(&app, W::TOPIC), if pause.is_some() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
    busy.finish(&work).await;
}

/// How long to pause until the next item is due: at least 10 ms, and at most [`LOOK`], because an
/// item may become due without a wake-up.
fn until(app: &App, due: Option<DateTime<Utc>>) -> Duration {
    let wait = due.map(|due| {
        let wait = (due - app.clock.now()).to_std().unwrap_or_default();
        app.clock.takes(wait)
    });
    // A due row that is locked by another worker must not make this one spin.
    wait.map_or(LOOK, |wait| wait.clamp(Duration::from_millis(10), LOOK))
}

async fn called(app: &App, topic: Option<Topic>) {
    match topic {
        Some(topic) => app.db.wake().wait(topic).await,
        None => std::future::pending().await,
    }
}

async fn give_back<W: Work>(work: &W, tickets: Vec<W::Ticket>) {
    if tickets.is_empty() {
        return;
    }
    if let Err(error) = work.give_back(tickets).await {
        tracing::warn!(work = W::NAME, %error,
            "claimed items could not be released, they are due again when their lease expires");
    }
}

/// Items in progress.
struct Busy<W: Work> {
    tasks: JoinSet<Option<sqlx::Error>>,
    tickets: HashMap<Id, W::Ticket>,
}

impl<W: Work> Default for Busy<W> {
    fn default() -> Self {
        Self {
            tasks: JoinSet::new(),
            tickets: HashMap::new(),
        }
    }
}

impl<W: Work> Busy<W> {
    fn begin(&mut self, work: &Arc<W>, item: W::Item, stop: &CancellationToken) {
        let ticket = W::ticket(&item);
        let (work, stop) = (work.clone(), stop.clone());
        let task = self
            .tasks
            .spawn(async move { work.perform(item, &stop).await.err() });
        self.tickets.insert(task.id(), ticket);
    }

    /// Waits for an item to end and takes all that have ended, since one claim fills all places. None where there
    /// is no item.
    async fn some(&mut self) -> Option<Option<sqlx::Error>> {
        let mut error = self.next().await?;
        while let Some(done) = self.tasks.try_join_next_with_id() {
            error = self.ended(done).or(error);
        }
        Some(error)
    }

    /// Waits for an item to end. None where there is none.
    async fn next(&mut self) -> Option<Option<sqlx::Error>> {
        let done = self.tasks.join_next_with_id().await?;
        Some(self.ended(done))
    }

    fn ended(&mut self, done: Result<(Id, Option<sqlx::Error>), JoinError>) -> Option<sqlx::Error> {
        match done {
            Ok((id, error)) => {
                self.tickets.remove(&id);
                error
            }
            Err(error) => {
                self.tickets.remove(&error.id());
                // The item is due again when its lease expires.
                tracing::error!(work = W::NAME, %error, "processing an item panicked");
                None
            }
        }
    }

    /// Waits for the items in progress, and releases those that do not end in time.
    async fn finish(mut self, work: &W) {
        let rest = async { while self.next().await.is_some() {} };
        if tokio::time::timeout(GRACE, rest).await.is_ok() {
            return;
        }
        self.tasks.abort_all();
        while let Some(done) = self.tasks.join_next_with_id().await {
            if let Ok((id, _)) = done {
                self.tickets.remove(&id);
            }
        }
        let tickets: Vec<_> = self.tickets.into_values().collect();
        tracing::warn!(
            work = W::NAME,
            items = tickets.len(),
            "work did not end in time and was cancelled"
        );
        if W::REPEATABLE {
            give_back(work, tickets).await;
        }
    }
}

/// Claims as many items as there are places and processes them. Returns how many there were. For
/// tests and tools that move the clock themselves.
pub(super) async fn once<W: Work>(work: W) -> db::Result<usize> {
    once_until(work, &CancellationToken::new()).await
}

/// Like [`once`], for work that watches `stop` itself.
pub(super) async fn once_until<W: Work>(work: W, stop: &CancellationToken) -> db::Result<usize> {
    let work = Arc::new(work);
    if work.app().halt.look(&work.app().db).await? {
        return Ok(0);
    }
    let items = work.claim(work.places()).await?;
    let count = items.len();
    let mut busy = Busy::<W>::default();
    for item in items {
        busy.begin(&work, item, stop);
    }
    while busy.next().await.is_some() {}
    Ok(count)
}
