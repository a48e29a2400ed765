//! Sending mail through one provider.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{CallError, converse, decode, encode, method};
use crate::{Body, Host};

/// Hands mails to a provider.
///
/// [`prepare`](Delivery::prepare) runs once for each mail; the host stores what it gives and
/// replays those bytes on every attempt.
pub trait Delivery {
    /// What the provider promises.
    fn capabilities(&self) -> Capabilities;

    /// Makes the exact bytes to send. The error names what in the mail is unacceptable.
    fn prepare(&self, mail: &Mail) -> Result<Prepared, String>;

    /// Makes one attempt and says how it ended.
    fn send(&self, host: Host, attempt: Attempt) -> impl Future<Output = SendOutcome>;
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

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendOutcome {
    /// The provider has the mail.
    Accepted { message_id: String },
    /// The provider did not take it and may later: a rate limit, a fault of its own, no
    /// connection. `retry_after_ms` is the provider's wish.
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
    /// The answer was lost: the provider may or may not have the mail.
    Unknown { reason: String },
}

/// What a provider promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub idempotency: Idempotency,
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
        _ => None,
    }
}
