//! The services of workers.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::engine::{Engine, State};
use super::rules::strikes;
use super::run;
use super::sessions::{Session, Worker};
use crate::proto::dispatcher_server::Dispatcher;
use crate::proto::v1::v1_dispatcher_server::V1Dispatcher;
use crate::proto::{self, v1};

/// The services, each over the same engine.
#[derive(Clone)]
pub(super) struct Services(pub Arc<Engine>);

impl Services {
    /// Looks at the token and counts the call.
    pub fn enter<T>(&self, call: &'static str, request: &Request<T>) -> Result<(), Status> {
        self.0.change(|state| state.count(call));
        let state = self.0.look();
        let given = request.metadata().get("authorization");
        let given = given.and_then(|it| it.to_str().ok()).unwrap_or_default();
        match given.strip_prefix("Bearer ") == Some(state.token.as_str()) {
            true => Ok(()),
            false => Err(Status::unauthenticated("invalid auth token")),
        }
    }

    fn late_headers(&self) -> bool {
        self.0.look().rules.late_headers
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs at the end of a stream, also of one that has not begun.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A stream, without headers before its first message: grpc-go sends none.
async fn stream<T: Send + 'static>(
    messages: mpsc::UnboundedReceiver<Result<T, Status>>,
    late: bool,
    end: impl FnMut() + Send + 'static,
) -> Response<Out<T>> {
    let end = AtEnd(end);
    let mut messages = UnboundedReceiverStream::new(messages);
    let first = match late {
        true => messages.next().await,
        false => None,
    };
    let all = tokio_stream::iter(first).chain(messages);
    Response::new(Box::pin(all.map(move |it| {
        let _keeps = &end;
        it
    })))
}

#[tonic::async_trait]
impl Dispatcher for Services {
    async fn get_version(
        &self,
        request: Request<proto::GetVersionRequest>,
    ) -> Result<Response<proto::GetVersionResponse>, Status> {
        self.enter("GetVersion", &request)?;
        let version = self.0.look().version.clone();
        Ok(Response::new(proto::GetVersionResponse { version }))
    }

    async fn register(
        &self,
        request: Request<proto::WorkerRegisterRequest>,
    ) -> Result<Response<proto::WorkerRegisterResponse>, Status> {
        self.enter("Register", &request)?;
        let given = request.into_inner();
        if given.actions.iter().any(|it| !it.contains(':')) {
            return Err(Status::invalid_argument("an action has no ':'"));
        }
        let heartbeat = self.0.clock.real();
        let worker_id = self.0.change(|state| {
            let id = state.id();
            let worker = Worker {
                id: id.clone(),
                name: given.worker_name,
                actions: given.actions,
                slots: given.slot_config,
                heartbeat,
                listeners: Vec::new(),
                active: false,
                needs_stream: false,
                unsubscribed: false,
            };
            state.workers.insert(id.clone(), worker);
            id
        });
        Ok(Response::new(proto::WorkerRegisterResponse {
            tenant_id: "tenant".to_owned(),
            worker_id,
        }))
    }

    type ListenV2Stream = Out<proto::AssignedAction>;

    async fn listen_v2(
        &self,
        request: Request<proto::WorkerListenRequest>,
    ) -> Result<Response<Self::ListenV2Stream>, Status> {
        self.enter("ListenV2", &request)?;
        let id = request.into_inner().worker_id;
        let (out, messages) = mpsc::unbounded_channel();
        let number = self.0.change(|state| {
            state.ids += 1;
            let number = state.ids;
            let worker = state.workers.get_mut(&id);
            let worker = worker.ok_or_else(|| Status::not_found("not found"))?;
            worker.listeners.push((number, out));
            worker.active = true;
            worker.needs_stream = true;
            Ok::<_, Status>(number)
        })?;
        let engine = self.0.clone();
        let end = move || engine.change(|state| state.listener_ended(&id, number));
        Ok(stream(messages, self.late_headers(), end).await)
    }

    async fn heartbeat(
        &self,
        request: Request<proto::HeartbeatRequest>,
    ) -> Result<Response<proto::HeartbeatResponse>, Status> {
        self.enter("Heartbeat", &request)?;
        let id = request.into_inner().worker_id;
        let now = self.0.clock.real();
        let swallowed = self
            .0
            .change(|state| strikes(&mut state.faults.swallow_heartbeats));
        if swallowed {
            return std::future::pending().await;
        }
        self.0.change(|state| {
            if uuid::Uuid::parse_str(&id).is_err() {
                return Err(Status::invalid_argument("the worker's id is no UUID"));
            }
            let Some(worker) = state.workers.get_mut(&id) else {
                return Err(Status::not_found(format!("worker not found: {id}")));
            };
            if worker.needs_stream && !worker.active {
                let text = format!("Heartbeat rejected: worker stream is not active: {id}");
                return Err(Status::failed_precondition(text));
            }
            worker.heartbeat = now;
            Ok(Response::new(proto::HeartbeatResponse {}))
        })
    }

    async fn send_step_action_event(
        &self,
        request: Request<proto::StepActionEvent>,
    ) -> Result<Response<proto::ActionEventResponse>, Status> {
        self.enter("SendStepActionEvent", &request)?;
        let event = request.into_inner();
        let now = self.0.clock.now();
        self.0.change(|state| state.step(&event, now))?;
        Ok(Response::new(proto::ActionEventResponse {}))
    }

    async fn unsubscribe(
        &self,
        request: Request<proto::WorkerUnsubscribeRequest>,
    ) -> Result<Response<proto::WorkerUnsubscribeResponse>, Status> {
        self.enter("Unsubscribe", &request)?;
        let id = request.into_inner().worker_id;
        self.0.change(|state| {
            if let Some(worker) = state.workers.get_mut(&id) {
                worker.unsubscribed = true;
            }
        });
        Ok(Response::new(proto::WorkerUnsubscribeResponse {}))
    }

    async fn refresh_timeout(
        &self,
        request: Request<proto::RefreshTimeoutRequest>,
    ) -> Result<Response<proto::RefreshTimeoutResponse>, Status> {
        self.enter("RefreshTimeout", &request)?;
        let given = request.into_inner();
        let by = crate::durations::parse(&given.increment_timeout_by);
        let by = by.ok_or_else(|| Status::invalid_argument("invalid duration"))?;
        self.0.change(|state| {
            let run = state.runs.get_mut(&given.task_run_external_id);
            let run = run.ok_or_else(|| Status::not_found("task not found"))?;
            run.begun += by;
            Ok(Response::new(proto::RefreshTimeoutResponse {}))
        })
    }

    async fn restore_evicted_task(
        &self,
        request: Request<proto::RestoreEvictedTaskRequest>,
    ) -> Result<Response<proto::RestoreEvictedTaskResponse>, Status> {
        self.enter("RestoreEvictedTask", &request)?;
        let id = request.into_inner().task_run_external_id;
        let now = self.0.clock.now();
        self.0.change(|state| {
            let run = state.runs.get(&id);
            let run = run.ok_or_else(|| Status::not_found("task not found"))?;
            if run.evicted {
                state.requeue(&id, now);
            }
            Ok::<_, Status>(())
        })?;
        self.assign();
        // True also for a task that is not evicted.
        Ok(Response::new(proto::RestoreEvictedTaskResponse {
            requeued: true,
        }))
    }
}

#[tonic::async_trait]
impl V1Dispatcher for Services {
    type DurableTaskStream = Out<v1::DurableTaskResponse>;

    async fn durable_task(
        &self,
        request: Request<Streaming<v1::DurableTaskRequest>>,
    ) -> Result<Response<Self::DurableTaskStream>, Status> {
        self.enter("DurableTask", &request)?;
        let mut requests = request.into_inner();
        let (out, messages) = mpsc::unbounded_channel();
        let number = self.0.change(|state| {
            state.ids += 1;
            let number = state.ids;
            state.sessions.insert(number, Session::new(out));
            number
        });
        let engine = self.0.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(message) = request.message {
                    engine.ask(number, message);
                }
            }
        });
        let engine = self.0.clone();
        let end = move || {
            reader.abort();
            engine.change(|state| {
                state.sessions.remove(&number);
                // By the task alone, also where a newer stream has it.
                state.routes.retain(|_, it| *it != number);
            });
        };
        Ok(stream(messages, self.late_headers(), end).await)
    }
}

impl State {
    /// The engine keeps one flag per worker, which the newest stream's end clears.
    fn listener_ended(&mut self, worker: &str, number: u64) {
        let newest_decides = self.rules.newest_stream_decides;
        if let Some(worker) = self.workers.get_mut(worker) {
            let newest = worker.listeners.last().is_some_and(|(it, _)| *it == number);
            worker.listeners.retain(|(it, _)| *it != number);
            if worker.listeners.is_empty() || (newest && newest_decides) {
                worker.active = false;
            }
        }
    }

    fn step(
        &mut self,
        event: &proto::StepActionEvent,
        now: std::time::Duration,
    ) -> Result<(), Status> {
        use proto::StepActionEventType as Kind;
        let id = &event.task_run_external_id;
        let Some(run) = self.runs.get_mut(id) else {
            let text = format!("invalid task external run id {id}");
            return Err(Status::invalid_argument(text));
        };
        let kind = event.event_type();
        let count = run.retry_count;
        if event.retry_count.is_none() || !self.remembered.contains_key(id) {
            self.remembered.insert(id.clone(), count);
        }
        if !matches!(kind, Kind::Completed | Kind::Failed) {
            return Ok(());
        }
        if strikes(&mut self.faults.lose_ends) {
            return Err(Status::unavailable("the stand-in loses this"));
        }
        if run.is_over() || event.retry_count.unwrap_or(run.retry_count) != run.retry_count {
            return Ok(());
        }
        if kind == Kind::Failed {
            let for_good = event.should_not_retry.unwrap_or_default();
            self.fail(id, &event.event_payload, for_good, now);
            return Ok(());
        }
        match serde_json::from_str(&event.event_payload) {
            Ok(output) => {
                run.completions += 1;
                run.status = run::Status::Completed;
                run.output = Some(output);
                run.worker = None;
                run.evicted = false;
            }
            Err(_) => self.fail(id, "invalid json in field `taskOutput`", true, now),
        }
        Ok(())
    }
}

impl Services {
    /// Assigns at once what has a free slot; what has none waits for the next tick.
    pub fn assign(&self) {
        let now = self.0.clock.now();
        let real = self.0.clock.real();
        let timing = self.0.timing.clone();
        self.0.change(|state| state.assign_all(now, real, &timing));
    }
}
