//! Turning requests away while there are more than can be answered soon.
//!
//! A server that takes everything answers nobody in time. Each lane lets a number of requests be
//! worked on at once and a few more wait for a moment; the rest is told at once to come back. A
//! request takes its place when its body has arrived, so a slow sender keeps nobody out. Health and
//! the pages of recipients have no lane.

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

/// How long a request waits for its turn.
pub const WAIT: Duration = Duration::from_secs(1);
/// How long one with a large body waits for its turn: its memory is counted already.
const LARGE_WAIT: Duration = Duration::from_secs(10);
/// From how many bytes on a body is large: read as JSON it takes many times as much.
const LARGE: usize = 64 * 1024;
/// Large bodies worked on at once.
const LARGE_AT_ONCE: usize = 8;
/// Compressed bodies unpacked at once: a decoder takes up to 16 MiB beside what it unpacks.
const UNPACKED_AT_ONCE: usize = 2;
/// When to come back, in seconds.
const RETRY_AFTER: u32 = 2;

/// Requests that share what they need.
#[derive(Clone)]
pub struct Lane {
    /// `None` where there are as many places as requests.
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
    /// Any number of requests at once, of anyone, as far as there is memory for their bodies.
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

    /// `working` requests at once and `waiting` more, with the same memory.
    pub fn narrow(&self, working: usize, waiting: usize) -> Self {
        Self {
            places: Some(Places {
                working: Arc::new(Semaphore::new(working)),
                waiting: Arc::new(Semaphore::new(waiting)),
            }),
            ..self.clone()
        }
    }

    /// The same places for callers a gate lets in.
    pub fn gated(&self) -> Self {
        Self {
            sender: Sender::Known,
            ..self.clone()
        }
    }

    /// A compressed body as it was before.
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

    /// The same places for bodies of at most so many bytes.
    pub fn with_body(&self, body_max: usize) -> Self {
        Self {
            body_max,
            ..self.clone()
        }
    }
}

/// Lets a request on when it is its turn; 503 with `Retry-After` where that does not come.
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
    // Held until the answer is there.
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

/// Requests at once, over all connections.
#[derive(Clone)]
pub struct Crowd(Arc<Semaphore>);

impl Crowd {
    pub fn new(requests: usize) -> Self {
        Self(Arc::new(Semaphore::new(requests)))
    }
}

/// Turns requests away where there are too many even to look at; those about health pass.
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
