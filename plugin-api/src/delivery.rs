//! Sending mail through one provider.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{CallError, converse, decode, encode, method};
use crate::{Body, Host, HttpError, HttpErrorKind, Refusal, Webhook};

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

/// How a batch's attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// The provider answered for every mail, in the order they were given. Only `Accepted` and
    /// `Rejected` make sense here; anything else leaves the mail to be tried alone.
    Each(Vec<SendOutcome>),
    /// The same end for all: a rate limit, a refused key, an answer that was lost.
    All(SendOutcome),
    /// The provider refused the batch as such and took none of it: each mail is tried alone, so
    /// that one bad mail holds up no other.
    Apart { reason: String },
}

/// How many requests a provider takes, from its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests in a window.
    pub requests: u32,
    /// The window's length in milliseconds.
    pub per_ms: u64,
    /// Requests left in the present window.
    #[serde(default)]
    pub remaining: Option<u32>,
    /// Milliseconds until the next window.
    #[serde(default)]
    pub reset_ms: Option<u64>,
}

/// What a genuine webhook of a provider says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryReading {
    Events(Vec<DeliveryEvent>),
    /// Understood, and nothing about a mail.
    Skipped {
        reason: String,
    },
}

/// What a provider tells of one mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryEvent {
    pub kind: DeliveryEventKind,
    /// The provider's own id of this message; a second one of the same id changes nothing.
    #[serde(default)]
    pub dedupe_key: Option<String>,
    /// The id the provider gave the mail when it took it.
    #[serde(default)]
    pub message_id: Option<String>,
    /// [`Mail::id`], where the plugin gave it to the provider as a label and got it back. It finds
    /// mails whose acceptance was lost.
    #[serde(default)]
    pub send_id: Option<Uuid>,
    /// The recipient.
    #[serde(default)]
    pub email: Option<String>,
    /// By the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// For a bounce: whether a later mail may arrive.
    #[serde(default)]
    pub bounce: Option<BounceType>,
    /// The provider's words for a bounce, a failure or a delay.
    #[serde(default)]
    pub reason: Option<String>,
    /// For a click: where it led.
    #[serde(default)]
    pub link: Option<String>,
    /// For an open or a click.
    #[serde(default)]
    pub user_agent: Option<String>,
}

impl DeliveryEvent {
    pub fn new(kind: DeliveryEventKind, occurred_at: DateTime<Utc>) -> Self {
        Self {
            kind,
            dedupe_key: None,
            message_id: None,
            send_id: None,
            email: None,
            occurred_at,
            bounce: None,
            reason: None,
            link: None,
            user_agent: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryEventKind {
    /// The provider took the mail.
    Sent,
    /// The recipient's server did not take it yet.
    Delayed,
    Delivered,
    Opened,
    Clicked,
    Bounced,
    Complained,
    /// The provider gave the mail up.
    Failed,
    /// The provider did not try: the address is on its own suppression list.
    Suppressed,
    /// The person used the provider's own link to leave.
    Unsubscribed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BounceType {
    /// The address does not work and never will.
    Permanent,
    /// A full mailbox, a server that is down.
    Transient,
    Undetermined,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendOutcome {
    /// The provider has the mail.
    Accepted { message_id: String },
    /// The provider surely did not take it and may later: a rate limit, no connection.
    /// `retry_after_ms` is the provider's wish.
    Retry {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// The limit concerns every mail, not just this one; such a pause uses up no attempt.
        #[serde(default)]
        pause: bool,
    },
    /// The provider will not take any mail until someone acts: a refused key, an exhausted quota.
    /// The mail is kept and uses up no attempt.
    Blocked {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The provider will never take this mail.
    Rejected { reason: String },
    /// The answer was lost or is a fault that may have come after acceptance: the provider may or
    /// may not have the mail.
    Unknown { reason: String },
}

/// What a request that got no answer means for the mail in it.
impl From<HttpError> for SendOutcome {
    fn from(error: HttpError) -> Self {
        let reason = error.message;
        match error.kind {
            HttpErrorKind::Connect => Self::Retry {
                reason,
                retry_after_ms: None,
                pause: false,
            },
            HttpErrorKind::Lost => Self::Unknown { reason },
            // The URL or a header is wrong, so it is for every mail.
            HttpErrorKind::Refused => Self::Blocked {
                reason,
                retry_after_ms: None,
            },
        }
    }
}

/// What a provider promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub idempotency: Idempotency,
    /// The most mails in one request; 1 where there is no call for batches.
    #[serde(default = "one")]
    pub batch_max: u32,
    /// The rate to begin with, until the provider's answers tell another.
    #[serde(default)]
    pub rate: Option<Rate>,
}

fn one() -> u32 {
    1
}

impl Capabilities {
    /// No batches, and no limit but what the provider's answers tell.
    pub fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            batch_max: 1,
            rate: None,
        }
    }

    /// Up to `max` mails in one request.
    pub fn batches_of(mut self, max: u32) -> Self {
        self.batch_max = max.max(1);
        self
    }

    /// At most `requests` in `per` to begin with.
    pub fn rate(mut self, requests: u32, per: Duration) -> Self {
        self.rate = Some(Rate {
            requests,
            per_ms: per.as_millis() as u64,
            remaining: None,
            reset_ms: None,
        });
        self
    }
}

/// Whether a repeated attempt with the same key is one mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    /// A repeat may be a second mail.
    None,
    /// A repeat within this many seconds of the first attempt is the same mail.
    ForSeconds(u64),
    /// A repeat is always the same mail.
    Forever,
}

impl Idempotency {
    /// Whether an attempt begun `elapsed` ago may be repeated without risk of a second mail.
    pub fn covers(self, elapsed: Duration) -> bool {
        match self {
            Self::None => false,
            Self::ForSeconds(window) => elapsed < Duration::from_secs(window),
            Self::Forever => true,
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
