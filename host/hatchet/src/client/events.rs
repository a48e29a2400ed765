//! Events, which wake waiting tasks and start runs; and lines of a task's log.

use prost::Message;
use serde_json::{Map, Value};

use super::{Client, LONG, SHORT};
use crate::error::CallError;
use crate::proto::{BulkPushEventRequest, PushEventRequest, PutLogRequest};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Without the namespace.
    pub key: String,
    /// The engine ignores events whose payload is not an object.
    pub payload: Map<String, Value>,
    /// An event pushed before a wait begins reaches that wait only with the scope that the wait has, which is
    /// the key.
    pub scope: Option<String>,
}

impl Event {
    /// An event that [`Wait::or_event`](crate::Wait::or_event) finds.
    pub fn new(key: impl Into<String>, payload: Map<String, Value>) -> Self {
        let key = key.into();
        Self {
            scope: Some(key.clone()),
            key,
            payload,
        }
    }
}

/// A push that failed midway. The engine knows no duplicates: repeat the events from `pushed` on only.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error} ({pushed} events before it were pushed)")]
pub struct PushFailed {
    /// How many events, from the front, were pushed.
    pub pushed: usize,
    pub error: CallError,
}

/// The level of a line of a task's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Info,
    Warn,
    Error,
}

/// The most events in one call: the engine refuses more.
const CALL_EVENTS: usize = 1000;
/// The most bytes of the events in one call; the engine takes 4 MiB.
const CALL_BYTES: usize = 3 << 20;
/// The most characters of a line of a task's log.
const LINE: usize = 10_000;

impl Client {
    /// Pushes events in their order, in calls of at most 1,000 events and 3 MiB.
    ///
    /// # Errors
    /// Where a call fails; says how many events were pushed before it. An event above 3 MiB fails alone.
    pub async fn push(&self, events: &[Event]) -> Result<(), PushFailed> {
        let requests = events.iter().map(|it| self.push_request(it)).collect();
        let mut pushed = 0;
        for call in calls(requests, CALL_EVENTS, CALL_BYTES, Message::encoded_len) {
            let count = call.len();
            let mut client = self.events();
            let call = client.bulk_push(BulkPushEventRequest { events: call });
            let result = self.link.call("BulkPush", LONG, call).await;
            result.map_err(|error| PushFailed { pushed, error })?;
            pushed += count;
        }
        Ok(())
    }

    fn push_request(&self, event: &Event) -> PushEventRequest {
        PushEventRequest {
            key: self.namespace.add(&event.key),
            // Never empty: an empty payload is accepted and breaks the engine's queue.
            payload: Value::Object(event.payload.clone()).to_string(),
            event_timestamp: Some((self.link.now)().into()),
            additional_metadata: None,
            scope: event.scope.as_deref().map(|it| self.namespace.add(it)),
        }
    }

    /// Adds a line to the log of a task. Longer ones are cut at 10,000 characters.
    ///
    /// # Errors
    /// Where the engine is away or does not know the task.
    pub async fn put_log(
        &self,
        task: &str,
        retry_count: i32,
        level: LogLevel,
        message: &str,
    ) -> Result<(), CallError> {
        if message.is_empty() {
            return Ok(());
        }
        let mut client = self.events();
        let call = client.put_log(PutLogRequest {
            task_run_external_id: task.to_owned(),
            created_at: Some((self.link.now)().into()),
            message: message.chars().take(LINE).collect(),
            level: Some(
                match level {
                    LogLevel::Info => "INFO",
                    LogLevel::Warn => "WARN",
                    LogLevel::Error => "ERROR",
                }
                .to_owned(),
            ),
            metadata: "{}".to_owned(),
            task_retry_count: Some(retry_count),
        });
        self.link.call("PutLog", SHORT, call).await?;
        Ok(())
    }
}

/// Splits things into calls of at most so many things and bytes; a thing that is larger goes alone.
pub(super) fn calls<T>(
    all: Vec<T>,
    most: usize,
    bytes: usize,
    size: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let mut calls: Vec<Vec<T>> = Vec::new();
    let mut used = 0;
    for thing in all {
        // The tag and the length of a message in a list take up to six bytes.
        let own = size(&thing) + 6;
        match calls.last_mut() {
            Some(call) if call.len() < most && used + own <= bytes => {
                call.push(thing);
                used += own;
            }
            _ => {
                calls.push(vec![thing]);
                used = own;
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn calls_keep_the_order_and_both_limits() {
        let sizes = vec![10, 10, 10, 100, 5, 5];
        let split = calls(sizes.clone(), 2, 50, |it| *it);
        assert_eq!(split, [vec![10, 10], vec![10], vec![100], vec![5, 5]]);
        assert_eq!(split.concat(), sizes);
        assert_eq!(calls(vec![1; 2001], 1000, 1 << 20, |it| *it).len(), 3);
        assert!(calls(Vec::<usize>::new(), 2, 50, |it| *it).is_empty());
    }
}
