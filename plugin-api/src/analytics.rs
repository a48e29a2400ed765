//! Reading people's properties from an analytics product, and sending it events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{CallError, converse, method};
use crate::{Host, Past, PastIn, Properties, wire};

/// Reads people's properties from an analytics product and sends events to it.
pub trait Analytics {
    /// The properties of the person with this id, or `None` where reading is not configured or the
    /// product does not know the person.
    ///
    /// # Errors
    ///
    /// Why the product gave no answer, for the log. The host then uses the contact's own
    /// properties.
    fn person(
        &self,
        host: Host,
        distinct_id: String,
    ) -> impl Future<Output = Result<Option<Properties>, String>>;

    /// Sends events and properties to the product, in order. The host may send the same batch again
    /// where the answer was lost; [`Capture::id`] identifies a repeat. A plugin that also reads the
    /// product's webhooks must pass this id through the product and return it as the event's
    /// `dedupe_key`, so that the host recognizes its own events when they come back.
    fn capture(&self, _host: Host, _batch: Vec<Capture>) -> impl Future<Output = Captured> {
        async { Captured::Unwanted }
    }

    /// Reads past events from the product, page by page, for `hogsend backfill`. Default:
    /// [`Past::Unsupported`].
    fn past_events(&self, host: &Host, past: &PastIn) -> impl Future<Output = Past> {
        let _ = (host, past);
        std::future::ready(Past::Unsupported)
    }
}

/// One event to send to analytics, or an update of the person's properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capture {
    /// Unique per capture and the same on every attempt.
    pub id: Uuid,
    /// The product's id of the person.
    pub distinct_id: String,
    /// The name of the event; `None` for an update of the person's properties.
    #[serde(default)]
    pub event: Option<String>,
    /// The properties of the event, or those to set on the person.
    #[serde(default)]
    pub properties: Properties,
    /// When the event happened.
    pub occurred_at: DateTime<Utc>,
}

/// The result of sending a batch to analytics. One of a later version counts as [`Captured::Retry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Captured {
    /// The product accepted the whole batch.
    Taken,
    /// The plugin has no use for any of these captures, or sending is not configured; the host
    /// discards the batch.
    Unwanted,
    /// The product accepted all captures but these.
    #[non_exhaustive]
    Partly {
        /// The captures that the host must not send again.
        #[serde(deserialize_with = "wire::each")]
        refused: Vec<RefusedCapture>,
    },
    /// The product accepts nothing until an operator acts: a revoked key, an exhausted quota, a
    /// wrong host. The host keeps everything and retries occasionally.
    #[non_exhaustive]
    Blocked {
        /// For the operator.
        reason: String,
    },
    /// A temporary fault. The host retries, with the same batch or another one.
    #[non_exhaustive]
    Retry {
        /// For the log.
        reason: String,
        /// How long the product asks to wait, in milliseconds.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The product refuses this batch permanently. The host splits a batch of several captures to
    /// find the ones at fault.
    #[non_exhaustive]
    Rejected {
        /// For the operator.
        reason: String,
    },
}

impl Captured {
    /// The product accepted all captures but these.
    pub fn partly(refused: Vec<RefusedCapture>) -> Self {
        Self::Partly { refused }
    }

    /// The product accepts nothing until an operator acts.
    pub fn blocked(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
        }
    }

    /// A temporary fault. The wait that the product asks for is in milliseconds.
    pub fn retry(reason: impl Into<String>, retry_after_ms: Option<u64>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms,
        }
    }

    /// The product refuses this batch permanently.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reason: reason.into(),
        }
    }
}

wire::enum_on_the_wire!(Captured, |name, fault| Captured::Retry {
    reason: format!("the plugin answers with '{name}' ({fault}): it is newer than this host"),
    retry_after_ms: None,
});

/// A capture the product refuses permanently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedCapture {
    /// [`Capture::id`].
    pub id: Uuid,
    /// For the operator.
    pub reason: String,
}

impl Capture {
    /// An event without properties, or, where it has no name, an update of the person.
    pub fn new(
        id: Uuid,
        distinct_id: impl Into<String>,
        event: Option<String>,
        occurred_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            distinct_id: distinct_id.into(),
            event,
            properties: Properties::new(),
            occurred_at,
        }
    }
}

impl RefusedCapture {
    /// The capture of this id, and why it is refused.
    pub fn new(id: Uuid, reason: impl Into<String>) -> Self {
        Self {
            id,
            reason: reason.into(),
        }
    }
}

#[doc(hidden)]
pub fn dispatch<P: Analytics>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::ANALYTICS_PERSON => Some(converse(input, |host, id| plugin.person(host, id))),
        method::ANALYTICS_CAPTURE => {
            Some(converse(input, |host, batch| plugin.capture(host, batch)))
        }
        method::ANALYTICS_HISTORY => Some(converse(input, |host, past| async move {
            plugin.past_events(&host, &past).await
        })),
        _ => None,
    }
}
