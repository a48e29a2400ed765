//! The worker and the client over the stand-in engine. Time is tokio's paused clock, so no test waits and none
//! depends on the machine's speed.

mod check;
mod client;
mod liveness;
mod losses;
mod tasks;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use hogsend_hatchet::stand_in::{StandIn, Status, Timing};
use hogsend_hatchet::{
    Client, Durable, Failed, Normal, Pace, Tasks, Trigger, Worker, WorkerConfig, WorkerFailed,
    Workflow,
};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// 1 January 2026.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn engine() -> StandIn {
    StandIn::in_memory(wall(), Timing::default())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Handlers made of closures, which count what is in memory.
struct Script<D, N> {
    durable: D,
    normal: N,
    counts: Counts,
}

#[derive(Clone, Default)]
struct Counts {
    begun: Arc<AtomicU32>,
    alive: Arc<AtomicU32>,
}

impl Counts {
    fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }

    fn alive(&self) -> u32 {
        self.alive.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Alive {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        Alive(self.clone())
    }
}

struct Alive(Counts);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<D, N, DF, NF> Tasks for Script<D, N>
where
    D: Fn(Durable) -> DF + Send + Sync + 'static,
    N: Fn(Normal) -> NF + Send + Sync + 'static,
    DF: Future<Output = Result<Value, Failed>> + Send,
    NF: Future<Output = Result<Value, Failed>> + Send,
{
    async fn durable(&self, task: Durable) -> Result<Value, Failed> {
        let _alive = self.counts.enter();
        (self.durable)(task).await
    }

    async fn normal(&self, task: Normal) -> Result<Value, Failed> {
        let _alive = self.counts.enter();
        (self.normal)(task).await
    }
}

/// A running worker.
struct Hand {
    counts: Counts,
    client: Client,
    stop: CancellationToken,
    run: JoinHandle<Result<(), WorkerFailed>>,
}

impl Hand {
    /// Ends the worker without a word, as `kill -9` does.
    async fn kill(self) {
        self.run.abort();
        let _ = self.run.await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.run.await.unwrap().unwrap();
    }

    /// Starts a run of the durable workflow.
    async fn trigger(&self) -> String {
        self.trigger_of("journey", json!({})).await
    }

    async fn trigger_of(&self, workflow: &str, input: Value) -> String {
        let trigger = Trigger::new(workflow, object(input));
        let triggered = self.client.trigger(&trigger).await.unwrap();
        triggered.id().to_owned()
    }
}

fn config(pace: Pace) -> WorkerConfig {
    WorkerConfig {
        name: "worker".to_owned(),
        workflows: vec![Workflow::durable("journey"), Workflow::normal("mail")],
        durable_slots: 1000,
        slots: 100,
        pace,
    }
}

/// A worker for durable tasks.
async fn durable<D, DF>(engine: &StandIn, handler: D) -> Hand
where
    D: Fn(Durable) -> DF + Send + Sync + 'static,
    DF: Future<Output = Result<Value, Failed>> + Send + 'static,
{
    start(engine, config(Pace::default()), handler, |_| async {
        Ok(Value::Null)
    })
    .await
}

/// A worker, which is registered and listens when this returns.
async fn start<D, N, DF, NF>(engine: &StandIn, config: WorkerConfig, durable: D, normal: N) -> Hand
where
    D: Fn(Durable) -> DF + Send + Sync + 'static,
    N: Fn(Normal) -> NF + Send + Sync + 'static,
    DF: Future<Output = Result<Value, Failed>> + Send + 'static,
    NF: Future<Output = Result<Value, Failed>> + Send + 'static,
{
    let client = engine.client();
    let counts = Counts::default();
    let script = Script {
        durable,
        normal,
        counts: counts.clone(),
    };
    let worker = Worker::new(client.clone(), config, script).unwrap();
    let stop = CancellationToken::new();
    let listening = engine.listeners();
    let streams = engine.durable_streams();
    let run = tokio::spawn(worker.run(stop.clone()));
    engine
        .until("a worker is there", |it| {
            it.listeners() > listening && it.durable_streams() > streams
        })
        .await;
    Hand {
        counts,
        client,
        stop,
        run,
    }
}

async fn until_over(engine: &StandIn, id: &str) -> hogsend_hatchet::stand_in::Run {
    let over = |it: &StandIn| it.run(id).is_some_and(|it| it.is_over());
    engine.until("the run is over", over).await;
    engine.run(id).unwrap()
}

async fn until_completed(engine: &StandIn, id: &str) -> hogsend_hatchet::stand_in::Run {
    let run = until_over(engine, id).await;
    assert_eq!(run.status, Status::Completed, "{run:#?}");
    assert_eq!(run.completions, 1);
    run
}

async fn until_evicted(engine: &StandIn, id: &str) {
    let evicted = |it: &StandIn| it.run(id).is_some_and(|it| it.evicted);
    engine.until("the run is evicted", evicted).await;
}

async fn until_waiting(engine: &StandIn, id: &str, waits: usize) {
    let waiting = |it: &StandIn| it.run(id).is_some_and(|it| it.entries.len() == waits);
    engine.until("the run waits", waiting).await;
}
