//! One call of one plugin, linked or loaded: on a thread of its own, under a deadline.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Manifest;
use hogsend_plugin_api::abi::Root;
use hogsend_plugin_api::call::CallError;
use hogsend_plugin_api::export::Instance;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::flight;
use crate::foreign::{self, ANSWER_MAX, Foreign, REASON_MAX};

/// Bound of a single call. A call computes; it never waits for anything.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bound of a call of a plugin that says it waits for a connection of its own.
const BLOCKING_DEADLINE: Duration = Duration::from_secs(60);
/// Calls of one plugin at once. One that hangs keeps its place, so that a broken plugin runs out of
/// places and not the host out of threads.
const PLACES: usize = 32;

/// A plugin gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin '{plugin}' {message}")]
pub struct PluginError {
    pub plugin: String,
    pub kind: ErrorKind,
    pub message: String,
    /// Something it asked for was begun, or may have been: the call may have had an effect.
    pub begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It took too long.
    Deadline,
    /// All its places are taken by calls that hang.
    Busy,
    Panicked,
    /// It asked for something else than before, given the same answers.
    Diverged,
    /// Its answer, or our question, is not in the agreed form.
    Protocol,
}

/// The two ways to reach a plugin.
pub(super) enum Image {
    Linked(Box<dyn Instance>),
    Loaded { root: Root, instance: u64 },
}

impl Image {
    fn call(&self, method: u32, input: &[u8]) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Linked(instance) => instance.call(method, input),
            Self::Loaded { root, instance } => root
                .call(*instance, method, input)
                .map_err(|bytes| read_error(&bytes)),
        }
    }
}

/// Reads the error a loaded plugin answered with.
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
    patience: Duration,
}

impl Caller {
    pub fn new(manifest: Manifest, image: Image) -> Self {
        Self {
            manifest,
            image: Arc::new(image),
            places: Arc::new(Semaphore::new(PLACES)),
            patience: Duration::ZERO,
        }
    }

    /// A call of a plugin that waits for a connection of its own, and a conversation with any, may
    /// take this long where that is more than usual.
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
            // It may hold the plugin's own words, and is stored with mails and runs.
            message: foreign::text(&message.into(), REASON_MAX),
            begun: false,
        }
    }

    /// Calls a method and admits its answer, which came at `now`.
    pub async fn call<T: DeserializeOwned + Foreign>(
        &self,
        method: u32,
        input: &(impl Serialize + ?Sized),
        now: DateTime<Utc>,
    ) -> Result<T, PluginError> {
        let mut answer: T = self.ask(method, input).await?;
        answer.admit(now);
        Ok(answer)
    }

    /// Calls a method and reads its answer as it is, which may ask for something first.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: u32,
        input: &(impl Serialize + ?Sized),
    ) -> Result<T, PluginError> {
        let input = serde_json::to_vec(input).map_err(|error| {
            self.error(ErrorKind::Protocol, format!("cannot be asked: {error}"))
        })?;
        let output = self.call_bytes(method, input).await?;
        if output.len() > ANSWER_MAX {
            let message = format!(
                "answered method {method} with {} bytes; at most {ANSWER_MAX} are taken",
                output.len()
            );
            return Err(self.error(ErrorKind::Protocol, message));
        }
        serde_json::from_slice(&output).map_err(|error| {
            self.error(
                ErrorKind::Protocol,
                format!("answered method {method} in another form: {error}"),
            )
        })
    }

    fn deadline(&self) -> Duration {
        if self.manifest.blocking {
            BLOCKING_DEADLINE.max(self.patience)
        } else {
            DEADLINE
        }
    }

    async fn call_bytes(&self, method: u32, input: Vec<u8>) -> Result<Vec<u8>, PluginError> {
        let deadline = self.deadline();
        let place = self.places.clone().acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(deadline, place).await else {
            let message =
                format!("has {PLACES} calls that do not end: restart the host without it");
            return Err(self.error(ErrorKind::Busy, message));
        };
        let image = self.image.clone();
        let enter = flight::enter();
        let call = tokio::task::spawn_blocking(move || {
            let _running = enter.map(|enter| enter());
            let output = image.call(method, &input);
            drop(place);
            output
        });
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(Ok(output))) => Ok(output),
            Ok(Ok(Err(error))) => {
                let kind = match error.code {
                    CallError::PANICKED => ErrorKind::Panicked,
                    CallError::DIVERGED => ErrorKind::Diverged,
                    _ => ErrorKind::Protocol,
                };
                Err(self.error(kind, format!("failed at method {method}: {error}")))
            }
            Ok(Err(ended)) => Err(self.error(
                ErrorKind::Panicked,
                format!("ended abruptly at method {method}: {ended}"),
            )),
            Err(_) => Err(self.error(
                ErrorKind::Deadline,
                format!("did not answer method {method} within {deadline:?}"),
            )),
        }
    }
}
