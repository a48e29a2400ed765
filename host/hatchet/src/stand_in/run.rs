//! A run of a workflow, with the log of a durable task.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::expression;
use crate::proto::v1;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// A run, as a test sees it.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: String,
    pub workflow: String,
    pub input: Value,
    pub metadata: Map<String, Value>,
    pub event_key: Option<String>,
    pub status: Status,
    pub evicted: bool,
    /// How often it was assigned.
    pub invocation: i32,
    pub retry_count: i32,
    pub output: Option<Value>,
    pub error: Option<String>,
    /// The lines of its log.
    pub lines: Vec<String>,
    /// The log of a durable task: memos and waits.
    pub entries: Vec<Entry>,
    /// How often it ended with COMPLETED.
    pub completions: u32,
    /// The worker that it is assigned to.
    pub worker: Option<String>,
    pub(super) user_retries: i32,
    pub(super) lost_workers: i32,
    pub(super) node: i64,
    pub(super) order: i64,
    pub(super) begun: Duration,
    pub(super) queued: Duration,
}

/// A place in the log of a durable task.
#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: Kind,
    /// The payload of its end.
    pub end: Option<Value>,
    pub(super) order: Option<i64>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Memo { key: Vec<u8> },
    Wait { conditions: Vec<Condition> },
}

/// What a wait waits for.
#[derive(Clone, Debug)]
pub struct Condition {
    pub name: String,
    pub group: String,
    pub expression: String,
    pub what: What,
    /// What it was met with.
    pub met: Option<Value>,
}

#[derive(Clone, Debug)]
pub enum What {
    /// Due at; None for a duration that the engine cannot read.
    Sleep { text: String, due: Option<Duration> },
    Event {
        key: String,
        scope: Option<String>,
        since: Option<SystemTime>,
    },
}

/// An event that was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub key: String,
    pub payload: Value,
    pub scope: Option<String>,
    pub at: SystemTime,
}

impl Condition {
    /// What a replay is compared with: not the group, the scope and the time.
    fn fingerprint(&self) -> String {
        let what = match &self.what {
            What::Sleep { text, .. } => format!("sleep({text})"),
            What::Event { key, .. } => format!("event({key})"),
        };
        format!("{}{}{what}", self.expression, self.name)
    }

    pub(super) fn meets(&mut self, event: &Pushed) -> bool {
        let What::Event { key, scope, .. } = &self.what else {
            return false;
        };
        let fits = *key == event.key
            && scope
                .as_ref()
                .is_none_or(|it| Some(it) == event.scope.as_ref());
        let fits = fits && self.holds(&event.payload) && self.met.is_none();
        if fits {
            self.met = Some(event.payload.clone());
        }
        fits
    }

    /// Whether the expression is true of a payload. Only the client's own expressions are understood here; others
    /// never are.
    fn holds(&self, payload: &Value) -> bool {
        self.expression.is_empty()
            || expression::parse_after(&self.expression).is_some_and(|(field, text)| {
                payload[field].as_str().is_some_and(|it| it > text.as_str())
            })
    }

    pub(super) fn slept(&mut self, now: Duration) -> bool {
        let What::Sleep {
            text,
            due: Some(due),
        } = &self.what
        else {
            return false;
        };
        if self.met.is_some() || *due > now {
            return false;
        }
        self.met = Some(json!({ "sleep_duration": text }));
        true
    }
}

impl Kind {
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::Memo { key } => format!("memo({})", String::from_utf8_lossy(key)),
            Self::Wait { conditions } => {
                let mut all: Vec<_> = conditions.iter().map(Condition::fingerprint).collect();
                all.sort();
                all.join(", ")
            }
        }
    }

    /// The payload of a wait of which each group has a condition that is met.
    pub(super) fn end(&self) -> Option<Value> {
        let Self::Wait { conditions } = self else {
            return None;
        };
        let met = |group: &str| {
            conditions
                .iter()
                .any(|it| it.group == group && it.met.is_some())
        };
        if conditions.is_empty() || !conditions.iter().all(|it| met(&it.group)) {
            return None;
        }
        let all = conditions.iter().filter_map(|it| {
            let value = it.met.clone()?;
            Some((it.name.clone(), json!([value])))
        });
        let all: Map<String, Value> = all.collect();
        Some(json!({ "CREATE": all }))
    }
}

impl Run {
    pub fn is_over(&self) -> bool {
        !matches!(self.status, Status::Queued | Status::Running)
    }

    /// The waits that are not over.
    pub fn open_waits(&self) -> usize {
        let open = |it: &&Entry| it.end.is_none() && matches!(it.kind, Kind::Wait { .. });
        self.entries.iter().filter(open).count()
    }

    /// Marks the place as over; true where it was not.
    pub(super) fn satisfy(&mut self, place: usize) -> bool {
        let Some(entry) = self.entries.get_mut(place) else {
            return false;
        };
        if entry.end.is_some() {
            return false;
        }
        entry.end = entry.kind.end();
        if entry.end.is_none() {
            return false;
        }
        self.order += 1;
        entry.order = Some(self.order);
        true
    }

    pub(super) fn details(&self) -> v1::GetRunDetailsResponse {
        let status = match self.status {
            Status::Queued => v1::RunStatus::Queued,
            Status::Running => v1::RunStatus::Running,
            Status::Completed => v1::RunStatus::Completed,
            Status::Failed => v1::RunStatus::Failed,
            Status::Cancelled => v1::RunStatus::Cancelled,
        };
        let task = v1::TaskRunDetail {
            external_id: self.id.clone(),
            status: status.into(),
            // A completed task has an empty error.
            error: Some(self.error.clone().unwrap_or_default()),
            output: self.output.as_ref().map(|it| it.to_string().into_bytes()),
            readable_id: "run".to_owned(),
            is_evicted: self.evicted,
        };
        v1::GetRunDetailsResponse {
            input: self.input.to_string().into_bytes(),
            status: status.into(),
            task_runs: [(self.id.clone(), task)].into(),
            done: self.is_over(),
            additional_metadata: Value::Object(self.metadata.clone())
                .to_string()
                .into_bytes(),
            is_evicted: self.evicted,
        }
    }
}

/// A value as Postgres's jsonb writes it: keys sorted by length, then by bytes, with blanks.
pub(super) fn jsonb(value: &Value) -> String {
    match value {
        Value::Array(all) => {
            let all: Vec<_> = all.iter().map(jsonb).collect();
            format!("[{}]", all.join(", "))
        }
        Value::Object(all) => {
            let mut all: Vec<_> = all.iter().collect();
            all.sort_by_key(|(key, _)| (key.len(), key.as_str()));
            let all: Vec<_> = all
                .into_iter()
                .map(|(key, it)| format!("{}: {}", Value::String(key.clone()), jsonb(it)))
                .collect();
            format!("{{{}}}", all.join(", "))
        }
        other => other.to_string(),
    }
}
