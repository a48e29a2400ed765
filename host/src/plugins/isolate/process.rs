//! A plugin in a child process, which is started again when it has ended.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hogsend_plugin_api::wire::{self, LeftOut};
use hogsend_plugin_api::{HostInfo, Manifest};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::child::{Child, End, Failure};
use super::frame::{Fault, PROTOCOL, PROTOCOL_MIN};
use super::launch::{Launch, What};
use super::methods::{self, CREATE, HANDSHAKE};
use crate::backoff;
use crate::plugins::bounded::START;
use crate::plugins::problem::Problem;
use crate::telemetry::Outage;
use crate::telemetry::metrics::PLUGIN_STARTS;

/// Ends in a row that lengthen the pause before the next start. It is at most four seconds then, less than
/// the deadline of a call, so calls wait for the start instead of failing.
const FAILURES_MAX: i32 = 2;

/// A plugin whose code runs in a child process.
pub struct Isolated {
    launch: Launch,
    manifest: Manifest,
    settings: OnceLock<Vec<u8>>,
    state: Mutex<State>,
    /// Held while a child is started.
    starting: Mutex<()>,
    outage: Outage,
}

struct State {
    child: Option<Arc<Child>>,
    /// Ends since the last answer.
    failures: i32,
    /// After an end: when the next child may be started, and why the last one ended.
    down: Option<(Instant, String)>,
}

/// Why a call has no answer.
pub enum Unanswered {
    /// The plugin answered with an error.
    Error(Fault),
    Deadline,
    /// Its process ended during the call.
    Ended(End),
    /// It was not called: its process has ended and is not started again yet.
    Down(String),
    /// The request or the answer violates the protocol.
    Protocol(String),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Isolated {
    /// Starts a child and asks for its manifest. What this host cannot read of it is returned too.
    pub fn start(launch: Launch, host: &HostInfo) -> Result<(Self, LeftOut), Problem> {
        let name = launch.name();
        let (child, manifest, left_out) = greet(&name, &launch, host)?;
        let state = State {
            child: Some(Arc::new(child)),
            failures: 0,
            down: None,
        };
        let own = Self {
            launch,
            manifest,
            settings: OnceLock::new(),
            state: Mutex::new(state),
            starting: Mutex::default(),
            outage: Outage::new(),
        };
        Ok((own, left_out))
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Creates the plugin from its settings, as JSON. A child that is started later gets them too.
    pub fn create(&self, settings: Vec<u8>) -> Result<(), String> {
        let settings = self.settings.get_or_init(|| settings);
        let child = locked(&self.state).child.clone();
        let child = child.ok_or("its process has ended")?;
        create(&child, settings)?;
        self.log_start(&child);
        Ok(())
    }

    /// The id of the running child.
    pub fn pid(&self) -> Option<u32> {
        let child = locked(&self.state).child.clone();
        u32::try_from(child?.pid()?).ok()
    }

    /// Waits until the plugin may be called. Returns why it may not be within `patience`.
    pub async fn ready(&self, patience: Duration) -> Result<(), String> {
        let Some((at, why)) = self.down() else {
            return Ok(());
        };
        let wait = at.saturating_duration_since(Instant::now());
        if wait > patience {
            return Err(format!(
                "is not running and is started again in {} seconds: it {why}",
                wait.as_secs()
            ));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Calls a method. It blocks, and may start a child first.
    pub fn call(
        &self,
        method: u32,
        input: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, Unanswered> {
        let child = self.child()?;
        match child.call(&methods::name(method), input, deadline) {
            Ok(answer) => {
                self.answered();
                Ok(answer)
            }
            Err(Failure::Answered(fault)) => {
                self.answered();
                Err(Unanswered::Error(fault))
            }
            Err(Failure::Unsendable(why)) => Err(Unanswered::Protocol(why)),
            Err(Failure::Deadline) => {
                self.note_end(&child);
                Err(Unanswered::Deadline)
            }
            Err(Failure::Ended(end)) => {
                self.note_end(&child);
                Err(Unanswered::Ended(end))
            }
        }
    }

    fn answered(&self) {
        locked(&self.state).failures = 0;
        if let Some(recovered) = self.outage.over() {
            let plugin = &self.manifest.id;
            let seconds = recovered.seconds;
            tracing::info!(
                plugin,
                seconds,
                "the process of plugin '{plugin}' answers again"
            );
        }
    }

    fn down(&self) -> Option<(Instant, String)> {
        let child = locked(&self.state).child.clone();
        if let Some(child) = child {
            child.ended()?;
            self.note_end(&child);
        }
        locked(&self.state).down.clone()
    }

    /// The running child, or a new one.
    fn child(&self) -> Result<Arc<Child>, Unanswered> {
        let alive = || {
            let child = locked(&self.state).child.clone();
            child.filter(|child| child.ended().is_none())
        };
        if let Some(child) = alive() {
            return Ok(child);
        }
        let _turn = locked(&self.starting);
        if let Some(child) = alive() {
            return Ok(child);
        }
        if let Some((at, why)) = self.down()
            && at > Instant::now()
        {
            return Err(Unanswered::Down(format!("is not running: it {why}")));
        }
        match self.restart() {
            Ok(child) => {
                let child = Arc::new(child);
                let mut state = locked(&self.state);
                state.child = Some(child.clone());
                state.down = None;
                drop(state);
                self.log_start(&child);
                Ok(child)
            }
            Err(why) => {
                let why = format!("cannot be started again: {why}");
                self.rest(&why);
                Err(Unanswered::Down(why))
            }
        }
    }

    fn restart(&self) -> Result<Child, String> {
        let id = &self.manifest.id;
        let host = crate::plugins::features::host();
        let (child, manifest, _) =
            greet(id, &self.launch, &host).map_err(|problem| problem.message)?;
        if manifest != self.manifest {
            return Err("its manifest is another one now: restart Hogsend".into());
        }
        match self.settings.get() {
            Some(settings) => create(&child, settings).map(|()| child),
            None => Ok(child),
        }
    }

    /// Takes note of a child's end, once.
    fn note_end(&self, child: &Arc<Child>) {
        let mut state = locked(&self.state);
        let current = state
            .child
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, child));
        if current {
            state.child = None;
            drop(state);
            self.rest(&child.ended().unwrap_or_default());
        }
    }

    fn rest(&self, why: &str) {
        let mut state = locked(&self.state);
        state.failures = (state.failures + 1).min(FAILURES_MAX);
        let pause = backoff::wait(state.failures, None);
        let pause = pause.to_std().unwrap_or_default();
        state.down = Some((Instant::now() + pause, why.to_owned()));
        drop(state);
        if let Some(failing) = self.outage.failed() {
            let plugin = &self.manifest.id;
            let pause_ms = pause.as_millis() as u64;
            let (failures, seconds) = (failing.failures, failing.seconds);
            tracing::error!(
                plugin,
                pause_ms,
                failures,
                seconds,
                "the process of plugin '{plugin}' {why}; the next call after a pause starts it again"
            );
        }
    }

    fn log_start(&self, child: &Child) {
        let plugin = &self.manifest.id;
        PLUGIN_STARTS.add(&[plugin], 1);
        let (pid, memory_mb) = (child.pid(), self.launch.memory_mb);
        if self.outage.lasts() {
            // It is logged once it answers.
            tracing::debug!(
                plugin,
                pid,
                "the process of plugin '{plugin}' is started again"
            );
            return;
        }
        tracing::info!(
            plugin,
            pid,
            memory_mb,
            "plugin '{plugin}' runs in a process of its own"
        );
    }
}

#[derive(Deserialize)]
struct Greeting<'a> {
    protocol: u32,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// Starts a child and agrees with it on the version of the protocol.
fn greet(
    name: &str,
    launch: &Launch,
    host: &HostInfo,
) -> Result<(Child, Manifest, LeftOut), Problem> {
    let source = launch.name();
    let refused = |code, message: String| Problem::new(code, format!("{source}: {message}"));
    tracing::debug!(plugin = source, "starting a plugin's process");
    let child = Child::start(name, launch).map_err(|error| {
        refused(
            "PLUGIN-021",
            format!("its process cannot be started ({error}): check that `hogsend` may be run"),
        )
    })?;
    let offer = json!({
        "protocol": { "min": PROTOCOL_MIN, "max": PROTOCOL },
        "host": host,
    });
    let answer = child.call(HANDSHAKE, offer.to_string().as_bytes(), START);
    let bytes = answer.map_err(|failure| match failure {
        Failure::Answered(Fault {
            data: Some(refusal),
            message,
            ..
        }) => Problem::known(&refusal.refusal, message),
        Failure::Answered(fault) => {
            refused("PLUGIN-021", format!("it refuses to start: {}", fault.message))
        }
        Failure::Deadline => refused(
            "PLUGIN-022",
            format!(
                "it did not say its manifest within {} seconds: remove it, or report this to its author",
                START.as_secs()
            ),
        ),
        Failure::Ended(End { why, .. }) | Failure::Unsendable(why) => {
            let fix = match launch.what {
                What::Library { .. } => "report this to the plugin's author",
                What::Program(_) => "run the program yourself to see why",
            };
            refused("PLUGIN-021", format!("it does not start, it {why}: {fix}"))
        }
    })?;
    let unreadable = |error: serde_json::Error| {
        refused(
            "PLUGIN-009",
            format!("its manifest cannot be read ({error}): report this to the plugin's author"),
        )
    };
    let greeting: Greeting<'_> = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if !(PROTOCOL_MIN..=PROTOCOL).contains(&greeting.protocol) {
        let message = format!(
            "it speaks version {} of the plugin protocol, this host {PROTOCOL_MIN} to {PROTOCOL}: use \
             another version of the plugin or of Hogsend",
            greeting.protocol
        );
        return Err(refused("PLUGIN-007", message));
    }
    let (manifest, left_out) =
        wire::read::<Manifest>(greeting.manifest.get().as_bytes()).map_err(unreadable)?;
    child.rename(&manifest.id);
    Ok((child, manifest, left_out))
}

/// Creates the plugin in a child.
fn create(child: &Child, settings: &[u8]) -> Result<(), String> {
    let params = [b"{\"settings\":", settings, b"}"].concat();
    match child.call(CREATE, &params, START) {
        Ok(_) => Ok(()),
        Err(Failure::Answered(fault)) => Err(fault.message),
        Err(Failure::Deadline) => Err(format!(
            "it did not take its settings within {} seconds",
            START.as_secs()
        )),
        Err(Failure::Ended(End { why, .. }) | Failure::Unsendable(why)) => Err(format!("it {why}")),
    }
}
