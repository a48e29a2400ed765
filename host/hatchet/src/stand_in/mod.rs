//! An engine in this process, for tests: it keeps the rules of the protocol that a worker must know, with the engine's
//! own faults ([`Rules`]), and does what a test wants to go wrong ([`Faults`]). It stores nothing on disk and evaluates
//! no expressions.
//!
//! Over memory ([`StandIn::in_memory`]) everything runs on tokio's clock, so a test under
//! `#[tokio::test(start_paused = true)]` waits for nothing; over loopback ([`StandIn::start`]) other
//! processes can use it.

mod admin;
mod clock;
mod dispatcher;
mod durable;
mod engine;
mod rules;
mod run;
mod schedule;
mod serve;
mod sessions;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use engine::Engine;
pub use rules::{Faults, Rules, Timing};
pub use run::{Condition, Entry, Kind, Pushed, Run, Status, What};
use serve::Server;

use crate::settings::names;
use crate::{Client, Now, Settings};

/// An engine. It stops when this is dropped.
pub struct StandIn {
    engine: Arc<Engine>,
    server: Mutex<Server>,
    wall: Now,
}

impl StandIn {
    /// An engine on a free loopback port; `wall` is the wall clock at its start.
    ///
    /// # Panics
    /// Where no port can be opened.
    pub async fn start(wall: SystemTime, timing: Timing) -> Self {
        let engine = Arc::new(Engine::new(token("127.0.0.1:0"), wall, timing));
        let server = Server::over_loopback(&engine).await;
        Self::of(engine, server)
    }

    /// An engine that only clients of [`client`](Self::client) reach.
    pub fn in_memory(wall: SystemTime, timing: Timing) -> Self {
        let engine = Arc::new(Engine::new(token("memory:1"), wall, timing));
        let server = Server::in_memory(&engine);
        Self::of(engine, server)
    }

    fn of(engine: Arc<Engine>, server: Server) -> Self {
        let clock = engine.clone();
        Self {
            server: Mutex::new(server),
            wall: Arc::new(move || clock.clock.wall()),
            engine,
        }
    }

    /// The variables with which a client finds it, for another process.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let address = self.server().address();
        vec![
            (names::TOKEN, self.engine.look().token.clone()),
            (names::HOST_PORT, address),
            (names::TLS_STRATEGY, "none".to_owned()),
        ]
    }

    /// The settings with which a client finds it.
    ///
    /// # Panics
    /// Where its own settings are wrong.
    pub fn settings(&self) -> Settings {
        let variables = self.variables();
        let lookup = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.clone())
        };
        let settings = Settings::load(&lookup, self.engine.clock.wall());
        settings
            .expect("the settings are right")
            .expect("a token is set")
    }

    /// A client with a connection of its own.
    ///
    /// # Panics
    /// Never: its settings are right.
    pub fn client(&self) -> Client {
        let settings = self.settings();
        let client = match self.server().channel(&settings) {
            Some(channel) => Client::with_channel(&settings, channel, self.wall.clone()),
            None => Client::new(&settings, self.wall.clone()),
        };
        client.expect("the settings are right")
    }

    /// The engine's wall clock, for clients of other makers.
    pub fn wall_clock(&self) -> Now {
        self.wall.clone()
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process: all connections break, and none can be made until [`restart`](Self::restart).
    pub fn kill(&self) {
        self.server().stop();
        self.engine.stop();
    }

    /// Starts the process again, with what it had stored.
    ///
    /// # Panics
    /// Where its port cannot be opened again.
    pub async fn restart(&self) {
        self.engine.restart();
        let listener = self.server().reserve();
        let listener = match listener {
            Some(address) => Some(serve::bind(&address).await),
            None => None,
        };
        self.server().start(&self.engine, listener);
    }

    /// Lets nothing through the connections there are, and ends none: new ones work.
    pub fn freeze_connections(&self) {
        self.server().freeze();
    }

    /// Lets nothing through the streams of durable tasks there are, and ends none.
    pub fn mute_durable_streams(&self) {
        self.engine.change(|state| {
            state.sessions.values_mut().for_each(|it| it.mute = true);
        });
    }

    /// Ends the streams of durable tasks.
    pub fn end_durable_streams(&self) {
        self.engine.change(|state| {
            state.sessions.clear();
            state.routes.clear();
        });
    }

    /// Ends the streams of assigned tasks; the worker counts as dead until it listens again.
    pub fn end_listeners(&self) {
        self.engine.change(|state| {
            for worker in state.workers.values_mut() {
                worker.listeners.clear();
                worker.active = false;
            }
        });
    }

    /// Takes the workers for dead, with their streams open.
    pub fn mark_workers_inactive(&self) {
        self.engine
            .change(|state| state.workers.values_mut().for_each(|it| it.active = false));
    }

    /// Forgets the workers.
    pub fn forget_workers(&self) {
        self.engine.change(|state| state.workers.clear());
    }

    /// Moves the time of waits and time-outs forward, and fires those that are due. Heartbeats and
    /// intervals of workers are not affected.
    pub fn advance(&self, by: Duration) {
        self.engine.clock.skip(by);
        self.engine.tick();
    }

    /// Gives up the current invocation of a task, as when an end of a wait was held back too long. The task stays
    /// assigned.
    pub fn stall(&self, id: &str) {
        self.engine.change(|state| {
            let invocation = state.runs.get(id).map_or(0, |it| it.invocation);
            let reason = "ordered durable completion release stalled on a missing entry";
            let notice = sessions::server_evict(id, invocation, reason.to_owned());
            state
                .sessions
                .values()
                .for_each(|it| it.send(notice.clone()));
        });
    }

    /// Gives a task to an unknown other worker.
    pub fn take_over(&self, id: &str) {
        self.engine.change(|state| {
            if let Some(run) = state.runs.get_mut(id) {
                run.invocation += 1;
                run.node = 0;
                run.retry_count += 1;
                run.worker = Some("another".to_owned());
            }
        });
    }

    /// Sends a worker an end of a wait that is not its, as they arrive late after an invocation.
    pub fn send_late_end(&self, id: &str, invocation: i32, node: i64) {
        use crate::proto::v1;
        self.engine.change(|state| {
            let message = v1::durable_task_response::Message::EntryCompleted(
                v1::DurableTaskEventLogEntryCompletedResponse {
                    r#ref: Some(v1::DurableEventLogEntryRef {
                        durable_task_external_id: id.to_owned(),
                        invocation_count: invocation,
                        branch_id: 1,
                        node_id: node,
                    }),
                    payload: br#"{"CREATE":{"event":[{"late":true}]}}"#.to_vec(),
                    is_failure: false,
                    error_message: None,
                },
            );
            state
                .sessions
                .values()
                .for_each(|it| it.send(message.clone()));
        });
    }

    pub fn rules(&self, change: impl FnOnce(&mut Rules)) {
        self.engine.change(|state| change(&mut state.rules));
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.engine.change(|state| change(&mut state.faults));
    }

    /// What it answers to GetVersion.
    pub fn set_version(&self, version: &str) {
        self.engine
            .change(|state| version.clone_into(&mut state.version));
    }

    /// Refuses the tokens it took until now.
    pub fn revoke_token(&self) {
        self.engine.change(|state| state.token.push('x'));
    }

    /// Takes the first tokens again.
    pub fn restore_token(&self) {
        self.engine.change(|state| {
            state.token.pop();
        });
    }

    /// A run.
    pub fn run(&self, id: &str) -> Option<Run> {
        self.engine.look().runs.get(id).cloned()
    }

    /// All runs, the oldest first.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<_> = self.engine.look().runs.values().cloned().collect();
        runs.sort_by(|a, b| a.id.cmp(&b.id));
        runs
    }

    /// All events, the oldest first.
    pub fn events(&self) -> Vec<Pushed> {
        self.engine.look().events.clone()
    }

    /// The names of workers that get tasks.
    pub fn workers(&self) -> Vec<String> {
        let state = self.engine.look();
        let active = state.workers.values().filter(|it| it.active);
        active.map(|it| it.name.clone()).collect()
    }

    /// How many streams of assigned tasks are open.
    pub fn listeners(&self) -> usize {
        let state = self.engine.look();
        state.workers.values().map(|it| it.listeners.len()).sum()
    }

    /// How many streams of durable tasks are open.
    pub fn durable_streams(&self) -> usize {
        self.engine.look().sessions.len()
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> u32 {
        self.engine
            .look()
            .calls
            .get(method)
            .copied()
            .unwrap_or_default()
    }

    /// The names of the registered workflows, as the engine has them.
    pub fn workflows(&self) -> Vec<String> {
        let mut names: Vec<_> = self.engine.look().definitions.keys().cloned().collect();
        names.sort();
        names
    }

    /// The time-out of a workflow's task, as it was sent.
    pub fn timeout_of(&self, workflow: &str) -> Option<String> {
        let state = self.engine.look();
        let request = &state.definitions.get(workflow)?.request;
        request.tasks.first().map(|it| it.timeout.clone())
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// Where it does not within ten minutes of tokio's clock, and says what it waited for.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.engine.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if holds(self) {
                    return;
                }
                // The engine keeps the sender.
                let _ = changes.changed().await;
            }
        };
        let limit = Duration::from_secs(600);
        if tokio::time::timeout(limit, wait).await.is_err() {
            panic!("never came: {what}; runs: {:#?}", self.runs());
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A token of the form of Hatchet's, without an end.
fn token(address: &str) -> String {
    let claims: Value = json!({
        "sub": "707d0855-80ab-4e1f-a156-f1c4546cbf52",
        "grpc_broadcast_address": address,
        "server_url": "http://localhost:8888",
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({"alg": "ES256"});
    format!(
        "{}.{}.{}",
        part(&head),
        part(&claims),
        URL_SAFE_NO_PAD.encode("stand-in")
    )
}
