//! A call of a plugin, linked, loaded or in a child process: on its own thread, under a deadline.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hogsend_plugin_api::abi::Root;
use hogsend_plugin_api::call::{CallError, method};
use hogsend_plugin_api::export::Instance;
use hogsend_plugin_api::{Manifest, limits, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore};
use tracing::Instrument as _;

use super::bounded;
use super::flight;
use super::isolate::{Isolated, Unanswered, methods};
use crate::foreign::{self, Foreign, REASON_MAX};
use crate::telemetry::metrics::{PLUGIN_CALLS, PLUGIN_SECONDS};
use crate::telemetry::traces::spans;

/// Deadline of a single call. A call only computes; it never waits for I/O.
const DEADLINE: Duration = Duration::from_secs(limits::CALL_SECONDS.most as u64);
/// Deadline of a call of a plugin that declares it waits for its own connections.
const BLOCKING_DEADLINE: Duration = Duration::from_secs(limits::BLOCKING_SECONDS.most as u64);
/// Concurrent calls of one plugin. A call that hangs keeps its place, so that a broken plugin runs
/// out of places before the host runs out of threads.
const PLACES: usize = limits::CALLS_AT_ONCE.most;

/// A plugin call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin '{plugin}' {message}")]
pub struct PluginError {
    pub plugin: String,
    pub kind: ErrorKind,
    pub message: String,
    /// A command it asked for was begun, or may have been: the call may have had an effect.
    pub begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The call exceeded its deadline.
    Deadline,
    /// It was not called: calls that hang occupy all its places, or its process is not running.
    Busy,
    Panicked,
    /// The process it runs in, which is not the host's, ended during the call.
    Ended,
    /// Given the same answers, it issued other commands than before.
    Diverged,
    /// Its answer or our request violates the protocol.
    Protocol,
    /// It has no such method: it does not do that, or is older than this host.
    NoMethod,
}

impl ErrorKind {
    /// As a label of metrics.
    fn outcome(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::Panicked => "panicked",
            Self::Ended => "ended",
            Self::Diverged => "diverged",
            // A plugin that does not know a method has answered.
            Self::NoMethod => "ok",
            Self::Protocol => "error",
        }
    }
}

/// A plugin without the method does not do what the method is for.
pub(super) fn optional<T>(answer: Result<T, PluginError>) -> Result<Option<T>, PluginError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::NoMethod => Ok(None),
        Err(error) => Err(error),
    }
}

/// The three ways to call a plugin.
pub(super) enum Image {
    Linked(Box<dyn Instance>),
    Loaded {
        root: Root,
        instance: u64,
    },
    /// In a child process.
    Isolated(Arc<Isolated>),
}

/// How long a plugin may take to drop what it holds.
const END: Duration = Duration::from_secs(1);

impl Drop for Image {
    /// Nothing calls it any more. The code of a library stays loaded; what its plugin holds does not stay.
    fn drop(&mut self) {
        if let Self::Loaded { root, instance } = self {
            let (root, instance) = (*root, *instance);
            // A library of an earlier version does not know the method.
            let end = move || root.call(instance, method::PLUGIN_END, b"null").is_ok();
            let _ = bounded::within(END, end);
        }
    }
}

/// Why a call has no answer.
struct Failure {
    kind: ErrorKind,
    /// It continues a sentence about the plugin.
    message: String,
    /// The process ended with other calls in it, so this one may not be to blame.
    suspect: bool,
}

impl Failure {
    fn new(kind: ErrorKind, message: String) -> Self {
        Self {
            kind,
            message,
            suspect: false,
        }
    }
}

impl Image {
    fn call(&self, method: u32, input: &[u8], deadline: Duration) -> Result<Vec<u8>, Failure> {
        let answer = match self {
            Self::Linked(instance) => instance.call(method, input),
            Self::Loaded { root, instance } => root
                .call(*instance, method, input)
                .map_err(|bytes| read_error(&bytes)),
            Self::Isolated(process) => match process.call(method, input, deadline) {
                Ok(answer) => Ok(answer),
                Err(Unanswered::Error(fault)) => Err(fault.call_error()),
                Err(other) => return Err(unanswered(other, method, deadline)),
            },
        };
        answer.map_err(|error| {
            let kind = match error.code {
                CallError::PANICKED => ErrorKind::Panicked,
                CallError::DIVERGED => ErrorKind::Diverged,
                CallError::NO_METHOD => ErrorKind::NoMethod,
                _ => ErrorKind::Protocol,
            };
            Failure::new(kind, format!("failed at method {method}: {error}"))
        })
    }

    /// Whether a child process runs it, which keeps the deadline of its calls itself.
    fn child(&self) -> Option<&Isolated> {
        match self {
            Self::Isolated(process) => Some(process),
            Self::Linked(_) | Self::Loaded { .. } => None,
        }
    }
}

fn unanswered(why: Unanswered, method: u32, deadline: Duration) -> Failure {
    match why {
        Unanswered::Error(fault) => Failure::new(ErrorKind::Protocol, fault.message),
        Unanswered::Deadline => Failure::new(ErrorKind::Deadline, late(method, deadline)),
        Unanswered::Ended(end) => Failure {
            kind: ErrorKind::Ended,
            message: format!("{} at method {method}", end.why),
            suspect: !end.alone,
        },
        Unanswered::Down(why) => Failure::new(ErrorKind::Busy, why),
        Unanswered::Protocol(why) => {
            let message = format!("cannot be called, the input of method {method} {why}");
            Failure::new(ErrorKind::Protocol, message)
        }
    }
}

fn late(method: u32, deadline: Duration) -> String {
    format!("did not answer method {method} within {deadline:?}")
}

/// Decodes the error of a loaded plugin.
pub(super) fn read_error(bytes: &[u8]) -> CallError {
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        CallError::new(CallError::BAD_INPUT, "it answered with an unreadable error")
    })
}

/// A running plugin.
pub(super) struct Caller {
    pub manifest: Manifest,
    image: Arc<Image>,
    places: Arc<Semaphore>,
    /// Held alone by a call in whose process no other may run.
    alone: RwLock<()>,
    patience: Duration,
}

impl Caller {
    pub fn new(manifest: Manifest, image: Image) -> Self {
        Self {
            manifest,
            image: Arc::new(image),
            places: Arc::new(Semaphore::new(PLACES)),
            alone: RwLock::default(),
            patience: Duration::ZERO,
        }
    }

    /// Raises the deadline of calls of a plugin that waits for its own connections, and of
    /// conversations with any plugin, where this is longer than the default.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub fn patience(&self) -> Duration {
        self.patience
    }

    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> PluginError {
        PluginError {
            plugin: self.manifest.id.clone(),
            kind,
            // The message may contain the plugin's own text, and is stored with mails and runs.
            message: foreign::text(&message.into(), REASON_MAX),
            begun: false,
        }
    }

    /// Calls a method and sanitises its answer, which was received at `now`.
    pub async fn call<T: DeserializeOwned + Foreign>(
        &self,
        method: u32,
        input: &(impl Serialize + ?Sized),
        now: DateTime<Utc>,
    ) -> Result<T, PluginError> {
        let answer = self.ask(method, input).await?;
        self.admit(method, answer, now)
    }

    /// Sanitises an answer, which was received at `now`.
    pub(super) fn admit<T: Foreign>(
        &self,
        method: u32,
        mut answer: T,
        now: DateTime<Utc>,
    ) -> Result<T, PluginError> {
        answer.fits().map_err(|why| self.beyond(method, &why))?;
        answer.admit(now);
        Ok(answer)
    }

    /// The error of an answer that exceeds a limit.
    pub(super) fn beyond(&self, method: u32, why: &str) -> PluginError {
        let message = format!("gave an answer to method {method} that {why}");
        self.error(ErrorKind::Protocol, message)
    }

    /// Calls a method that a plugin may not have; `None` where it has not.
    pub async fn call_optional<T: DeserializeOwned + Foreign>(
        &self,
        method: u32,
        input: &(impl Serialize + ?Sized),
        now: DateTime<Utc>,
    ) -> Result<Option<T>, PluginError> {
        optional(self.call(method, input, now).await)
    }

    /// Calls a method and decodes its answer without sanitising it; the answer may ask for commands
    /// first. What this host cannot read of it is logged.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: u32,
        input: &(impl Serialize + ?Sized),
    ) -> Result<T, PluginError> {
        let input = serde_json::to_vec(input).map_err(|error| {
            self.error(
                ErrorKind::Protocol,
                format!("cannot be called, its input cannot be encoded: {error}"),
            )
        })?;
        let output = self.call_bytes(method, input).await?;
        limits::ANSWER
            .check(output.len())
            .map_err(|why| self.beyond(method, &why))?;
        let (answer, left_out) = wire::read(&output).map_err(|error| {
            self.error(
                ErrorKind::Protocol,
                format!("gave an answer to method {method} that cannot be decoded: {error}"),
            )
        })?;
        if !left_out.is_empty() {
            tracing::warn!(
                plugin = self.manifest.id,
                method,
                count = left_out.count,
                "a part of a plugin's answer is left out, because this host cannot read it: {}; the \
                 plugin may be newer than this host",
                left_out.named.join("; ")
            );
        }
        Ok(answer)
    }

    fn deadline(&self) -> Duration {
        if self.manifest.blocking {
            BLOCKING_DEADLINE.max(self.patience)
        } else {
            DEADLINE
        }
    }

    async fn call_bytes(&self, method: u32, input: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let plugin = &self.manifest.id;
        let name = methods::name(method);
        // A method that this table does not name has a number, which is not a label.
        let label = if matches!(name, Cow::Borrowed(_)) {
            &*name
        } else {
            "other"
        };
        let span = spans::plugin_call(plugin, label);
        let began = Instant::now();
        let answer = self
            .call_place(method, input)
            .instrument(span.clone())
            .await;
        PLUGIN_SECONDS.took(&[plugin], began.elapsed());
        let outcome = answer
            .as_ref()
            .err()
            .map_or("ok", |error| error.kind.outcome());
        span.record("outcome", outcome);
        PLUGIN_CALLS.add(&[plugin, label, outcome], 1);
        answer
    }

    async fn call_place(&self, method: u32, input: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let deadline = self.deadline();
        let place = self.places.clone().acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(deadline, place).await else {
            let message =
                format!("has {PLACES} calls that do not return: restart the host without it");
            return Err(self.error(ErrorKind::Busy, message));
        };
        let place = Arc::new(place);
        let called = match self.image.child() {
            Some(process) => {
                self.call_child(process, method, input, deadline, place)
                    .await
            }
            None => self.call_inside(method, input, deadline, place).await,
        };
        called.map_err(|failure| self.error(failure.kind, failure.message))
    }

    /// Calls code in this process. A call that hangs keeps its thread and its place.
    async fn call_inside(
        &self,
        method: u32,
        input: Vec<u8>,
        deadline: Duration,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Vec<u8>, Failure> {
        let image = self.image.clone();
        let enter = flight::enter();
        let call = tokio::task::spawn_blocking(move || {
            let _running = enter.map(|enter| enter());
            let output = image.call(method, &input, deadline);
            drop(place);
            output
        });
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => Err(abrupt(method, &ended)),
            Err(_) => Err(Failure::new(ErrorKind::Deadline, late(method, deadline))),
        }
    }

    /// Calls a child process, which ends itself with a call that hangs. Where it ended with several
    /// calls in it, each of them is called once more, alone: then it is certain which one ends it, and
    /// the others are answered. A plugin with its own connections may have had an effect, so it is not
    /// called again.
    ///
    /// A crash of the child does not end this process, so [`flight`] records nothing.
    async fn call_child(
        &self,
        process: &Isolated,
        method: u32,
        input: Vec<u8>,
        deadline: Duration,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Vec<u8>, Failure> {
        let input = Arc::new(input);
        let attempt = async || {
            let ready = process.ready(deadline).await;
            ready.map_err(|why| Failure::new(ErrorKind::Busy, why))?;
            let (image, input, place) = (self.image.clone(), input.clone(), place.clone());
            let call = tokio::task::spawn_blocking(move || {
                let output = image.call(method, &input, deadline);
                drop(place);
                output
            });
            call.await
                .unwrap_or_else(|ended| Err(abrupt(method, &ended)))
        };
        let first = {
            let _others = self.alone.read().await;
            attempt().await
        };
        match first {
            Err(failure) if failure.suspect && !self.manifest.blocking => {
                let _alone = self.alone.write().await;
                attempt().await
            }
            answer => answer,
        }
    }
}

fn abrupt(method: u32, ended: &tokio::task::JoinError) -> Failure {
    let message = format!("ended abruptly at method {method}: {ended}");
    Failure::new(ErrorKind::Panicked, message)
}
