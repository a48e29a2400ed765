//! Steps that ask the host something and await its answer.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// A question whose answer is a `T`.
#[must_use = "a question is not asked until it is awaited"]
pub struct Asked<T>(StepHandle, PhantomData<fn() -> T>);

impl<T> Asked<T> {
    pub(super) fn new(replay: &Replay, kind: &'static str, args: Value) -> Self {
        Self(replay.step(kind, args), PhantomData)
    }

    /// Names the step for people who look at the run.
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
