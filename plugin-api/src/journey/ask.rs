//! Steps that send a request to the host and await its answer.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// A request to the host whose answer is a `T`.
///
/// Awaiting it fails with a [`StepError`] where the step failed, or with `result_unreadable` where
/// the recorded answer is not a `T`.
#[must_use = "a request is not sent until it is awaited"]
pub struct Asked<T>(StepHandle, PhantomData<fn() -> T>);

impl<T> Asked<T> {
    pub(super) fn new(replay: &Replay, kind: &'static str, args: Value) -> Self {
        Self(replay.step(kind, args), PhantomData)
    }

    /// Labels the step for people who look at the run.
    pub fn label(self, label: &str) -> Self {
        Self(self.0.label(label), PhantomData)
    }
}

impl<T: DeserializeOwned> Future for Asked<T> {
    type Output = Result<T, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(value.and_then(super::advance::typed))
    }
}
