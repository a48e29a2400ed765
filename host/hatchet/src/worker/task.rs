//! A task that the engine assigned to this worker, as its handler sees it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::durable::Run;
use super::log::Logs;
use crate::client::Client;
use crate::error::CallError;

/// What handles the tasks of a worker.
///
/// A handler's future is dropped at any `await` when the engine cancels or takes away its task, and a durable
/// one whenever it waits long: it then starts anew from the top, with the same input, when the wait is over
/// ("replay"). Its requests ([`Durable::memo`], [`Durable::wait`]) must come in the same order with the same
/// arguments each time; the engine then answers those of the past at once.
pub trait Tasks: Send + Sync + 'static {
    /// Runs a task of a [durable](crate::Kind::Durable) workflow to its end.
    fn durable(&self, task: Durable) -> impl Future<Output = Result<Value, Failed>> + Send;

    /// Runs a task of a [normal](crate::Kind::Normal) workflow.
    fn normal(&self, task: Normal) -> impl Future<Output = Result<Value, Failed>> + Send;
}

/// Why a task failed, as the engine records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub message: String,
    /// Whether the engine may try again, if the workflow has retries left.
    pub retry: bool,
}

impl Failed {
    /// A failure that another attempt may not have.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry: true,
        }
    }

    /// A failure that every attempt would have.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retry: false,
        }
    }
}

/// What is known of a task.
#[derive(Clone, Debug)]
pub struct Task {
    /// The task's id on the engine. In a workflow of one task it is also the run's id, which
    /// [`Client::trigger`](crate::Client::trigger) returned.
    pub id: String,
    /// The workflow's name, in lower case and without the namespace.
    pub workflow: String,
    /// What the run was triggered with; for a run that an event started, its payload. Integers above 2^53 were
    /// rounded by the engine.
    pub input: Value,
    /// The metadata of the trigger, with `traceparent` and others of the engine's.
    pub metadata: Value,
    /// 0 for the first attempt. Counts attempts after failures and after lost workers.
    pub retry_count: i32,
    /// The event that started the run, without the namespace.
    pub event_key: Option<String>,
}

/// A durable task, while its handler runs.
#[derive(Clone)]
pub struct Durable {
    pub(super) task: Arc<Task>,
    pub(super) run: Arc<Run>,
    pub(super) logs: Logs,
}

/// A normal task, while its handler runs.
#[derive(Clone)]
pub struct Normal {
    pub(super) task: Arc<Task>,
    pub(super) client: Client,
    pub(super) logs: Logs,
}

impl Deref for Durable {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.task
    }
}

impl Deref for Normal {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.task
    }
}

/// What a durable task waits for: time, or an event if it comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Part of what a replay is compared with: take it from the input, a constant or a memo, never from the clock.
    /// The engine looks once a second, so a wait takes up to a second more, under load a few.
    pub sleep: Duration,
    pub event: Option<EventWait>,
    /// Shown in the engine's dashboard.
    pub label: Option<String>,
}

/// An event to wait for. The engine compares it with each event of its key, so a key that few tasks wait for
/// (one for each run) is cheap and a shared one is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWait {
    /// Without the namespace. Part of what a replay is compared with.
    pub key: String,
    /// Events pushed before the wait count from this time of the engine's clock on.
    pub since: SystemTime,
    /// Only events count whose payload has, in the field of this name, a text that comes after this one.
    pub after: Option<(String, String)>,
}

impl Wait {
    pub fn sleep(sleep: Duration) -> Self {
        Self {
            sleep,
            event: None,
            label: None,
        }
    }

    /// Ends early at an event of the key that was pushed after `since`
    /// ([`Event`](crate::Event), whose scope must be its key, as [`Event::new`](crate::Event::new) makes it).
    pub fn or_event(mut self, key: impl Into<String>, since: SystemTime) -> Self {
        let key = key.into();
        self.event = Some(EventWait {
            key,
            since,
            after: None,
        });
        self
    }

    /// Of these events, only those count whose payload has in `field` a text that comes after `text`, byte by byte. So
    /// that is decided by the clock of whoever pushes, and not by the engine's. Part of what a replay is compared with.
    pub fn after(mut self, field: impl Into<String>, text: impl Into<String>) -> Self {
        if let Some(event) = &mut self.event {
            event.after = Some((field.into(), text.into()));
        }
        self
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Woke {
    /// The time has passed.
    Slept,
    /// The event came; its payload.
    Event(Value),
}

impl Durable {
    /// How often the task has begun: 1 at first, one more after each long wait, restart and retry.
    pub fn invocation(&self) -> i32 {
        self.run.invocation
    }

    /// Agrees on a value with the past: stores `value` and returns it, or in a replay returns the value that was
    /// stored first. For clocks, random ids, and whatever a later `wait` depends on. The engine stores JSON: keys
    /// come back sorted, numbers above 2^53 rounded.
    ///
    /// # Errors
    /// Where the stored value does not fit `T`, for example because the code changed.
    pub async fn memo<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        value: T,
    ) -> Result<T, Failed> {
        let bytes = serde_json::to_vec(&value)
            .map_err(|error| Failed::permanent(format!("the value of memo '{key}': {error}")))?;
        let Some(stored) = self.run.memo(key, bytes).await else {
            return Ok(value);
        };
        serde_json::from_slice(&stored).map_err(|error| {
            Failed::permanent(format!("the stored value of memo '{key}': {error}"))
        })
    }

    /// Waits. A wait of more than a few seconds drops this future, and the handler starts anew when it is over.
    pub async fn wait(&self, wait: &Wait) -> Woke {
        self.run.wait(wait).await
    }

    /// Adds a line to the task's log on the engine, soon and without waiting; a replay adds it again. What the
    /// engine does not take is dropped.
    pub fn log(&self, message: impl Into<String>) {
        self.logs.add(&self.task, message.into());
    }
}

impl Normal {
    /// As [`Durable::log`].
    pub fn log(&self, message: impl Into<String>) {
        self.logs.add(&self.task, message.into());
    }

    /// Gives this attempt more time before it times out.
    ///
    /// # Errors
    /// Where the engine is away or does not know the task any more.
    pub async fn extend(&self, by: Duration) -> Result<(), CallError> {
        self.client.extend_timeout(&self.task.id, by).await
    }
}
