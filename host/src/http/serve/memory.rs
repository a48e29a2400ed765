//! The memory budget for the bodies of all requests.
//!
//! A body takes from the budget as its bytes arrive, not by its announced length, and returns it when
//! its request is answered. Large bodies must arrive at a minimum rate, so that a stalled sender does
//! not hold memory. Callers without a key share half of the budget, so they cannot exhaust it for the
//! product's own calls.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::http::ApiError;

/// Bytes per semaphore permit.
const UNIT: usize = 4 * 1024;
/// Bodies up to this many bytes need no minimum rate; only the request's time limit applies.
const UNHURRIED: usize = 16 * 1024;
/// How long a larger body may take, in addition to one second for each [`PACE`] bytes.
const LEISURE: Duration = Duration::from_secs(5);
/// The minimum rate of a larger body, in bytes per second.
const PACE: usize = 32 * 1024;
/// The `Retry-After` of a refused request, in seconds.
const RETRY_AFTER: u32 = 2;

/// Whether the sender of a body is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A caller that passed a gate.
    Known,
    Anyone,
}

/// The budget. Clones share it.
#[derive(Clone)]
pub struct Memory {
    all: Arc<Semaphore>,
    anyone: Arc<Semaphore>,
}

/// The memory budget is used up.
#[derive(Debug)]
pub struct Full;

/// Memory that a body holds; returned to the budget when dropped.
#[derive(Default)]
pub struct Held {
    all: Option<OwnedSemaphorePermit>,
    anyone: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        let permits = (bytes / UNIT).clamp(2, Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(permits)),
            anyone: Arc::new(Semaphore::new(permits / 2)),
        }
    }

    /// A buffer that takes from this budget as it grows.
    pub fn buffer(&self, sender: Sender) -> Buffer {
        Buffer {
            memory: self.clone(),
            sender,
            bytes: BytesMut::new(),
            units: 0,
            held: Held::default(),
        }
    }

    /// Reads a body of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// 413 if it is larger, 408 if it arrives too slowly, 503 if the memory budget is used up, 400 if it
    /// is truncated.
    pub async fn read(
        &self,
        mut body: Body,
        max: usize,
        sender: Sender,
    ) -> Result<(Bytes, Held), ApiError> {
        let announced = http_body::Body::size_hint(&body).lower();
        if usize::try_from(announced).map_or(true, |announced| announced > max) {
            return Err(too_large(max));
        }
        let mut buffer = self.buffer(sender);
        let began = Instant::now();
        loop {
            let frame = if buffer.len() <= UNHURRIED {
                body.frame().await
            } else {
                let seconds = u32::try_from(buffer.len() / PACE).unwrap_or(u32::MAX);
                let deadline = began + LEISURE + Duration::from_secs(seconds.into());
                let frame = timeout_at(deadline, body.frame()).await;
                frame.map_err(|_| too_slow())?
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| {
                ApiError::new(StatusCode::BAD_REQUEST, "The body did not arrive whole")
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if buffer.len() + data.len() > max {
                return Err(too_large(max));
            }
            buffer.push(data).map_err(|Full| full())?;
        }
        Ok(buffer.finish())
    }

    fn take(&self, units: usize, sender: Sender) -> Result<Held, Full> {
        let units = u32::try_from(units).map_err(|_| Full)?;
        let from = |semaphore: &Arc<Semaphore>| {
            let permit = semaphore.clone().try_acquire_many_owned(units);
            permit.map_err(|_| Full)
        };
        let anyone = match sender {
            Sender::Known => None,
            Sender::Anyone => Some(from(&self.anyone)?),
        };
        Ok(Held {
            all: Some(from(&self.all)?),
            anyone,
        })
    }
}

pub fn too_large(max: usize) -> ApiError {
    let message = format!("The body is larger than {} KiB", max / 1024);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

pub fn full() -> ApiError {
    ApiError::unavailable("Too many large requests at once", RETRY_AFTER)
}

fn too_slow() -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "The body arrived too slowly: send it at 32 KiB per second or faster",
    )
}

impl Held {
    fn merge(&mut self, more: Self) {
        for (mine, more) in [(&mut self.all, more.all), (&mut self.anyone, more.anyone)] {
            match (mine.as_mut(), more) {
                (Some(mine), Some(more)) => mine.merge(more),
                (None, more) => *mine = more,
                (Some(_), None) => {}
            }
        }
    }
}

/// A contiguous buffer for one body, however many pieces it arrives in.
pub struct Buffer {
    memory: Memory,
    sender: Sender,
    bytes: BytesMut,
    units: usize,
    held: Held,
}

impl Buffer {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends bytes. They are copied, since the chunk they arrived in may be far larger.
    pub fn push(&mut self, mut data: impl bytes::Buf) -> Result<(), Full> {
        let needed = self.bytes.len() + data.remaining();
        if needed > self.units * UNIT {
            let units = needed.max(self.bytes.len() * 2).div_ceil(UNIT);
            self.held
                .merge(self.memory.take(units - self.units, self.sender)?);
            self.units = units;
        }
        if needed > self.bytes.capacity() {
            // A small body that arrives in one piece takes exactly its size.
            let capacity = if self.bytes.is_empty() {
                needed
            } else {
                self.units * UNIT
            };
            let mut larger = BytesMut::with_capacity(capacity);
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            self.bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
        Ok(())
    }

    pub fn finish(self) -> (Bytes, Held) {
        (self.bytes.freeze(), self.held)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunked(chunks: usize, size: usize) -> Body {
        let chunk = move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]));
        Body::from_stream(stream::iter((0..chunks).map(chunk)))
    }

    #[tokio::test]
    async fn a_body_holds_what_it_has_and_gives_it_back() {
        let memory = Memory::new(64 * 1024);
        let max = 1024 * 1024;
        let (bytes, held) = memory
            .read(chunked(20_000, 1), max, Sender::Known)
            .await
            .unwrap();
        assert_eq!(bytes.len(), 20_000);
        assert!(memory.all.available_permits() >= 16 - 8);
        assert!(memory.all.available_permits() <= 16 - 5);
        drop(held);
        assert_eq!(memory.all.available_permits(), 16);
    }

    #[tokio::test]
    async fn strangers_fill_half_and_the_product_has_the_rest() {
        let memory = Memory::new(64 * 1024);
        let max = 1024 * 1024;
        let read = |size, sender| memory.read(Body::from(vec![0; size]), max, sender);
        let _held = read(30_000, Sender::Anyone).await.unwrap();
        let refused = read(5_000, Sender::Anyone).await.err().unwrap();
        assert!(format!("{refused:?}").contains("503"), "{refused:?}");
        let _more = read(32_000, Sender::Known).await.unwrap();
        assert!(read(5_000, Sender::Known).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_keeps_a_pace_and_a_small_one_may_wait() {
        let memory = Memory::new(4 * 1024 * 1024);
        let began = Instant::now();
        let stalled = |size: usize| {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![0; size]))]);
            let body = Body::from_stream(stream::StreamExt::chain(first, stream::pending()));
            memory.read(body, 1024 * 1024, Sender::Anyone)
        };
        let slow = stalled(256 * 1024).await.err().unwrap();
        assert!(format!("{slow:?}").contains("408"), "{slow:?}");
        assert_eq!(began.elapsed().as_secs(), 5 + 8);
        let waits = tokio::time::timeout(Duration::from_secs(29), stalled(1_000)).await;
        assert!(waits.is_err());
        assert_eq!(memory.all.available_permits(), 1024);
    }

    #[tokio::test]
    async fn what_is_announced_too_large_is_refused_before_it_comes() {
        let memory = Memory::new(1024 * 1024);
        let body = Body::from(vec![0; 2_000]);
        let refused = memory.read(body, 1_000, Sender::Known).await.err().unwrap();
        assert!(format!("{refused:?}").contains("413"), "{refused:?}");
        let refused = memory.read(chunked(3, 500), 1_000, Sender::Known).await;
        assert!(format!("{:?}", refused.err().unwrap()).contains("413"));
    }
}
