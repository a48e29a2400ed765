//! Runs durable tasks (a memo, a sleep of two seconds, an event each) on the engine of `HATCHET_CLIENT_*` and prints
//! figures.
//!
//! `cargo run -p hogsend-hatchet --example probe -- [tasks] [file]`
//!
//! With a file, the ids of the runs are kept in it; a probe that finds the file does not trigger but goes on with those
//! runs. So it can be killed and started again, and at the end every run must be completed, each once. Connections to
//! the engine may break as often as one likes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hogsend_hatchet::{
    Client, Durable, Event, Failed, Normal, Now, Pace, RunStatus, Settings, Tasks, Trigger, Wait,
    Worker, WorkerConfig, Workflow,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const WORKFLOW: &str = "hogsend-probe";

/// When each task reached each of its stages.
#[derive(Default)]
struct Times {
    slept: Mutex<HashMap<u64, Instant>>,
    woken: Mutex<HashMap<u64, Instant>>,
    /// The tasks whose handlers run here.
    here: Mutex<HashSet<String>>,
}

/// A handler that runs.
struct Here<'a>(&'a Times, &'a str);

impl<'a> Here<'a> {
    fn enter(times: &'a Times, task: &'a str) -> Self {
        lock(&times.here).insert(task.to_owned());
        Self(times, task)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        lock(&self.0.here).remove(self.1);
    }
}

struct Handler {
    times: Arc<Times>,
    wall: Now,
}

impl Tasks for Handler {
    async fn durable(&self, task: Durable) -> Result<Value, Failed> {
        let _here = Here::enter(&self.times, &task.id);
        let number = task.input["n"].as_u64().unwrap_or_default();
        let tag = task.input["tag"].as_str().unwrap_or_default().to_owned();
        let begun: u64 = task.memo("begun", since_epoch((self.wall)())).await?;
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(begun);
        task.wait(&Wait::sleep(Duration::from_secs(2))).await;
        set(&self.times.slept, number);
        let event = Wait::sleep(Duration::from_secs(86_400));
        let woke = task.wait(&event.or_event(key(&tag, number), begun)).await;
        set(&self.times.woken, number);
        Ok(json!({
            "woke": format!("{woke:?}"),
            "invocation": task.invocation(),
            "retries": task.retry_count,
        }))
    }

    async fn normal(&self, task: Normal) -> Result<Value, Failed> {
        Err(Failed::permanent(format!(
            "{} is no normal task",
            task.workflow
        )))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set(times: &Mutex<HashMap<u64, Instant>>, number: u64) {
    lock(times).entry(number).or_insert_with(Instant::now);
}

fn key(tag: &str, number: u64) -> String {
    format!("probe:{tag}:{number}")
}

fn since_epoch(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own has no clock to be given"
)]
fn wall() -> SystemTime {
    SystemTime::now()
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let tasks: u64 = arguments.next().map_or(Ok(1000), |it| it.parse())?;
    let file = arguments.next().map(PathBuf::from);
    let lookup = |name: &str| std::env::var(name).ok();
    let settings = match Settings::load(&lookup, wall()) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Err("HATCHET_CLIENT_TOKEN is not set".into()),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(lines.join("\n").into());
        }
    };
    let now: Now = Arc::new(wall);
    let client = Client::new(&settings, now.clone())?;
    println!("engine {}", client.check().await?);
    let times = Arc::new(Times::default());
    let config = WorkerConfig {
        name: "probe".to_owned(),
        workflows: vec![Workflow {
            once_per_key: Some(Duration::from_secs(3600)),
            ..Workflow::durable(WORKFLOW)
        }],
        durable_slots: 1000,
        slots: 1,
        pace: Pace::default(),
    };
    let handler = Handler {
        times: times.clone(),
        wall: now,
    };
    let worker = Worker::new(client.clone(), config, handler)?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    let known = file.as_deref().filter(|it| it.exists());
    let (tag, ids) = match known {
        Some(file) => read(file)?,
        None => begin(&client, tasks, file.as_deref(), &times).await?,
    };
    let pushed = push(&client, &tag, ids.len()).await?;
    let before = Instant::now();
    let report = until_over(&client, &ids, &times).await;
    println!("all over {:?} after the last push", before.elapsed());
    println!("ends: {report:?}");
    latencies(&times, &pushed);
    stop.cancel();
    running.await??;
    Ok(())
}

fn read(file: &Path) -> Result<(String, Vec<String>), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(file)?;
    let mut lines = text.lines().map(str::to_owned);
    let tag = lines.next().ok_or("the file is empty")?;
    let ids: Vec<_> = lines.collect();
    println!("going on with {} runs", ids.len());
    Ok((tag, ids))
}

/// Triggers the runs and waits until each has slept.
async fn begin(
    client: &Client,
    tasks: u64,
    file: Option<&Path>,
    times: &Times,
) -> Result<(String, Vec<String>), Box<dyn std::error::Error>> {
    while client.connection().borrow().heartbeat.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let tag = since_epoch(wall()).to_string();
    let input = |n: u64| -> Map<String, Value> {
        [("n".to_owned(), json!(n)), ("tag".to_owned(), json!(tag))]
            .into_iter()
            .collect()
    };
    let trigger = |n: u64| Trigger::new(WORKFLOW, input(n)).key(key(&tag, n));
    let triggers: Vec<_> = (0..tasks).map(trigger).collect();
    let before = Instant::now();
    let mut ids = Vec::new();
    for some in triggers.chunks(100) {
        // The keys make a repeat safe.
        let started = loop {
            match client.trigger_many(some).await {
                Ok(started) => break started,
                Err(error) => println!("{error}"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        ids.extend(started.into_iter().map(|it| it.id().to_owned()));
    }
    println!("triggered {tasks} in {:?}", before.elapsed());
    if let Some(file) = file {
        std::fs::write(file, format!("{tag}\n{}\n", ids.join("\n")))?;
    }
    let mut care = Care::default();
    while lock(&times.slept).len() < ids.len() {
        care.look(client, &ids, times).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "all had slept {:?} after the first trigger",
        before.elapsed()
    );
    // The last ones are evicted.
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("memory: {}", resident());
    Ok((tag, ids))
}

async fn push(
    client: &Client,
    tag: &str,
    runs: usize,
) -> Result<Vec<Instant>, Box<dyn std::error::Error>> {
    let before = Instant::now();
    let mut pushed = Vec::new();
    let numbers: Vec<u64> = (0..u64::try_from(runs)?).collect();
    for some in numbers.chunks(50) {
        let events: Vec<_> = some
            .iter()
            .map(|n| Event::new(key(tag, *n), Map::new()))
            .collect();
        while let Err(failed) = client.push(&events).await {
            println!("{failed}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        pushed.extend(some.iter().map(|_| Instant::now()));
    }
    println!("pushed {runs} events in {:?}", before.elapsed());
    Ok(pushed)
}

/// Waits until all runs are over; how many ended how.
async fn until_over(client: &Client, ids: &[String], times: &Times) -> HashMap<String, usize> {
    let mut ends: HashMap<String, usize> = HashMap::new();
    let mut care = Care::default();
    while !care.look(client, ids, times).await {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{} starts were lost", care.lost);
    for id in ids {
        let end = loop {
            match client.run(id).await {
                Ok(Some(run)) if run.status.is_over() => {
                    let output = run.output.unwrap_or_default();
                    let retries = output["retries"].as_i64().unwrap_or_default();
                    let woke = output["woke"].as_str().unwrap_or_default();
                    let error = run.error.unwrap_or_default();
                    assert!(
                        run.status != RunStatus::Completed || woke.starts_with("Event"),
                        "{output}"
                    );
                    break format!("{:?} with {retries} retries {error}", run.status);
                }
                Ok(_) => {}
                Err(error) => println!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        *ends.entry(end).or_default() += 1;
    }
    ends
}

/// How long a task may be running for the engine without a handler here.
const LOST: Duration = Duration::from_secs(10);

/// Finds tasks whose start was lost with its connection: running for the engine, and nowhere else. They are cancelled
/// and replayed.
#[derive(Default)]
struct Care {
    /// Since when.
    suspects: HashMap<String, Instant>,
    cancelled: HashSet<String>,
    over: HashSet<String>,
    lost: u32,
}

impl Care {
    /// Whether all are over.
    async fn look(&mut self, client: &Client, ids: &[String], times: &Times) -> bool {
        for id in ids {
            if !self.over.contains(id)
                && let Ok(Some(run)) = client.run(id).await
            {
                self.judge(client, id, run.status, times).await;
            }
        }
        self.over.len() == ids.len()
    }

    async fn judge(&mut self, client: &Client, id: &String, status: RunStatus, times: &Times) {
        let ours = std::slice::from_ref(id);
        match status {
            RunStatus::Running if !lock(&times.here).contains(id) => {
                let since = self.suspects.entry(id.clone()).or_insert_with(Instant::now);
                if since.elapsed() > LOST && client.cancel(ours).await.is_ok() {
                    self.lost += u32::from(self.cancelled.insert(id.clone()));
                }
            }
            RunStatus::Cancelled if self.cancelled.contains(id) => {
                if client.replay(ours).await.is_ok() {
                    self.cancelled.remove(id);
                    self.suspects.remove(id);
                }
            }
            status => {
                self.suspects.remove(id);
                if status.is_over() {
                    self.over.insert(id.clone());
                }
            }
        }
    }
}

fn latencies(times: &Times, pushed: &[Instant]) {
    let woken = lock(&times.woken);
    let mut all: Vec<Duration> = Vec::new();
    for (number, at) in woken.iter() {
        let pushed = usize::try_from(*number).ok().and_then(|it| pushed.get(it));
        all.extend(pushed.map(|it| at.saturating_duration_since(*it)));
    }
    all.sort();
    let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
    println!(
        "push to resume: p50 {:?}, p99 {:?}, most {:?}",
        at(50),
        at(99),
        all.last()
    );
}

/// The memory that this process holds.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|it| it.starts_with("VmRSS"));
    line.unwrap_or("unknown").to_owned()
}
