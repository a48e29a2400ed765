//! A workflow of one task, as the engine is told of it.

use std::time::Duration;

use crate::durations;
use crate::namespace::{NameProblem, Namespace};
use crate::proto::v1;

/// A workflow with one task. The engine makes a new version of it only where something changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// Written in lower case on the engine.
    pub name: String,
    pub description: String,
    pub kind: Kind,
    /// The longest that one attempt runs; for a durable task the longest wait in it. Later engines count the time
    /// while it is evicted.
    pub timeout: Duration,
    /// The longest that the task may wait for a worker before the engine gives it up.
    pub schedule_timeout: Duration,
    /// How often the engine tries again after a failure. A lost worker is not a failure.
    pub retries: u16,
    /// The wait between retries, a factor and its most: `min(most, factor^retry s)`. None for at once.
    pub backoff: Option<(f32, Duration)>,
    /// The keys of events that start a run each.
    pub events: Vec<String>,
    /// Where set, of the triggers with one key only the first within this time starts a run
    /// ([`Trigger::key`](crate::Trigger::key)). Needs v0.98 of the engine; an older one starts a run for each.
    pub once_per_key: Option<Duration>,
}

/// What the engine does with a task while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Waits are kept by the engine and replayed. Uses a slot of the worker's durable slots.
    Durable,
    /// Runs to its end at once. Uses one of the worker's slots.
    Normal,
}

/// Where [`Trigger::key`](crate::Trigger::key) is in the metadata of a run.
pub(crate) const ONCE: &str = "once_key";

const YEAR: Duration = Duration::from_secs(8760 * 3600);
const MONTH: Duration = Duration::from_secs(720 * 3600);

impl Workflow {
    /// A durable task that may run for a year, wait for a worker for 30 days, and is not retried.
    pub fn durable(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            kind: Kind::Durable,
            timeout: YEAR,
            schedule_timeout: MONTH,
            retries: 0,
            backoff: None,
            events: Vec::new(),
            once_per_key: None,
        }
    }

    /// A normal task that may run for ten minutes, wait for a worker for 30 days, and is not retried.
    pub fn normal(name: impl Into<String>) -> Self {
        Self {
            kind: Kind::Normal,
            timeout: Duration::from_secs(600),
            ..Self::durable(name)
        }
    }

    /// The id by which the engine finds workers for the task.
    pub(crate) fn action(&self, namespace: &Namespace) -> Result<String, NameProblem> {
        let name = namespace.workflow(&self.name)?;
        Ok(format!("{name}:{TASK}"))
    }

    pub(crate) fn request(
        &self,
        namespace: &Namespace,
    ) -> Result<v1::CreateWorkflowVersionRequest, NameProblem> {
        let slot = match self.kind {
            Kind::Durable => DURABLE_SLOT,
            Kind::Normal => SLOT,
        };
        let task = v1::CreateTaskOpts {
            readable_id: TASK.to_owned(),
            action: self.action(namespace)?,
            timeout: durations::text(self.timeout),
            inputs: "{}".to_owned(),
            retries: self.retries.into(),
            backoff_factor: self.backoff.map(|it| it.0),
            backoff_max_seconds: self
                .backoff
                .map(|it| i32::try_from(it.1.as_secs()).unwrap_or(i32::MAX)),
            schedule_timeout: Some(durations::text(self.schedule_timeout)),
            is_durable: self.kind == Kind::Durable,
            slot_requests: [(slot.to_owned(), 1)].into(),
        };
        Ok(v1::CreateWorkflowVersionRequest {
            name: namespace.workflow(&self.name)?,
            description: self.description.clone(),
            event_triggers: self.events.iter().map(|it| namespace.add(it)).collect(),
            tasks: vec![task],
            idempotency: self.once_per_key.map(|ttl| v1::IdempotencyConfig {
                expression: format!("additional_metadata.{ONCE}"),
                ttl_ms: i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX),
                method: Some(v1::IdempotencyMethod::Ttl.into()),
            }),
        })
    }
}

/// The one task of each workflow.
pub(crate) const TASK: &str = "run";

pub(crate) const DURABLE_SLOT: &str = "durable";
pub(crate) const SLOT: &str = "default";
