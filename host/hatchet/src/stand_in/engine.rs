//! The engine's memory, which survives its restarts, and the streams, which do not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::watch;

use super::clock::Clock;
use super::rules::{Faults, Rules, Timing};
use super::run::{Pushed, Run, Status};
use super::sessions::{Session, Worker};
use crate::proto::v1;

/// A workflow that was registered.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub action: String,
    pub slot: String,
    pub durable: bool,
    pub timeout: Duration,
    pub schedule_timeout: Duration,
    pub retries: i32,
    pub events: Vec<String>,
    /// The name in the metadata that has the key, and how long a key lives.
    pub once: Option<(String, Duration)>,
    pub request: v1::CreateWorkflowVersionRequest,
}

pub(super) struct Engine {
    pub clock: Clock,
    pub timing: Timing,
    state: Mutex<State>,
    /// Counts changes, for tests that wait for one.
    pub changes: watch::Sender<u64>,
}

pub(super) struct State {
    pub rules: Rules,
    pub faults: Faults,
    pub version: String,
    pub token: String,
    pub ids: u64,
    pub definitions: HashMap<String, Definition>,
    pub workers: HashMap<String, Worker>,
    pub runs: HashMap<String, Run>,
    /// Runs that wait for a worker, in their order.
    pub queue: Vec<String>,
    pub events: Vec<Pushed>,
    /// Keys of triggers: until when, and whose.
    pub keys: HashMap<String, (Duration, String)>,
    pub sessions: HashMap<u64, Session>,
    /// The stream on which a task spoke last.
    pub routes: HashMap<String, u64>,
    /// The retry counts that the process remembers.
    pub remembered: HashMap<String, i32>,
    /// Nothing is assigned before.
    pub paused_until: Duration,
    pub calls: HashMap<&'static str, u32>,
}

impl Engine {
    pub fn new(token: String, wall: SystemTime, timing: Timing) -> Self {
        Self {
            clock: Clock::new(wall),
            timing,
            changes: watch::channel(0).0,
            state: Mutex::new(State {
                rules: Rules::default(),
                faults: Faults::default(),
                version: "v0.105.1".to_owned(),
                token,
                ids: 0,
                definitions: HashMap::new(),
                workers: HashMap::new(),
                runs: HashMap::new(),
                queue: Vec::new(),
                events: Vec::new(),
                keys: HashMap::new(),
                sessions: HashMap::new(),
                routes: HashMap::new(),
                remembered: HashMap::new(),
                paused_until: Duration::ZERO,
                calls: HashMap::new(),
            }),
        }
    }

    /// Looks without changing anything.
    pub fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes tests that wait for it.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.look());
        self.changes.send_modify(|it| *it += 1);
        result
    }

    /// What happens each tick: timers, lost workers, queued tasks.
    pub fn tick(&self) {
        let now = self.clock.now();
        let real = self.clock.real();
        self.change(|state| {
            state.wake_sleepers(now);
            state.time_out(now);
            state.take_from_lost_workers(real, self.timing.lost);
            state.assign_all(now, real, &self.timing);
        });
    }

    /// The process ends: what was only in memory is gone.
    pub fn stop(&self) {
        self.change(|state| {
            state.sessions.clear();
            state.routes.clear();
            state.remembered.clear();
            for worker in state.workers.values_mut() {
                worker.listeners.clear();
                worker.active = false;
            }
        });
    }

    pub fn restart(&self) {
        let now = self.clock.now();
        let pause = self.timing.restart;
        self.change(|state| {
            if state.rules.pauses_after_restart {
                state.paused_until = now + pause;
            }
        });
    }
}

impl State {
    /// A new id, in the form of a UUID.
    pub fn id(&mut self) -> String {
        self.ids += 1;
        uuid::Uuid::from_u128(u128::from(self.ids)).to_string()
    }

    /// The retry count of a task as the engine remembers it.
    pub fn recall(&mut self, id: &str) -> i32 {
        let count = self.runs.get(id).map_or(0, |it| it.retry_count);
        match self.rules.remembers_retry_counts {
            true => *self.remembered.entry(id.to_owned()).or_insert(count),
            false => count,
        }
    }

    pub fn count(&mut self, call: &'static str) {
        *self.calls.entry(call).or_default() += 1;
    }

    /// Makes a run and queues it.
    pub fn run(
        &mut self,
        workflow: &str,
        input: Value,
        metadata: Value,
        event_key: Option<&str>,
        now: Duration,
    ) -> String {
        let id = self.id();
        let metadata = match metadata {
            Value::Object(all) => all,
            _ => serde_json::Map::new(),
        };
        let run = Run {
            id: id.clone(),
            workflow: workflow.to_owned(),
            // What is no object is lost.
            input: if input.is_object() {
                input
            } else {
                Value::Null
            },
            metadata,
            event_key: event_key.map(str::to_owned),
            status: Status::Queued,
            evicted: false,
            invocation: 0,
            retry_count: 0,
            output: None,
            error: None,
            lines: Vec::new(),
            entries: Vec::new(),
            completions: 0,
            worker: None,
            user_retries: 0,
            lost_workers: 0,
            node: 0,
            order: 0,
            begun: Duration::ZERO,
            queued: now,
        };
        self.runs.insert(id.clone(), run);
        self.queue.push(id.clone());
        id
    }

    /// Gives a run back to the queue.
    pub fn requeue(&mut self, id: &str, now: Duration) {
        if let Some(run) = self.runs.get_mut(id) {
            run.worker = None;
            run.evicted = false;
            run.queued = now;
            run.status = match run.status {
                // A restored task stays RUNNING.
                Status::Running => Status::Running,
                _ => Status::Queued,
            };
            self.queue.push(id.to_owned());
        }
    }

    /// An event wakes the waits for it, and starts runs.
    pub fn push(&mut self, event: Pushed, now: Duration) {
        // What is no object is stored and matches nothing.
        if event.payload.is_object() {
            let ids: Vec<String> = self.runs.keys().cloned().collect();
            for id in ids {
                let Some(run) = self.runs.get_mut(&id).filter(|it| !it.is_over()) else {
                    continue;
                };
                let mut met = Vec::new();
                for (place, entry) in run.entries.iter_mut().enumerate() {
                    if let super::run::Kind::Wait { conditions } = &mut entry.kind
                        && entry.end.is_none()
                        && conditions.iter_mut().any(|it| it.meets(&event))
                    {
                        met.push(place);
                    }
                }
                met.into_iter().for_each(|it| self.satisfied(&id, it, now));
            }
            let started = self.definitions.iter();
            let started = started.filter(|(_, it)| it.events.contains(&event.key));
            let names: Vec<String> = started.map(|(name, _)| name.clone()).collect();
            for name in names {
                let metadata = serde_json::json!({ "hatchet__event_key": event.key });
                self.run(
                    &name,
                    event.payload.clone(),
                    metadata,
                    Some(&event.key),
                    now,
                );
            }
        }
        self.events.push(event);
    }

    fn wake_sleepers(&mut self, now: Duration) {
        let ids: Vec<String> = self.runs.keys().cloned().collect();
        for id in ids {
            let Some(run) = self.runs.get_mut(&id).filter(|it| !it.is_over()) else {
                continue;
            };
            let mut met = Vec::new();
            for (place, entry) in run.entries.iter_mut().enumerate() {
                if let super::run::Kind::Wait { conditions } = &mut entry.kind
                    && entry.end.is_none()
                    && conditions.iter_mut().any(|it| it.slept(now))
                {
                    met.push(place);
                }
            }
            met.into_iter().for_each(|it| self.satisfied(&id, it, now));
        }
    }
}
