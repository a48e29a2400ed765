//! The worker that takes tasks from Hatchet. It starts anew when the journeys change.

use std::convert::Infallible;
use std::time::Duration;

use hogsend_hatchet::{Pace, Worker, WorkerConfig, Workflow};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Hatchet;
use super::tasks::{Tasks, workflows};
use crate::app::App;

/// Tasks of runs in memory. Those that wait longer than some seconds are not.
const DURABLE_SLOTS: u32 = 1_000;
/// Tasks of mail at once: more than are offered by one worker.
const SLOTS: u32 = 32;
/// How often the journeys are compared with those that the worker offers.
const LOOK: Duration = Duration::from_secs(2);
/// How long tasks in progress may take to end after a stop: less than the process has.
const DRAIN: Duration = Duration::from_secs(5);
/// The same for what the database still does for tasks that Hatchet took away.
const REST: Duration = Duration::from_secs(2);
/// The pause before another attempt to start.
const AGAIN: Duration = Duration::from_secs(10);

/// Ends a worker's round where the database is halted, or the journeys are others than those offered.
async fn watch(app: &App, offered: &[Workflow], round: &CancellationToken) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        if halted(app).await {
            round.cancel();
        } else if workflows(app) != offered && !round.is_cancelled() {
            tracing::info!("the journeys changed: they are registered with Hatchet again");
            round.cancel();
        }
    }
}

/// Works until `stop`.
pub async fn run(app: &App, engine: &Hatchet, stop: CancellationToken) {
    let tracker = TaskTracker::new();
    while !stop.is_cancelled() {
        if halted(app).await {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            continue;
        }
        let offered = workflows(app);
        let round = stop.child_token();
        let worker = work(app, engine, offered.clone(), &tracker, round.clone());
        // Both are polled: the worker's heartbeats go on while Postgres does not answer.
        let failed = tokio::select! {
            ended = worker => ended.err(),
            never = watch(app, &offered, &round) => match never {},
        };
        // Each problem once, however often it is met.
        if let Some(problem) = &failed
            && *engine.problem() != failed
        {
            tracing::error!("{problem}");
        }
        let again = failed.is_some();
        *engine.problem() = failed;
        if again {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
    tracker.close();
    if tokio::time::timeout(REST, tracker.wait()).await.is_err() {
        tracing::warn!(
            runs = tracker.len(),
            "advances did not end in time: their runs are due again when their leases expire"
        );
    }
}

/// Whether the database was restored or copied. Then no tasks are taken: they may be those of the installation that
/// it was copied from.
async fn halted(app: &App) -> bool {
    app.halt.lasts(&app.db).await.unwrap_or_default()
}

async fn work(
    app: &App,
    engine: &Hatchet,
    workflows: Vec<Workflow>,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), String> {
    let config = WorkerConfig {
        name: "hogsend".to_owned(),
        workflows,
        durable_slots: DURABLE_SLOTS,
        slots: SLOTS,
        pace: Pace {
            drain: DRAIN,
            ..Pace::default()
        },
    };
    let tasks = Tasks::new(app, &engine.offers, tracker);
    let worker = Worker::new(engine.client.clone(), config, tasks);
    let worker = worker.map_err(|problem| problem.to_string())?;
    worker.run(stop).await.map_err(|failed| failed.to_string())
}
