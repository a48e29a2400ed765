//! The services of clients: workflows, runs, events.

use prost::Message;
use serde_json::Value;
use tonic::{Code, Request, Response, Status};

use super::dispatcher::Services;
use super::engine::{Definition, State};
use super::run::{Pushed, Status as Stage};
use crate::durations;
use crate::proto::events_service_server::EventsService;
use crate::proto::v1::admin_service_server::AdminService;
use crate::proto::workflow_service_server::WorkflowService;
use crate::proto::{self, v1};

#[tonic::async_trait]
impl AdminService for Services {
    async fn put_workflow(
        &self,
        request: Request<v1::CreateWorkflowVersionRequest>,
    ) -> Result<Response<v1::CreateWorkflowVersionResponse>, Status> {
        self.enter("PutWorkflow", &request)?;
        let given = request.into_inner();
        let definition = define(&given)?;
        let id = self.0.change(|state| {
            state.definitions.insert(given.name.clone(), definition);
            state.id()
        });
        Ok(Response::new(v1::CreateWorkflowVersionResponse {
            workflow_id: id.clone(),
            id,
        }))
    }

    async fn trigger_workflow_run(
        &self,
        request: Request<v1::TriggerWorkflowRunRequest>,
    ) -> Result<Response<v1::TriggerWorkflowRunResponse>, Status> {
        self.enter("TriggerWorkflowRun", &request)?;
        let given = request.into_inner();
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let input = parse(&given.input);
        let metadata = parse(&given.additional_metadata);
        let started = self.trigger(&given.workflow_name, input, metadata)?;
        self.assign();
        match started {
            Ok(external_id) => Ok(Response::new(v1::TriggerWorkflowRunResponse {
                external_id,
            })),
            Err(existing) => Err(collision(existing)),
        }
    }

    async fn cancel_tasks(
        &self,
        request: Request<v1::CancelTasksRequest>,
    ) -> Result<Response<v1::CancelTasksResponse>, Status> {
        self.enter("CancelTasks", &request)?;
        let cancelled_tasks = self.0.change(|state| {
            let ids = request.into_inner().external_ids.into_iter();
            ids.filter(|id| state.cancel(id)).collect()
        });
        Ok(Response::new(v1::CancelTasksResponse { cancelled_tasks }))
    }

    async fn replay_tasks(
        &self,
        request: Request<v1::ReplayTasksRequest>,
    ) -> Result<Response<v1::ReplayTasksResponse>, Status> {
        self.enter("ReplayTasks", &request)?;
        let now = self.0.clock.now();
        let replayed_tasks = self.0.change(|state| {
            let ids = request.into_inner().external_ids;
            for id in &ids {
                if let Some(run) = state.runs.get_mut(id).filter(|it| it.is_over()) {
                    run.retry_count += 1;
                    run.status = Stage::Queued;
                    run.error = None;
                    state.requeue(id, now);
                }
            }
            ids
        });
        self.assign();
        Ok(Response::new(v1::ReplayTasksResponse { replayed_tasks }))
    }

    async fn get_run_details(
        &self,
        request: Request<v1::GetRunDetailsRequest>,
    ) -> Result<Response<v1::GetRunDetailsResponse>, Status> {
        self.enter("GetRunDetails", &request)?;
        let id = request.into_inner().external_id;
        let state = self.0.look();
        let run = state.runs.get(&id);
        let run = run.ok_or_else(|| Status::not_found("workflow run not found"))?;
        Ok(Response::new(run.details()))
    }
}

#[tonic::async_trait]
impl WorkflowService for Services {
    async fn bulk_trigger_workflow(
        &self,
        request: Request<proto::BulkTriggerWorkflowRequest>,
    ) -> Result<Response<proto::BulkTriggerWorkflowResponse>, Status> {
        self.enter("BulkTriggerWorkflow", &request)?;
        let mut workflow_run_ids = Vec::new();
        let mut collided = None;
        for it in request.into_inner().workflows {
            let input = serde_json::from_str(&it.input).unwrap_or(Value::Null);
            let metadata = it.additional_metadata.unwrap_or_default();
            let metadata = serde_json::from_str(&metadata).unwrap_or(Value::Null);
            match self.trigger(&it.name, input, metadata)? {
                Ok(id) => workflow_run_ids.push(id),
                Err(existing) => collided = Some(existing),
            }
        }
        self.assign();
        match collided {
            Some(existing) => Err(collision(existing)),
            None => Ok(Response::new(proto::BulkTriggerWorkflowResponse {
                workflow_run_ids,
            })),
        }
    }
}

#[tonic::async_trait]
impl EventsService for Services {
    async fn bulk_push(
        &self,
        request: Request<proto::BulkPushEventRequest>,
    ) -> Result<Response<proto::Events>, Status> {
        self.enter("BulkPush", &request)?;
        let events = request.into_inner().events;
        if events.is_empty() || events.len() > 1000 {
            return Err(Status::invalid_argument("a call takes 1 to 1000 events"));
        }
        // One bad event refuses all.
        let refuse = |it: &proto::PushEventRequest| {
            let json = it.payload.is_empty() || serde_json::from_str::<Value>(&it.payload).is_ok();
            !json || it.payload.contains("\\u0000")
        };
        if events.iter().any(refuse) {
            return Err(Status::invalid_argument("payload is not valid JSON"));
        }
        let now = self.0.clock.now();
        let at = self.0.clock.wall();
        let events = self.0.change(|state| {
            let push = |it: proto::PushEventRequest| {
                let payload = serde_json::from_str(&it.payload).unwrap_or(Value::Null);
                state.push(
                    Pushed {
                        key: it.key,
                        payload,
                        scope: it.scope,
                        at,
                    },
                    now,
                );
                proto::Event {
                    event_id: state.id(),
                }
            };
            events.into_iter().map(push).collect()
        });
        self.assign();
        Ok(Response::new(proto::Events { events }))
    }

    async fn put_log(
        &self,
        request: Request<proto::PutLogRequest>,
    ) -> Result<Response<proto::PutLogResponse>, Status> {
        self.enter("PutLog", &request)?;
        let given = request.into_inner();
        if given.message.is_empty() || given.message.chars().count() > 10_000 {
            return Err(Status::invalid_argument(
                "a message has 1 to 10000 characters",
            ));
        }
        self.0.change(|state| {
            let run = state.runs.get_mut(&given.task_run_external_id);
            let run = run.ok_or_else(|| Status::not_found("task not found"))?;
            run.lines.push(given.message);
            Ok(Response::new(proto::PutLogResponse {}))
        })
    }
}

impl Services {
    /// Starts a run; the id of the run that has its key already.
    fn trigger(
        &self,
        workflow: &str,
        input: Value,
        metadata: Value,
    ) -> Result<Result<String, String>, Status> {
        let now = self.0.clock.now();
        self.0.change(|state| {
            let Some(definition) = state.definitions.get(workflow).cloned() else {
                return match state.rules.takes_unknown_workflows {
                    true => Ok(Ok(state.id())),
                    false => Err(Status::not_found("workflow not found")),
                };
            };
            let key = match &definition.once {
                Some((name, _)) => match metadata.get(name).and_then(Value::as_str) {
                    Some(key) => Some(key.to_owned()),
                    // An expression that fails skips the run.
                    None => return Ok(Ok(state.id())),
                },
                None => None,
            };
            if let Some(key) = &key
                && let Some((until, id)) = state.keys.get(key)
                && *until > now
            {
                return Ok(Err(id.clone()));
            }
            let id = state.run(workflow, input, metadata, None, now);
            if let (Some(key), Some((_, ttl))) = (key, definition.once) {
                state.keys.insert(key, (now + ttl, id.clone()));
            }
            Ok(Ok(id))
        })
    }
}

impl State {
    fn cancel(&mut self, id: &str) -> bool {
        let Some(run) = self.runs.get(id).filter(|it| !it.is_over()).cloned() else {
            return false;
        };
        self.cancel_at_worker(&run);
        if let Some(run) = self.runs.get_mut(id) {
            run.status = Stage::Cancelled;
            run.worker = None;
            run.evicted = false;
        }
        true
    }
}

/// Checks a workflow as the engine does.
fn define(given: &v1::CreateWorkflowVersionRequest) -> Result<Definition, Status> {
    let [task] = &given.tasks[..] else {
        return Err(Status::invalid_argument(
            "the stand-in takes workflows of one task",
        ));
    };
    let allowed = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    if given.name.is_empty() || !given.name.chars().all(allowed) {
        return Err(Status::invalid_argument(
            "Name must match ^[a-zA-Z0-9\\.\\-_]+$",
        ));
    }
    let upper =
        given.name.chars().any(char::is_uppercase) || task.action.chars().any(char::is_uppercase);
    if upper || !task.action.contains(':') {
        return Err(Status::internal("An internal error occurred."));
    }
    let duration = |text: &str| {
        let parsed = durations::parse(text);
        parsed.ok_or_else(|| Status::invalid_argument(format!("invalid duration '{text}'")))
    };
    let slot = task.slot_requests.keys().next().cloned();
    let once = given.idempotency.as_ref().map(|it| {
        let name = it.expression.trim_start_matches("additional_metadata.");
        let ttl = u64::try_from(it.ttl_ms).unwrap_or_default();
        (name.to_owned(), std::time::Duration::from_millis(ttl))
    });
    Ok(Definition {
        action: task.action.clone(),
        slot: slot.unwrap_or_else(|| "default".to_owned()),
        durable: task.is_durable,
        timeout: duration(&task.timeout)?,
        schedule_timeout: duration(task.schedule_timeout.as_deref().unwrap_or("5m"))?,
        retries: task.retries,
        events: given.event_triggers.clone(),
        once,
        request: given.clone(),
    })
}

fn collision(existing: String) -> Status {
    let error = v1::IdempotencyCollisionError {
        existing_run_external_id: existing,
        colliding_run_external_id: String::new(),
    };
    let details = v1::ErrorDetails {
        code: Code::AlreadyExists.into(),
        message: "idempotency key collision".to_owned(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/v1.IdempotencyCollisionError".to_owned(),
            value: error.encode_to_vec(),
        }],
    };
    Status::with_details(
        Code::AlreadyExists,
        "idempotency key collision",
        details.encode_to_vec().into(),
    )
}
