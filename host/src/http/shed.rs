//! Turning requests away while there are more than can be answered soon.
//!
//! A server that takes everything answers nobody in time. Each lane lets a number of requests be
//! worked on at once and a few more wait for a moment; the rest is told at once to come back. A
//! request takes its place when its body has arrived, so a slow sender keeps nobody out. Health and
//! the pages of recipients have no lane.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::ApiError;
use super::body::Raw;

/// How long a request waits for its turn.
pub const WAIT: Duration = Duration::from_secs(1);
/// When to come back, in seconds.
const RETRY_AFTER: u32 = 2;

/// Requests that share what they need.
#[derive(Clone)]
pub struct Lane {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    body_max: usize,
}

impl Lane {
    /// `working` requests at once and `waiting` more, with bodies of at most `body_max` bytes.
    pub fn new(working: usize, waiting: usize, body_max: usize) -> Self {
        Self {
            working: Arc::new(Semaphore::new(working)),
            waiting: Arc::new(Semaphore::new(waiting)),
            body_max,
        }
    }

    /// The same places for larger bodies.
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
    let (parts, body) = request.into_parts();
    let Raw(bytes) = Raw::read(body, lane.body_max).await?;
    let place = match lane.working.clone().try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            let _waits = lane.waiting.try_acquire().map_err(|_| busy())?;
            let place = tokio::time::timeout(WAIT, lane.working.clone().acquire_owned()).await;
            place.map_err(|_| busy())?.map_err(|_| busy())?
        }
    };
    let response = next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await;
    drop(place);
    Ok(response)
}

fn busy() -> ApiError {
    ApiError::unavailable("Too many requests are waiting", RETRY_AFTER)
}
