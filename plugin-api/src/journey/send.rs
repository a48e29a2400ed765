//! Sending a mail.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::step;
use crate::Properties;
use crate::replay::{Replay, StepHandle};
use crate::step::StepError;

/// Inputs of a `send` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SendArgs {
    pub template: String,
    #[serde(default)]
    pub to: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub category: Option<String>,
    #[serde(default)]
    pub props: Properties,
    /// How long the mail is useful, in milliseconds from the decision to send.
    #[serde(default)]
    pub not_after_ms: Option<u64>,
}

/// How a send ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// The provider has the mail.
    Sent { id: Uuid },
    /// No mail went out, for a reason that is no fault: unsubscribed, no address, …
    Skipped { reason: String },
    /// The provider refused the mail for good, or its fate is unknown and may not be repeated.
    Failed { id: Uuid, reason: String },
}

impl Sent {
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }
}

/// A mail being sent.
#[must_use = "a mail is not sent until the send is awaited"]
pub struct Send(StepHandle);

impl Send {
    pub(super) fn new(replay: &Replay, template: &str) -> Self {
        Self(replay.step(step::SEND, json!({ "template": template })))
    }

    /// An address other than the person's own.
    #[track_caller]
    pub fn to(self, address: &str) -> Self {
        Self(self.0.set("to", address))
    }

    /// A subject in place of the template's.
    #[track_caller]
    pub fn subject(self, subject: &str) -> Self {
        Self(self.0.set("subject", subject))
    }

    /// A category in place of the template's or the journey's.
    #[track_caller]
    pub fn category(self, category: &str) -> Self {
        Self(self.0.set("category", category))
    }

    /// How long the mail is useful: past that it is skipped as `expired`, never sent late. Counts
    /// from the decision to send. By default an hour for transactional mail, two days for other.
    #[track_caller]
    pub fn not_after(self, useful: Duration) -> Self {
        let ms = u64::try_from(useful.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.set("not_after_ms", ms))
    }

    /// A value the template sees as `props.<name>`.
    #[track_caller]
    pub fn prop(self, name: &str, value: impl Into<Value>) -> Self {
        Self(self.0.edit(|args| args["props"][name] = value.into()))
    }
}

impl Future for Send {
    type Output = Result<Sent, StepError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let value = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(value.and_then(super::advance::typed))
    }
}
