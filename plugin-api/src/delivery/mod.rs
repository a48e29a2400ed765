//! Sending mail through one provider.

mod capabilities;
mod event;
mod outcome;

pub use capabilities::{Capabilities, Idempotency, Rate};
pub use event::{BounceType, DeliveryEvent, DeliveryEventKind, DeliveryReading};
pub use outcome::{BatchOutcome, BlockScope, RejectFault, RetryFault, SendOutcome};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{CallError, converse, decode, encode, method};
use crate::{Body, Host, Refusal, Webhook};

/// Hands mails to a provider, and reads what the provider tells of them.
///
/// [`prepare`](Delivery::prepare) runs once for each mail; the host stores what it gives and
/// replays those bytes on every attempt.
pub trait Delivery {
    /// What the provider promises.
    fn capabilities(&self) -> Capabilities;

    /// Makes the exact bytes to send. The error names what in the mail is unacceptable.
    fn prepare(&self, mail: &Mail) -> Result<Prepared, String>;

    /// Makes one attempt and says how it ended.
    fn send(&self, host: Host, attempt: Attempt) -> impl Future<Output = Sent>;

    /// Hands over several mails in one request, in the order given and under one key. The host
    /// freezes both: a repeat has the same mails in the same order under the same key. Called only
    /// where [`Capabilities::batch_max`] is above 1.
    fn send_batch(&self, host: Host, batch: BatchAttempt) -> impl Future<Output = BatchSent> {
        let _ = (host, batch);
        std::future::ready(BatchSent::from(BatchOutcome::Apart {
            reason: "the provider takes no batches".into(),
        }))
    }

    /// Verifies and reads one of the provider's webhooks. A pure function of the request and the
    /// plugin's settings.
    fn read(&self, webhook: &Webhook) -> Result<DeliveryReading, Refusal> {
        let _ = webhook;
        Ok(DeliveryReading::Skipped {
            reason: "this provider sends no webhooks".into(),
        })
    }
}

/// A rendered mail, frozen: it never changes between attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mail {
    pub id: Uuid,
    /// `Name <address>` or a bare address.
    pub from: String,
    /// A bare address.
    pub to: String,
    #[serde(default)]
    pub reply_to: Option<String>,
    pub subject: String,
    pub html: String,
    pub text: String,
    /// Further headers, unfolded: `List-Unsubscribe` and its like.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Short labels for the provider's reports: template, journey, category.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// For the `Date` header.
    pub date: DateTime<Utc>,
    /// For the `Message-ID` header, without angle brackets (RFC 5322 §3.6.4).
    pub message_id: String,
}

/// Frozen request bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    pub content_type: String,
    pub body: Body,
}

/// One try at delivering a mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The same for every attempt of one mail.
    pub idempotency_key: String,
    pub prepared: Prepared,
    /// When the mail was decided on.
    pub created_at: DateTime<Utc>,
    /// From 1.
    pub number: u32,
    /// Milliseconds from the beginning of the call until the host stops waiting for its end and
    /// counts the mail as in doubt. At least what [`Capabilities::attempt_ms`] asks for. None from
    /// a host that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// One try at delivering several mails in one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchAttempt {
    /// The batch's own, the same for every attempt of it.
    pub idempotency_key: String,
    /// At least two, at most [`Capabilities::batch_max`], always in this order.
    pub mails: Vec<Prepared>,
    /// From 1.
    pub number: u32,
    /// As [`Attempt::deadline_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl BatchAttempt {
    /// The frozen mails, JSON each, as one JSON array, byte for byte.
    pub fn json_array(&self) -> Body {
        let parts: Vec<&[u8]> = self.mails.iter().map(|mail| mail.body.as_slice()).collect();
        Body([b"[", parts.join(&b","[..]).as_slice(), b"]"].concat())
    }
}

/// The end of an attempt, and what the provider said about its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    #[serde(flatten)]
    pub outcome: SendOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl From<SendOutcome> for Sent {
    fn from(outcome: SendOutcome) -> Self {
        Self {
            outcome,
            rate: None,
        }
    }
}

/// The end of a batch's attempt, and what the provider said about its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSent {
    pub outcome: BatchOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl From<BatchOutcome> for BatchSent {
    fn from(outcome: BatchOutcome) -> Self {
        Self {
            outcome,
            rate: None,
        }
    }
}

#[doc(hidden)]
pub fn dispatch<P: Delivery>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::DELIVERY_CAPABILITIES => Some(encode(&plugin.capabilities())),
        method::DELIVERY_PREPARE => {
            Some(decode(input).and_then(|mail| encode(&plugin.prepare(&mail))))
        }
        method::DELIVERY_SEND => Some(converse(input, |host, attempt| plugin.send(host, attempt))),
        method::DELIVERY_SEND_BATCH => Some(converse(input, |host, batch| {
            plugin.send_batch(host, batch)
        })),
        method::DELIVERY_READ => {
            Some(decode(input).and_then(|webhook| encode(&plugin.read(&webhook))))
        }
        _ => None,
    }
}
