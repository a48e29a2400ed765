//! An engine outside the database, for servers of tests: Hatchet's stand-in, in this process.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend::worker;
use hogsend_hatchet::stand_in::{Entry, Kind, Run, StandIn, Status, Timing};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::process::until;

/// How often and at what distance it is looked whether anything is due.
const LOOKS: u32 = 2_400;
const BETWEEN: Duration = Duration::from_millis(25);

/// The engine, without workers.
pub struct Outside {
    pub engine: StandIn,
}

/// A worker that uses it.
pub struct Working {
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Outside {
    /// An engine whose clock shows this at first.
    pub async fn start(wall: DateTime<Utc>) -> Self {
        let timing = Timing {
            tick: Duration::from_millis(50),
            restart: Duration::ZERO,
            ..Timing::default()
        };
        let engine = StandIn::start(wall.into(), timing).await;
        Self { engine }
    }

    /// Starts a worker, and waits until it takes tasks.
    pub async fn work(&self, server: &Server) -> Working {
        let stop = CancellationToken::new();
        let (app, stopped) = (server.app.clone(), stop.clone());
        let before = self.engine.listeners();
        let worker = tokio::spawn(async move { worker::run(app, stopped).await.unwrap() });
        until("a worker takes tasks", async || {
            let noted = server.count("SELECT count(*) FROM engines").await == 1;
            noted && self.engine.listeners() > before && self.engine.durable_streams() > 0
        })
        .await;
        server.app.db.engines_changed();
        Working { stop, worker }
    }

    /// Lets all that is due be done.
    pub async fn settle(&self, server: &Server) {
        for _ in 0..LOOKS {
            if !is_due(server).await {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
        let runs =
            "SELECT string_agg(format('%s %s wake %s claim %s task %s', s.journey_id, s.status,
                        s.wake_at, s.claim, t.task_id), '; ')
                    FROM journey_states s LEFT JOIN run_tasks t ON t.run_id = s.id";
        let runs = server.text(runs).await;
        let wakes = "SELECT string_agg(w::text, '; ') FROM run_wakes w";
        let wakes = server.text(wakes).await;
        let (now, tasks) = (server.now(), self.engine.runs());
        panic!("something stays due at {now}:\n{runs}\n{wakes}\n{tasks:#?}");
    }

    /// Waits until every task of a run has told the engine for what it waits. A wait of which the engine hears later
    /// would be longer by what the clocks are moved.
    pub async fn told(&self) {
        let open = |entry: &Entry| matches!(entry.kind, Kind::Wait { .. }) && entry.end.is_none();
        let waits = |task: &Run| match task.status {
            Status::Queued | Status::Running => task.entries.last().is_some_and(open),
            _ => true,
        };
        for _ in 0..LOOKS {
            let mut tasks = self.engine.runs();
            tasks.retain(|one| one.workflow != "send-email" && !waits(one));
            if tasks.is_empty() {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
        let mut tasks = self.engine.runs();
        tasks.retain(|one| one.workflow != "send-email" && !waits(one));
        panic!("tasks do not wait: {tasks:#?}");
    }

    /// Moves the engine's clock to that of the server.
    pub fn follow(&self, server: &Server) {
        let own = DateTime::<Utc>::from((self.engine.wall_clock())());
        if let Ok(ahead) = (server.now() - own).to_std() {
            self.engine.advance(ahead);
        }
    }

    /// Lets a worker of its own do all that is due now, and stops it.
    pub async fn drain(&self, server: &Server) {
        self.follow(server);
        let working = self.work(server).await;
        loop {
            self.settle(server).await;
            let others = worker::others_due(&server.app).await.unwrap();
            if others == 0 && !is_due(server).await {
                break;
            }
        }
        self.told().await;
        working.stop().await;
    }
}

impl Working {
    pub async fn stop(self) {
        self.stop.cancel();
        self.worker.await.unwrap();
    }
}

/// Whether runs or mails are due or under way: asked in one statement, since a run that ends a step between two
/// would be seen by neither, its mail not yet and the run no more.
async fn is_due(server: &Server) -> bool {
    let mut conn = server.app.db.conn().await.unwrap();
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM journey_states WHERE wake_at <= $1 OR claim IS NOT NULL)
             OR EXISTS (SELECT FROM email_sends WHERE next_attempt_at <= $1
                            OR claim IS NOT NULL AND status IN ('queued', 'sending'))
             OR EXISTS (SELECT FROM email_batches WHERE next_attempt_at <= $1
                            OR next_attempt_at IS NOT NULL AND claim IS NOT NULL)
             OR EXISTS (SELECT FROM provider_holds WHERE kind <> 'limit' AND until <= $1 AND EXISTS (
                            SELECT FROM email_sends WHERE next_attempt_at IS NOT NULL AND held IS NOT NULL))
             OR EXISTS (SELECT FROM run_wakes)",
    )
    .bind(server.now())
    .fetch_one(&mut *conn)
    .await
    .unwrap()
}
