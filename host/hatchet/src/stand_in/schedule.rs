//! Who runs what: assigning queued tasks, and taking them from workers that are lost or too slow.

use std::time::Duration;

use serde_json::{Value, json};

use super::engine::State;
use super::rules::{Timing, strikes};
use super::run::{Run, Status, jsonb};
use super::sessions::Worker;
use crate::proto::{ActionType, AssignedAction};

/// How often a task may lose its worker.
const LOST_WORKERS: i32 = 10;

impl State {
    /// Assigns what is queued.
    pub fn assign_all(&mut self, now: Duration, real: Duration, timing: &Timing) {
        if now < self.paused_until {
            return;
        }
        for id in std::mem::take(&mut self.queue) {
            if !self.assign(&id, now, real, timing) {
                self.queue.push(id);
            }
        }
    }

    /// Whether the task need not be queued any more.
    fn assign(&mut self, id: &str, now: Duration, real: Duration, timing: &Timing) -> bool {
        let Some(run) = self
            .runs
            .get(id)
            .filter(|it| !it.is_over() && it.worker.is_none())
        else {
            return true;
        };
        let Some(definition) = self.definitions.get(&run.workflow) else {
            return false;
        };
        let fits = |worker: &&Worker| {
            let busy = self
                .runs
                .values()
                .filter(|it| it.worker.as_ref() == Some(&worker.id));
            let busy = busy.filter(|it| {
                let other = self.definitions.get(&it.workflow);
                other.is_some_and(|it| it.slot == definition.slot)
            });
            let slots = worker
                .slots
                .get(&definition.slot)
                .copied()
                .unwrap_or_default();
            worker.active
                && !worker.unsubscribed
                && !worker.listeners.is_empty()
                && real.saturating_sub(worker.heartbeat) < timing.silent
                && worker.actions.contains(&definition.action)
                && busy.count() < usize::try_from(slots).unwrap_or_default()
        };
        let mut workers: Vec<&Worker> = self.workers.values().filter(fits).collect();
        workers.sort_by_key(|it| &it.id);
        let Some(worker) = workers.first() else {
            return false;
        };
        let worker = worker.id.clone();
        let durable = definition.durable;
        let action = definition.action.clone();
        let Some(run) = self.runs.get_mut(id) else {
            return true;
        };
        run.invocation += 1;
        run.node = 0;
        run.status = Status::Running;
        run.worker = Some(worker.clone());
        run.begun = now;
        let mut assigned = action_of(run, ActionType::StartStepRun, durable);
        assigned.action_id = action;
        assigned.action_payload = payload(run);
        if strikes(&mut self.faults.lose_starts) {
            if let Some(worker) = self.workers.get_mut(&worker) {
                worker.listeners.clear();
            }
            return true;
        }
        let sent = self
            .workers
            .get(&worker)
            .is_some_and(|it| it.send(assigned));
        if !sent && let Some(run) = self.runs.get_mut(id) {
            run.worker = None;
        }
        sent
    }

    /// Tells a task's worker to stop it.
    pub fn cancel_at_worker(&self, run: &Run) {
        let durable = self
            .definitions
            .get(&run.workflow)
            .is_some_and(|it| it.durable);
        let worker = run.worker.as_ref().and_then(|it| self.workers.get(it));
        if let Some(worker) = worker {
            let mut action = action_of(run, ActionType::CancelStepRun, durable);
            let definition = self.definitions.get(&run.workflow);
            action.action_id = definition.map(|it| it.action.clone()).unwrap_or_default();
            worker.send(action);
        }
    }

    pub fn take_from_lost_workers(&mut self, real: Duration, lost: Duration) {
        let dead: Vec<String> = self
            .workers
            .values()
            .filter(|it| real.saturating_sub(it.heartbeat) >= lost)
            .map(|it| it.id.clone())
            .collect();
        let taken: Vec<String> = self
            .runs
            .values()
            .filter(|it| it.worker.as_ref().is_some_and(|it| dead.contains(it)))
            .map(|it| it.id.clone())
            .collect();
        for id in taken {
            self.take(&id, real);
        }
    }

    /// Takes a task from its worker and queues it.
    pub fn take(&mut self, id: &str, now: Duration) {
        let Some(run) = self.runs.get_mut(id).filter(|it| !it.is_over()) else {
            return;
        };
        run.retry_count += 1;
        run.lost_workers += 1;
        if run.lost_workers > LOST_WORKERS {
            run.status = Status::Failed;
            run.error = Some("the task lost its worker too often".to_owned());
            run.worker = None;
            return;
        }
        self.requeue(id, now);
    }

    /// Ends what took too long. The clock of an evicted task stands still.
    pub fn time_out(&mut self, now: Duration) {
        let ids: Vec<String> = self.runs.keys().cloned().collect();
        for id in ids {
            let Some(run) = self.runs.get(&id).filter(|it| !it.is_over()) else {
                continue;
            };
            let Some(definition) = self.definitions.get(&run.workflow) else {
                continue;
            };
            let queued = run.worker.is_none() && !run.evicted;
            if queued && now.saturating_sub(run.queued) > definition.schedule_timeout {
                self.fail(&id, "the task was not scheduled in time", true, now);
            } else if run.worker.is_some() && now.saturating_sub(run.begun) > definition.timeout {
                let text = format!("Task exceeded timeout of {}s", definition.timeout.as_secs());
                self.cancel_at_worker(run);
                self.fail(&id, &text, false, now);
            }
        }
    }

    /// A failure, after which the task is tried again where its workflow says so.
    pub fn fail(&mut self, id: &str, error: &str, for_good: bool, now: Duration) {
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let retries = self
            .definitions
            .get(&run.workflow)
            .map_or(0, |it| it.retries);
        run.worker = None;
        run.error = Some(error.to_owned());
        if for_good || run.user_retries >= retries {
            run.status = Status::Failed;
            return;
        }
        run.user_retries += 1;
        run.retry_count += 1;
        run.status = Status::Queued;
        self.requeue(id, now);
    }
}

/// The payload of a start. The first one comes as it was sent, later ones from the store.
fn payload(run: &Run) -> String {
    let payload = json!({
        "input": run.input,
        "triggered_by": "manual",
        "parents": {},
        "triggers": { "filter_payload": Value::Null },
        "user_data": Value::Null,
        "overrides": Value::Null,
    });
    match run.invocation {
        1 => payload.to_string(),
        _ => jsonb(&payload),
    }
}

fn action_of(run: &Run, kind: ActionType, durable: bool) -> AssignedAction {
    AssignedAction {
        tenant_id: "tenant".to_owned(),
        workflow_run_id: run.id.clone(),
        job_id: format!("job-{}", run.workflow),
        job_name: run.workflow.clone(),
        job_run_id: format!("job-run-{}", run.id),
        task_id: format!("step-{}", run.workflow),
        task_run_external_id: run.id.clone(),
        action_id: String::new(),
        action_type: kind.into(),
        action_payload: String::new(),
        task_name: "run".to_owned(),
        retry_count: run.retry_count,
        additional_metadata: Some(Value::Object(run.metadata.clone()).to_string()),
        durable_task_invocation_count: durable.then_some(run.invocation),
        triggering_event_key: run.event_key.clone(),
    }
}
