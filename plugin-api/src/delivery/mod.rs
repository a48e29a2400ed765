//! Sending mail through one provider.

mod capabilities;
mod declined;
mod event;
mod outcome;

pub use capabilities::{Capabilities, Idempotency, Rate};
pub use declined::{Declined, first_phrase};
pub use event::{BounceType, DeliveryEvent, DeliveryEventKind, DeliveryReading};
pub use outcome::{BatchOutcome, BlockScope, RejectFault, RetryFault, SendOutcome};

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::call::{CallError, converse, decode, encode, method};
use crate::{Body, Host, Refusal, Webhook, wire};

/// Sends mails through a provider, and reads its webhooks about them.
///
/// The host calls [`prepare`](Delivery::prepare) once for each mail, stores the bytes it returns and
/// passes the same bytes to every attempt.
pub trait Delivery {
    /// What the provider guarantees, and its limits.
    fn capabilities(&self) -> Capabilities;

    /// Builds the exact bytes to send.
    ///
    /// # Errors
    ///
    /// What in the mail the provider cannot accept. The mail then fails without an attempt.
    fn prepare(&self, mail: &Mail) -> Result<Prepared, String>;

    /// Makes one attempt and reports its outcome.
    fn send(&self, host: Host, attempt: Attempt) -> impl Future<Output = Sent>;

    /// Sends several mails in one request, in the given order and under one idempotency key. A
    /// repeated attempt has the same mails in the same order under the same key. Called only where
    /// [`Capabilities::batch_max`] is above 1.
    fn send_batch(&self, host: Host, batch: BatchAttempt) -> impl Future<Output = BatchSent> {
        let _ = (host, batch);
        std::future::ready(BatchSent::from(BatchOutcome::Apart {
            reason: "the provider takes no batches".into(),
        }))
    }

    /// Verifies and reads one of the provider's webhooks. Must depend only on the request, the
    /// plugin's settings and the answers of the host, which it may ask, for example for the
    /// certificate that verifies the signature.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the webhook is not genuine, or cannot be read.
    fn read_webhook(
        &self,
        host: &Host,
        webhook: &Webhook,
    ) -> impl Future<Output = Result<DeliveryReading, Refusal>> {
        let _ = (host, webhook);
        std::future::ready(Ok(DeliveryReading::skipped(
            "this provider sends no webhooks",
        )))
    }
}

/// A rendered mail. It never changes between attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mail {
    /// The host's id of the mail.
    pub id: Uuid,
    /// The sender: `Name <address>` or a bare address.
    pub from: String,
    /// The recipient: a bare address.
    pub to: String,
    /// Where replies go: `Name <address>` or a bare address.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Plain text, not encoded for a header.
    pub subject: String,
    /// The HTML part.
    pub html: String,
    /// The plain-text part.
    pub text: String,
    /// Further headers as name and unfolded value, for example `List-Unsubscribe`.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Short labels for the provider's reports, as name and value: template, journey, category.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// For the `Date` header.
    pub date: DateTime<Utc>,
    /// For the `Message-ID` header, without angle brackets (RFC 5322 §3.6.4).
    pub message_id: String,
}

impl Mail {
    /// A mail with these ends and everything else left empty.
    pub fn new(id: Uuid, from: &str, to: &str, date: DateTime<Utc>) -> Self {
        Self {
            id,
            from: from.into(),
            to: to.into(),
            reply_to: None,
            subject: String::new(),
            html: String::new(),
            text: String::new(),
            headers: Vec::new(),
            tags: Vec::new(),
            date,
            message_id: String::new(),
        }
    }

    /// The value of a tag; `None` where the mail has none of this name, or an empty one.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let mut all = self.tags.iter();
        let (_, value) = all.find(|(own, value)| own == name && !value.is_empty())?;
        Some(value)
    }

    /// Whether its category is `transactional`: mail that a person asked for, such as a password reset. A
    /// provider with streams, pools or configuration sets keeps it apart from other mail.
    pub fn is_transactional(&self) -> bool {
        self.tag("category") == Some("transactional")
    }
}

/// The request bytes of a mail, the same on every attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prepared {
    /// The media type of `body`: `application/json`, `message/rfc822`.
    pub content_type: String,
    /// The bytes to send.
    pub body: Body,
}

impl Prepared {
    /// Bytes of this media type.
    pub fn new(content_type: &str, body: impl Into<Body>) -> Self {
        Self {
            content_type: content_type.into(),
            body: body.into(),
        }
    }
}

/// One attempt to send a mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The same for every attempt of one mail.
    pub idempotency_key: String,
    /// What [`Delivery::prepare`] returned.
    pub prepared: Prepared,
    /// When the host created the mail.
    pub created_at: DateTime<Utc>,
    /// Counts the attempts, from 1.
    pub number: u32,
    /// Milliseconds from the start of the call until the host stops waiting for the result and
    /// treats the outcome as unknown. At least [`Capabilities::attempt_ms`]. `None` from an older
    /// host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl Attempt {
    /// The attempt of this number, from 1, without a deadline.
    pub fn new(
        idempotency_key: impl Into<String>,
        prepared: Prepared,
        created_at: DateTime<Utc>,
        number: u32,
    ) -> Self {
        Self {
            idempotency_key: idempotency_key.into(),
            prepared,
            created_at,
            number,
            deadline_ms: None,
        }
    }
}

/// One attempt to send several mails in one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchAttempt {
    /// The key of the batch, the same for every attempt of it.
    pub idempotency_key: String,
    /// At least two, at most [`Capabilities::batch_max`], always in the same order.
    pub mails: Vec<Prepared>,
    /// Counts the attempts, from 1.
    pub number: u32,
    /// Milliseconds, see [`Attempt::deadline_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl BatchAttempt {
    /// The attempt of this number, from 1, without a deadline.
    pub fn new(idempotency_key: impl Into<String>, mails: Vec<Prepared>, number: u32) -> Self {
        Self {
            idempotency_key: idempotency_key.into(),
            mails,
            number,
            deadline_ms: None,
        }
    }

    /// One JSON array of the prepared bodies, each of which must be JSON. The bodies are copied byte
    /// for byte.
    pub fn json_array(&self) -> Body {
        let parts: Vec<&[u8]> = self.mails.iter().map(|mail| mail.body.as_slice()).collect();
        Body([b"[", parts.join(&b","[..]).as_slice(), b"]"].concat())
    }
}

/// The outcome of an attempt, and the rate limit the provider reported with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sent {
    /// How the attempt ended.
    #[serde(flatten)]
    pub outcome: SendOutcome,
    /// The rate limit in the provider's answer, where it states one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// The outcome is a field beside the others, by its name. The first that is one counts, so that later
/// versions can add fields.
impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let rate = fields.remove("rate").unwrap_or_default();
        let known = fields
            .iter()
            .find(|(name, _)| SendOutcome::NAMES.contains(&name.as_str()));
        let outcome = match known.or_else(|| fields.iter().next()) {
            Some((name, value)) => json!({ name: value }),
            None => return Err(D::Error::custom("no outcome")),
        };
        Ok(Self {
            outcome: serde_json::from_value(outcome).map_err(D::Error::custom)?,
            rate: wire::optional(rate).map_err(D::Error::custom)?,
        })
    }
}

impl Sent {
    /// An outcome, and the rate limit the provider reported with it.
    pub fn new(outcome: SendOutcome, rate: Option<Rate>) -> Self {
        Self { outcome, rate }
    }
}

impl From<SendOutcome> for Sent {
    fn from(outcome: SendOutcome) -> Self {
        Self {
            outcome,
            rate: None,
        }
    }
}

/// The outcome of a batch attempt, and the rate limit the provider reported with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchSent {
    /// How the attempt ended.
    pub outcome: BatchOutcome,
    /// The rate limit in the provider's answer, where it states one.
    #[serde(
        default,
        deserialize_with = "wire::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub rate: Option<Rate>,
}

impl BatchSent {
    /// An outcome, and the rate limit the provider reported with it.
    pub fn new(outcome: BatchOutcome, rate: Option<Rate>) -> Self {
        Self { outcome, rate }
    }
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
        method::DELIVERY_READ_WEBHOOK => Some(converse(input, |host, webhook| async move {
            plugin.read_webhook(&host, &webhook).await
        })),
        _ => None,
    }
}
