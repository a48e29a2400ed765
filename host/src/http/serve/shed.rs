//! Load shedding: refusing requests that cannot be answered soon.
//!
//! An overloaded server that accepts everything answers nobody in time. Each lane allows a number of
//! concurrent requests and queues a few more for a moment; further ones get 503 at once. A request
//! takes its place after its body has arrived, so a slow sender blocks nobody. Health and the pages
//! of recipients are never shed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::is_health;
use super::encoding::Encoding;
use super::memory::{Held, Memory, Sender};
use crate::http::ApiError;
use crate::http::wire::body::BODY_MAX;

/// How long a request may be queued.
pub const WAIT: Duration = Duration::from_secs(1);
/// How long a request with a large body may be queued: its memory is already counted.
const LARGE_WAIT: Duration = Duration::from_secs(10);
/// Above this many bytes a body is large: parsed as JSON it takes many times as much memory.
const LARGE: usize = 64 * 1024;
/// Requests with large bodies processed concurrently.
const LARGE_AT_ONCE: usize = 8;
/// Bodies decompressed concurrently: a decoder takes up to 16 MiB in addition to its output.
const UNPACKED_AT_ONCE: usize = 2;
/// The `Retry-After` of a refused request, in seconds.
const RETRY_AFTER: u32 = 2;

/// Requests that share limits on concurrency and memory.
#[derive(Clone)]
pub struct Lane {
    /// `None` if concurrency is not limited.
    places: Option<Places>,
    memory: Memory,
    large: Arc<Semaphore>,
    unpacking: Arc<Semaphore>,
    sender: Sender,
    body_max: usize,
}

#[derive(Clone)]
struct Places {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Lane {
    /// Any number of concurrent requests by anyone, within the memory budget for bodies.
    pub fn open(memory: Memory) -> Self {
        Self {
            places: None,
            memory,
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            unpacking: Arc::new(Semaphore::new(UNPACKED_AT_ONCE)),
            sender: Sender::Anyone,
            body_max: BODY_MAX,
        }
    }

    /// `working` concurrent and `waiting` queued requests, with the same memory budget.
    pub fn narrow(&self, working: usize, waiting: usize) -> Self {
        Self {
            places: Some(Places {
                working: Arc::new(Semaphore::new(working)),
                waiting: Arc::new(Semaphore::new(waiting)),
            }),
            ..self.clone()
        }
    }

    /// The same lane for callers that passed a gate.
    pub fn gated(&self) -> Self {
        Self {
            sender: Sender::Known,
            ..self.clone()
        }
    }

    /// Decompresses a body.
    async fn unpack(&self, encoding: Encoding, packed: Bytes) -> Result<(Bytes, Held), ApiError> {
        let turn = tokio::time::timeout(LARGE_WAIT, self.unpacking.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let (buffer, max) = (self.memory.buffer(self.sender), self.body_max);
        let unpacked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            encoding.unpack(&packed, max, buffer)
        });
        unpacked.await.map_err(|error| ApiError::internal(&error))?
    }

    /// The same lane for bodies of at most `body_max` bytes.
    pub fn with_body(&self, body_max: usize) -> Self {
        Self {
            body_max,
            ..self.clone()
        }
    }
}

/// Passes a request on when it is its turn, or answers 503 with `Retry-After`.
pub async fn shed(
    State(lane): State<Lane>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let encoding = if http_body::Body::is_end_stream(&body) {
        None
    } else {
        Encoding::of(&parts.headers)?
    };
    // Held until the response is ready.
    let (mut bytes, mut held) = lane.memory.read(body, lane.body_max, lane.sender).await?;
    if let Some(encoding) = encoding
        && !bytes.is_empty()
    {
        (bytes, held) = lane.unpack(encoding, bytes).await?;
        parts.headers.remove(header::CONTENT_ENCODING);
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let _place = match &lane.places {
        Some(places) => Some(turn(&places.working, &places.waiting).await?),
        None => None,
    };
    let _large = if bytes.len() > LARGE {
        let turn = tokio::time::timeout(LARGE_WAIT, lane.large.acquire()).await;
        Some(turn.map_err(|_| busy())?.map_err(|_| busy())?)
    } else {
        None
    };
    let request = Request::from_parts(parts, Body::from(bytes));
    let response = next.run(request).await;
    drop(held);
    Ok(response)
}

async fn turn(
    working: &Arc<Semaphore>,
    waiting: &Semaphore,
) -> Result<OwnedSemaphorePermit, ApiError> {
    if let Ok(place) = working.clone().try_acquire_owned() {
        return Ok(place);
    }
    let _waits = waiting.try_acquire().map_err(|_| busy())?;
    let place = tokio::time::timeout(WAIT, working.clone().acquire_owned()).await;
    place.map_err(|_| busy())?.map_err(|_| busy())
}

/// Limits concurrent requests over all connections.
#[derive(Clone)]
pub struct Crowd(Arc<Semaphore>);

impl Crowd {
    pub fn new(requests: usize) -> Self {
        Self(Arc::new(Semaphore::new(requests)))
    }
}

/// Refuses requests beyond the overall limit, except health requests.
pub async fn crowd(
    State(crowd): State<Crowd>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if is_health(request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let _place = crowd.0.try_acquire().map_err(|_| busy())?;
    Ok(next.run(request).await)
}

fn busy() -> ApiError {
    ApiError::unavailable("Too many requests are waiting", RETRY_AFTER)
}
