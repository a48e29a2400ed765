//! A server with a worker that runs one of the engines. Hatchet's is a stand-in in this process.

use std::time::Duration;

use hogsend::worker;
use hogsend_hatchet::stand_in::{Entry, Kind, Run, StandIn, Status, Timing};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::admin::KEY;
use super::process::until;
use super::{Server, Store};

/// Runs a test with each engine.
#[macro_export]
macro_rules! on_each_engine {
    ($(#[$doc:meta])* async fn $name:ident($rig:ident: Rig) $body:block) => {
        mod $name {
            use super::*;

            async fn claim($rig: Rig) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                claim(Rig::embedded().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn hatchet() {
                claim(Rig::hatchet().await).await;
            }
        }
    };
}

/// How often and at what distance it is looked whether anything is due.
const LOOKS: u32 = 2_400;
const BETWEEN: Duration = Duration::from_millis(25);

pub struct Rig {
    pub server: Server,
    hatchet: Option<Outside>,
}

/// Hatchet, and a worker that uses it.
struct Outside {
    engine: StandIn,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Rig {
    /// The embedded engine; the test lets it work with [`settle`](Self::settle).
    pub async fn embedded() -> Self {
        Self {
            server: server(&[]).await,
            hatchet: None,
        }
    }

    /// A worker with Hatchet, which works all the time.
    pub async fn hatchet() -> Self {
        let mut rig = Self::hatchet_without_worker().await;
        rig.start_worker().await;
        rig
    }

    pub async fn hatchet_without_worker() -> Self {
        let wall = "2026-03-02T09:00:00Z".parse::<chrono::DateTime<chrono::Utc>>();
        let timing = Timing {
            tick: Duration::from_millis(50),
            restart: Duration::ZERO,
            ..Timing::default()
        };
        let engine = StandIn::start(wall.unwrap().into(), timing).await;
        let variables = engine.variables();
        let variables = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<_> = variables.collect();
        Self {
            server: server(&variables).await,
            hatchet: Some(Outside {
                engine,
                stop: CancellationToken::new(),
                worker: tokio::spawn(async {}),
            }),
        }
    }

    /// The engine outside the database.
    pub fn outside(&self) -> &StandIn {
        &self.hatchet.as_ref().expect("it runs with Hatchet").engine
    }

    /// Starts the worker that uses it, and waits until it takes tasks.
    pub async fn start_worker(&mut self) {
        let outside = self.hatchet.as_mut().expect("it runs with Hatchet");
        outside.stop = CancellationToken::new();
        let (app, stop) = (self.server.app.clone(), outside.stop.clone());
        outside.worker = tokio::spawn(async move { worker::run(app, stop).await.unwrap() });
        until("a worker takes tasks", async || {
            let engine = self.outside();
            let noted = self.server.count("SELECT count(*) FROM engines").await == 1;
            noted && !engine.workers().is_empty() && engine.durable_streams() > 0
        })
        .await;
        self.server.app.db.engines_changed();
    }

    pub async fn stop_worker(&mut self) {
        let outside = self.hatchet.as_mut().expect("it runs with Hatchet");
        outside.stop.cancel();
        (&mut outside.worker).await.unwrap();
    }

    /// Lets all that is due be done.
    pub async fn settle(&self) {
        if self.hatchet.is_none() {
            return self.server.drain().await;
        }
        for _ in 0..LOOKS {
            if self.due().await == 0 {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
        let runs =
            "SELECT string_agg(format('%s %s wake %s claim %s task %s', s.journey_id, s.status,
                        s.wake_at, s.claim, t.task_id), '; ')
                    FROM journey_states s LEFT JOIN run_tasks t ON t.run_id = s.id";
        let runs = self.server.text(runs).await;
        let wakes = "SELECT string_agg(w::text, '; ') FROM run_wakes w";
        let wakes = self.server.text(wakes).await;
        let (now, tasks) = (self.server.now(), self.outside().runs());
        panic!("something stays due at {now}:\n{runs}\n{wakes}\n{tasks:#?}");
    }

    /// Waits until every task of a run has told Hatchet for what it waits.
    async fn told(&self) {
        let open = |entry: &Entry| matches!(entry.kind, Kind::Wait { .. }) && entry.end.is_none();
        let waits = |task: &Run| match task.status {
            Status::Queued | Status::Running => task.entries.last().is_some_and(open),
            _ => true,
        };
        until("every task waits", async || {
            let runs = self.outside().runs();
            let mut tasks = runs.iter().filter(|one| one.workflow != "send-email");
            tasks.all(waits)
        })
        .await;
    }

    /// Moves the clocks, and lets be done what has become due.
    pub async fn advance(&self, by: Duration) {
        if self.hatchet.is_some() {
            // A wait that Hatchet hears of later would be longer by what the clocks are moved.
            self.told().await;
        }
        self.server.clock.advance(by);
        if self.hatchet.is_some() {
            self.outside().advance(by);
        }
        self.settle().await;
    }

    /// How much is due or under way.
    async fn due(&self) -> i64 {
        let mut conn = self.server.app.db.conn().await.unwrap();
        sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM journey_states WHERE wake_at <= $1 OR claim IS NOT NULL)
                  + (SELECT count(*) FROM email_sends WHERE next_attempt_at <= $1
                         OR (claim IS NOT NULL AND status IN ('queued', 'sending')))
                  + (SELECT count(*) FROM email_batches WHERE next_attempt_at IS NOT NULL)
                  + (SELECT count(*) FROM run_wakes)",
        )
        .bind(self.server.now())
        .fetch_one(&mut *conn)
        .await
        .unwrap()
    }

    pub async fn stop(mut self) {
        if self.hatchet.is_some() {
            self.stop_worker().await;
        }
        self.server.stop().await;
    }
}

async fn server(variables: &[(&str, &str)]) -> Server {
    let common = [("ADMIN_API_KEY", KEY), ("REDIS_URL", "off")];
    Server::with(Store::native().await, &[&common, variables].concat()).await
}
