//! The one shape of background work: a loop claims as much as it has free places for, works on each
//! item in a task of its own, and looks again when it is called, when something is due, or when a
//! place is free.
//!
//! What is worked on keeps its claim for as long as it takes: claims are renewed.
//!
//! A stop reaches inside: nothing new begins, what was claimed but not begun is given back, and what
//! does not end in time is given back as well where that is safe.

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

/// How often a queue is looked at though nobody called.
const LOOK: Duration = Duration::from_secs(5);
/// After a stop, how long work that has begun gets to end.
const GRACE: Duration = Duration::from_secs(8);

/// One kind of background work.
pub(super) trait Work: Send + Sync + 'static {
    /// What one place works on.
    type Item: Send + 'static;
    /// What is needed to give an item back.
    type Ticket: Clone + Send + Sync + 'static;

    /// As the log and health call it.
    const NAME: &'static str;
    /// Whose call makes the loop look at once.
    const TOPIC: Option<Topic>;

    fn app(&self) -> &App;

    /// How many items are worked on side by side.
    fn places(&self) -> usize;

    /// Takes at most `room` items that are due.
    fn claim(&self, room: usize) -> impl Future<Output = db::Result<Vec<Self::Item>>> + Send;

    /// When the next item is due.
    fn next_due(&self) -> impl Future<Output = db::Result<Option<DateTime<Utc>>>> + Send;

    /// Works on an item. An error is logged where it happens; it is returned so that an outage of
    /// the database slows the loop down.
    fn perform(
        &self,
        item: Self::Item,
        stop: &CancellationToken,
    ) -> impl Future<Output = db::Result<()>> + Send;

    /// Whether work that was broken off by a stop may begin anew at once. Else its lease decides.
    const REPEATABLE: bool;

    fn ticket(item: &Self::Item) -> Self::Ticket;

    /// Moves the leases of items that are worked on.
    fn renew(&self, _: Vec<Self::Ticket>) -> impl Future<Output = db::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Makes items due again that were claimed and are not worked on.
    fn give_back(&self, tickets: Vec<Self::Ticket>) -> impl Future<Output = db::Result<()>> + Send;
}

/// Starts the loop of a kind of work.
pub(super) fn start<W: Work>(crew: &mut Crew, work: W) {
    let stop = crew.stop().clone();
    crew.spawn(W::NAME, run(Arc::new(work), stop));
}

/// What a look at the queue found.
enum Found<T> {
    Items(Vec<T>),
    /// Every place is taken.
    Full,
    Nothing(Option<DateTime<Utc>>),
}

async fn look<W: Work>(work: &W, taken: usize) -> db::Result<Found<W::Item>> {
    let room = work.places().saturating_sub(taken);
    if room == 0 {
        return Ok(Found::Full);
    }
    let items = work.claim(room).await?;
    if items.is_empty() {
        return work.next_due().await.map(Found::Nothing);
    }
    Ok(Found::Items(items))
}

/// Works until `stop`, then lets what has begun end.
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
            Some(error) = busy.next() => {
                // A claim would fail as well; what ended well makes room for the next one.
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
                    tracing::debug!(work = W::NAME, %error, "leases were not renewed, later again");
                }
            }
            () = called(&app, W::TOPIC), if pause.is_some() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
    busy.finish(&work).await;
}

/// How long to pause where the next item is due then: less than until that, where it may be seen
/// late, and not at all long.
fn until(app: &App, due: Option<DateTime<Utc>>) -> Duration {
    let wait = due.map(|due| {
        let wait = (due - app.clock.now()).to_std().unwrap_or_default();
        app.clock.takes(wait)
    });
    // A row that is due but locked by another worker must not make this one spin.
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
            "what was claimed could not be given back, its lease brings it back");
    }
}

/// Items that are worked on.
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

    /// Waits for one to end. None where there is none.
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
                // The lease brings the item back.
                tracing::error!(work = W::NAME, %error, "work on an item broke off");
                None
            }
        }
    }

    /// Lets what has begun end, and gives back what does not in time.
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
            "work did not end in time and was broken off"
        );
        if W::REPEATABLE {
            give_back(work, tickets).await;
        }
    }
}

/// Claims as much as there are places for and works on it. Returns how many items there were. For
/// tests and tools that move the clock themselves.
pub(super) async fn once<W: Work>(work: W) -> db::Result<usize> {
    once_until(work, &CancellationToken::new()).await
}

/// As [`once`], for work that looks at `stop` by itself.
pub(super) async fn once_until<W: Work>(work: W, stop: &CancellationToken) -> db::Result<usize> {
    let work = Arc::new(work);
    let items = work.claim(work.places()).await?;
    let count = items.len();
    let mut busy = Busy::<W>::default();
    for item in items {
        busy.begin(&work, item, stop);
    }
    while busy.next().await.is_some() {}
    Ok(count)
}
