//! The conversation about durable tasks.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::engine::{Engine, State};
use super::rules::strikes;
use super::run::{Condition, Entry, Kind, Run, What, jsonb};
use super::sessions::server_evict;
use crate::durations;
use crate::proto::v1;
use crate::proto::v1::durable_task_request::Message as Ask;
use crate::proto::v1::durable_task_response::Message;

impl Engine {
    /// Handles a request. What the engine cannot handle it does not answer.
    pub fn ask(&self, session: u64, message: Ask) {
        let now = self.clock.now();
        let stall = self.timing.stall;
        self.change(|state| {
            if state.sessions.get(&session).is_none_or(|it| it.mute) {
                return;
            }
            match message {
                Ask::RegisterWorker(it) => state.tell(
                    session,
                    Message::RegisterWorker(v1::DurableTaskResponseRegisterWorker {
                        worker_id: it.worker_id,
                    }),
                ),
                Ask::Memo(it) => {
                    let kind = Kind::Memo { key: it.key };
                    // The store is jsonb: what is no JSON is not stored.
                    let value = it.payload.and_then(|it| serde_json::from_slice(&it).ok());
                    let task = it.durable_task_external_id;
                    state.request(session, &task, it.invocation_count, kind, value, now);
                }
                Ask::WaitFor(it) => {
                    let given = it.wait_for_conditions.unwrap_or_default();
                    let Some(conditions) = conditions(given, now) else {
                        return;
                    };
                    let kind = Kind::Wait { conditions };
                    let task = it.durable_task_external_id;
                    state.request(session, &task, it.invocation_count, kind, None, now);
                }
                Ask::EvictInvocation(it) => {
                    state.evict(session, &it.durable_task_external_id, it.invocation_count);
                    state.unstrand(&it.durable_task_external_id, now);
                }
                Ask::WorkerStatus(it) => state.status(session, &it.waiting_entries, now, stall),
            }
        });
    }
}

/// The conditions of a wait; None where a group's id is no UUID.
fn conditions(given: v1::DurableEventListenerConditions, now: Duration) -> Option<Vec<Condition>> {
    let make = |base: Option<v1::BaseMatchCondition>, what: What| {
        let base = base.unwrap_or_default();
        let group = uuid::Uuid::parse_str(&base.or_group_id).ok()?.to_string();
        Some(Condition {
            name: base.readable_data_key,
            group,
            expression: base.expression,
            what,
            met: None,
        })
    };
    let sleeps = given.sleep_conditions.into_iter().map(|it| {
        let due = durations::parse(&it.sleep_for).map(|it| now + it);
        make(
            it.base,
            What::Sleep {
                text: it.sleep_for,
                due,
            },
        )
    });
    let sleeps: Vec<_> = sleeps.collect::<Option<_>>()?;
    let events = given.user_event_conditions.into_iter().map(|it| {
        let what = What::Event {
            key: it.user_event_key,
            scope: it.event_scope,
            since: it
                .consider_events_since
                .and_then(|it| SystemTime::try_from(it).ok()),
        };
        make(it.base, what)
    });
    let events: Vec<_> = events.collect::<Option<_>>()?;
    Some(sleeps.into_iter().chain(events).collect())
}

impl State {
    fn tell(&self, session: u64, message: Message) {
        if let Some(session) = self.sessions.get(&session) {
            session.send(message);
        }
    }

    /// Whether the invocation is the current one; tells a worker where it is not.
    fn is_current(&self, session: u64, task: &str, invocation: i32) -> bool {
        let Some(run) = self.runs.get(task) else {
            return false;
        };
        if run.invocation == invocation {
            return true;
        }
        let reason = format!(
            "invocation count mismatch for task {task}: server has {}, worker sent {invocation}",
            run.invocation
        );
        self.tell(session, server_evict(task, invocation, reason));
        false
    }

    /// A memo or a wait: the next place of the log.
    fn request(
        &mut self,
        session: u64,
        task: &str,
        invocation: i32,
        kind: Kind,
        memo: Option<Value>,
        now: Duration,
    ) {
        self.routes.insert(task.to_owned(), session);
        self.recall(task);
        if !self.is_current(session, task, invocation) {
            return;
        }
        let Some(run) = self.runs.get_mut(task) else {
            return;
        };
        let place = usize::try_from(run.node).unwrap_or_default();
        let node = run.node + 1;
        let known = run.entries.get(place);
        if let Some(entry) = known
            && entry.kind.fingerprint() != kind.fingerprint()
        {
            let text = format!(
                "non-determinism error in task {task} at node {node}:1\n  expected: any of: {}\n  received: {}",
                entry.kind.fingerprint(),
                kind.fingerprint()
            );
            let reference = Some(reference(task, invocation, node));
            self.tell(
                session,
                Message::Error(v1::DurableTaskErrorResponse {
                    r#ref: reference,
                    error_type: v1::DurableTaskErrorType::Nondeterminism.into(),
                    error_message: text,
                }),
            );
            return;
        }
        let existed = known.is_some();
        if !existed {
            let end = memo;
            run.entries.push(Entry {
                kind,
                end,
                order: None,
            });
        }
        run.node = node;
        let entry = run.entries[place].clone();
        let lost = strikes(&mut self.faults.lose_answers);
        if !lost {
            let reference = Some(reference(task, invocation, node));
            let answer = match &entry.kind {
                Kind::Memo { .. } => Message::MemoAck(v1::DurableTaskEventMemoAckResponse {
                    r#ref: reference,
                    memo_already_existed: existed,
                    memo_result_payload: entry.end.as_ref().map(|it| jsonb(it).into_bytes()),
                }),
                Kind::Wait { .. } => {
                    Message::WaitForAck(v1::DurableTaskEventWaitForAckResponse { r#ref: reference })
                }
            };
            self.tell(session, answer);
        }
        if entry.end.is_some() {
            let wait = matches!(entry.kind, Kind::Wait { .. });
            if !wait || !strikes(&mut self.faults.late_ends) {
                self.deliver(session, task, place, now);
            }
        } else if matches!(entry.kind, Kind::Wait { .. }) {
            self.find_past(task, place, now);
        }
    }

    /// Events pushed before a wait count only where it has both a scope and a time.
    fn find_past(&mut self, task: &str, place: usize, now: Duration) {
        let events = std::mem::take(&mut self.events);
        let run = self.runs.get_mut(task);
        if let Some(Entry {
            kind: Kind::Wait { conditions },
            ..
        }) = run.and_then(|it| it.entries.get_mut(place))
        {
            for condition in conditions {
                let What::Event {
                    scope: Some(_),
                    since: Some(since),
                    ..
                } = condition.what.clone()
                else {
                    continue;
                };
                let past = events
                    .iter()
                    .filter(|it| it.at >= since && it.payload.is_object());
                for event in past {
                    condition.meets(event);
                }
            }
        }
        self.events = events;
        self.satisfied(task, place, now);
    }

    /// A wait may be over: gives an evicted task back, or tells the worker of another.
    pub fn satisfied(&mut self, task: &str, place: usize, now: Duration) {
        let Some(run) = self.runs.get_mut(task) else {
            return;
        };
        if !run.satisfy(place) {
            return;
        }
        if run.evicted {
            if !strikes(&mut self.faults.strand_evicted) {
                self.requeue(task, now);
            }
        } else if let Some(session) = self.routes.get(task).copied() {
            self.deliver(session, task, place, now);
        }
    }

    /// Sends the end of a place.
    fn deliver(&mut self, session: u64, task: &str, place: usize, now: Duration) {
        let counts = self.rules.counts_ends_per_stream;
        let Some(run) = self.runs.get(task) else {
            return;
        };
        let Some((end, order)) = end_of(run, place) else {
            return;
        };
        let invocation = run.invocation;
        let Some(session) = self.sessions.get_mut(&session) else {
            return;
        };
        match order {
            Some(order) if counts => session.release(task, invocation, order, end, now),
            _ => session.send(end),
        }
    }

    /// Takes a task out of its worker's hands. The engine does not look at the invocation.
    fn evict(&mut self, session: u64, task: &str, invocation: i32) {
        let refuse = strikes(&mut self.faults.refuse_evictions);
        let attempt = self.recall(task);
        let Some(run) = self.runs.get_mut(task).filter(|_| !refuse) else {
            let error_message = match refuse {
                true => "failed to evict task: the stand-in refuses".to_owned(),
                false => "task not found".to_owned(),
            };
            let error = v1::DurableTaskErrorResponse {
                r#ref: Some(reference(task, invocation, 0)),
                error_type: v1::DurableTaskErrorType::Unspecified.into(),
                error_message,
            };
            return self.tell(session, Message::Error(error));
        };
        if run.worker.is_some() && !run.is_over() && run.retry_count == attempt {
            run.worker = None;
            run.evicted = true;
        }
        if !strikes(&mut self.faults.lose_eviction_answers) {
            let ack = v1::DurableTaskEvictionAckResponse {
                invocation_count: invocation,
                durable_task_external_id: task.to_owned(),
            };
            self.tell(session, Message::EvictionAck(ack));
        }
    }

    /// Without the rule: a task evicted after the end of its last wait is given back.
    fn unstrand(&mut self, task: &str, now: Duration) {
        let strands = self.rules.strands_hasty_evictions;
        let over = self
            .runs
            .get(task)
            .is_some_and(|run| run.evicted && run.open_waits() == 0);
        if over && !strands {
            self.requeue(task, now);
        }
    }

    /// Tells of each listed wait that is over.
    fn status(
        &mut self,
        session: u64,
        listed: &[v1::DurableTaskAwaitedCompletedEntry],
        now: Duration,
        stall: Duration,
    ) {
        if listed.is_empty() {
            return;
        }
        for entry in listed {
            let task = &entry.durable_task_external_id;
            let Some(run) = self.runs.get(task) else {
                continue;
            };
            if entry.invocation_count < run.invocation {
                let reason = format!(
                    "stale invocation: server has {}, worker sent {}",
                    run.invocation, entry.invocation_count
                );
                self.tell(session, server_evict(task, entry.invocation_count, reason));
            }
            let place = usize::try_from(entry.node_id - 1).unwrap_or(usize::MAX);
            self.deliver(session, task, place, now);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.evict_stalled(now, stall);
        }
    }
}

/// The message about the end of a place, and its order among the ends of waits.
fn end_of(run: &Run, place: usize) -> Option<(Message, Option<i64>)> {
    let entry = run.entries.get(place)?;
    let end = entry.end.as_ref()?;
    let node = i64::try_from(place).ok()? + 1;
    let message = Message::EntryCompleted(v1::DurableTaskEventLogEntryCompletedResponse {
        r#ref: Some(reference(&run.id, run.invocation, node)),
        payload: jsonb(end).into_bytes(),
        is_failure: false,
        error_message: None,
    });
    Some((message, entry.order))
}

fn reference(task: &str, invocation: i32, node: i64) -> v1::DurableEventLogEntryRef {
    v1::DurableEventLogEntryRef {
        durable_task_external_id: task.to_owned(),
        invocation_count: invocation,
        branch_id: 1,
        node_id: node,
    }
}
