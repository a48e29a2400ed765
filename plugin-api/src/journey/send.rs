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

/// Inputs of a `send` step. The methods of [`Send`] explain each field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SendArgs {
    /// The key of the template.
    pub template: String,
    /// The recipient; `None` for the person's own address.
    #[serde(default)]
    pub to: Option<String>,
    /// The subject; `None` for the template's.
    #[serde(default)]
    pub subject: Option<String>,
    /// The category; `None` for the template's, else the journey's.
    #[serde(default)]
    pub category: Option<String>,
    /// The values the template sees as `props`.
    #[serde(default)]
    pub props: Properties,
    /// How long the mail is useful, in milliseconds from the step; `None` for the template's own.
    #[serde(default)]
    pub not_after_ms: Option<u64>,
}

/// The result of a `send` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sent {
    /// A provider accepted the mail with this id.
    #[non_exhaustive]
    Sent { id: Uuid },
    /// The host sent no mail, for a reason that is not an error, such as `unsubscribed`.
    #[non_exhaustive]
    Skipped { reason: String },
    /// The provider refused the mail permanently, or its outcome is unknown and a retry could send a
    /// second mail.
    #[non_exhaustive]
    Failed { id: Uuid, reason: String },
}

impl Sent {
    /// A provider accepted the mail with this id.
    pub fn accepted(id: Uuid) -> Self {
        Self::Sent { id }
    }

    /// The host sent no mail.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped {
            reason: reason.into(),
        }
    }

    /// The mail with this id was refused permanently, or its outcome is unknown.
    pub fn failed(id: Uuid, reason: impl Into<String>) -> Self {
        Self::Failed {
            id,
            reason: reason.into(),
        }
    }

    /// Whether a provider accepted the mail.
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }
}

/// A mail to send. Resolves to [`Sent`].
#[must_use = "a mail is not sent until the send is awaited"]
pub struct Send(StepHandle);

impl Send {
    pub(super) fn new(replay: &Replay, template: &str) -> Self {
        Self(replay.step(step::SEND, json!({ "template": template })))
    }

    /// Sends to another address instead of the person's own.
    #[track_caller]
    pub fn to(self, address: &str) -> Self {
        Self(self.0.set("to", address))
    }

    /// Replaces the template's subject.
    #[track_caller]
    pub fn subject(self, subject: &str) -> Self {
        Self(self.0.set("subject", subject))
    }

    /// Replaces the category of the template or the journey.
    #[track_caller]
    pub fn category(self, category: &str) -> Self {
        Self(self.0.set("category", category))
    }

    /// How long the mail is useful, counted from this step. After that the host skips it as
    /// `expired` and never sends it late. Default: the template's
    /// [`not_after_ms`](super::Template::not_after_ms).
    #[track_caller]
    pub fn not_after(self, useful: Duration) -> Self {
        let ms = u64::try_from(useful.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.set("not_after_ms", ms))
    }

    /// Sets a value, which the template sees as `props.<name>`.
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
