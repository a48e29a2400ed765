//! What the engine says on the DurableTask stream.

use std::sync::Arc;

use serde_json::Value;

use super::Hub;
use super::state::{Ack, AckKind, Evicted, Key, Node, Probed};
use crate::proto::v1;
use crate::proto::v1::durable_task_response::Message;
use crate::worker::task::Failed;

impl Hub {
    /// Handles a message. Those about tasks and invocations that are not here are ignored: they can arrive late.
    pub(super) fn hear(self: &Arc<Self>, message: Message) {
        match message {
            Message::RegisterWorker(_) => {}
            Message::MemoAck(ack) => {
                let Some((task, invocation, node)) = place(ack.r#ref) else {
                    return;
                };
                let existed = ack.memo_already_existed;
                let stored = ack.memo_result_payload;
                // An empty one was refused by the engine's store and counts as none.
                let stored = stored.filter(|it| existed && !it.is_empty());
                self.memo_acked(&task, invocation, node, stored);
            }
            Message::WaitForAck(ack) => {
                if let Some((task, invocation, node)) = place(ack.r#ref) {
                    self.wait_acked(&task, invocation, node);
                }
            }
            Message::EntryCompleted(entry) => {
                if let Some((task, invocation, node)) = place(entry.r#ref) {
                    self.entry_completed(&task, invocation, node, &entry.payload);
                }
            }
            Message::Error(error) => self.error(error),
            Message::EvictionAck(ack) => {
                self.evicted(
                    &ack.durable_task_external_id,
                    ack.invocation_count,
                    Evicted::Acked,
                );
            }
            Message::ServerEvict(notice) => self.server_evicts(&notice),
        }
    }

    fn memo_acked(&self, task: &str, invocation: i32, node: Node, stored: Option<Vec<u8>>) {
        let mut state = self.state();
        let Some(live) = state.invoked(task, invocation) else {
            return;
        };
        // Its end may have arrived first, and means nothing.
        live.waits.remove(&node);
        live.memos.insert(node);
        self.answer(&mut state, task, AckKind::Memo, Ack::Memo(stored));
    }

    fn wait_acked(&self, task: &str, invocation: i32, node: Node) {
        let mut state = self.state();
        let Some(live) = state.invoked(task, invocation) else {
            return;
        };
        live.waits.entry(node).or_default().acked = true;
        self.answer(&mut state, task, AckKind::Wait, Ack::Wait(node));
    }

    fn answer(&self, state: &mut super::state::State, task: &str, kind: AckKind, ack: Ack) {
        let Some(live) = state.lives.get_mut(task) else {
            return;
        };
        let expected = live.asking.as_ref().is_some_and(|it| it.kind == kind);
        if let (true, Some(asking)) = (expected, live.asking.take_if(|_| expected)) {
            let _ = asking.answer.send(ack);
            if let Some(notes) = state.notes.get_mut(task) {
                notes.silent = 0;
            }
        }
    }

    fn entry_completed(&self, task: &str, invocation: i32, node: Node, payload: &[u8]) {
        let mut state = self.state();
        let generation = state.generation;
        let Some(live) = state.invoked(task, invocation) else {
            let probe = state.probes.get_mut(task);
            if let Some(probe) =
                probe.filter(|it| it.invocation == invocation && it.nodes.contains(&node))
                && let Some(answer) = probe.answer.take()
            {
                let _ = answer.send(Probed::Over);
            }
            return;
        };
        if live.memos.contains(&node) {
            return;
        }
        let leaving = live.leaving;
        let wait = live.waits.entry(node).or_default();
        wait.heard = generation;
        if wait.over || wait.early.is_some() {
            return;
        }
        let value = serde_json::from_slice(payload).unwrap_or(Value::Null);
        match leaving {
            true => wait.early = Some(value),
            false => wait.end(value),
        }
    }

    fn error(self: &Arc<Self>, error: v1::DurableTaskErrorResponse) {
        let nondeterminism = error.error_type() == v1::DurableTaskErrorType::Nondeterminism;
        let Some((task, invocation, _)) = place(error.r#ref) else {
            return;
        };
        if !nondeterminism {
            self.evicted(&task, invocation, Evicted::Refused(error.error_message));
            return;
        }
        let mut state = self.state();
        if let Some(live) = state.invoked(&task, invocation)
            && let Some(verdict) = live.verdict.take()
        {
            let _ = verdict.send(Failed::permanent(error.error_message));
        }
    }

    fn evicted(&self, task: &str, invocation: i32, outcome: Evicted) {
        let mut state = self.state();
        let expected = state
            .evictions
            .get(task)
            .is_some_and(|it| it.invocation == invocation);
        if let (true, Some(eviction)) =
            (expected, state.evictions.remove(task).filter(|_| expected))
        {
            let _ = eviction.answer.send(outcome);
        }
    }

    /// The engine takes a task away: because another invocation has taken over, or because it has stalled, and
    /// then nobody else continues it.
    fn server_evicts(self: &Arc<Self>, notice: &v1::DurableTaskServerEvictNotice) {
        let task = &notice.durable_task_external_id;
        let invocation = notice.invocation_count;
        let reason = notice.reason.as_str();
        let stale = reason.contains("mismatch") || reason.contains("stale");
        let mut state = self.state();
        if stale
            && state
                .probes
                .get(task)
                .is_some_and(|it| it.invocation <= invocation)
        {
            state.probes.remove(task);
        }
        let evicting = state.evictions.get(task).map(|it| it.invocation);
        if stale
            && evicting.is_some_and(|it| it <= invocation)
            && let Some(eviction) = state.evictions.remove(task)
        {
            let _ = eviction.answer.send(Evicted::Stale);
        }
        let live = state
            .lives
            .get(task)
            .filter(|it| it.turn.0 <= invocation && !it.finishing);
        let Some(live) = live else {
            return;
        };
        let key = Key {
            task: task.clone(),
            serial: live.serial,
        };
        let own = live.turn.0;
        let report = live.report.clone();
        state.remove(&key);
        drop(state);
        tracing::info!(hatchet.task = task, reason, "Hatchet took a task away");
        if !stale && own == invocation {
            self.recover(task.clone(), own, report);
        }
    }
}

/// Task, invocation and node of a reference.
fn place(reference: Option<v1::DurableEventLogEntryRef>) -> Option<(String, i32, Node)> {
    let it = reference?;
    Some((
        it.durable_task_external_id,
        it.invocation_count,
        (it.branch_id, it.node_id),
    ))
}
