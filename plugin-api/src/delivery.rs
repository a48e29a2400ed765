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

/// How a batch's attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// The provider answered for every mail, in the order they were given. `Unknown` is not an
    /// answer: a batch with one lost answer is `All(Unknown)`.
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

/// How an attempt ended: a plugin says whose fault it was, the host decides what follows.
///
/// The fault is the question to answer first. It is the *installation's* where the same answer
/// would come for any mail to anybody (a key, a quota, a sender, a relay rule): then the outcome is
/// `Blocked` and no mail is lost. It is the *recipient's* where the same mail to somebody else would
/// have passed. Only what is wrong with this one mail is its content's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendOutcome {
    /// The provider has the mail.
    Accepted { message_id: String },
    /// The provider surely did not take it and may later: a rate limit, no connection, a full
    /// mailbox. `retry_after_ms` is how long the provider asks to wait.
    Retry {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// The limit concerns every mail, not just this one; such a pause uses up no attempt.
        #[serde(default)]
        pause: bool,
        #[serde(default)]
        fault: RetryFault,
    },
    /// The provider will not take mail until someone acts: a refused key, an exhausted quota, a
    /// sender it does not accept. The mail is kept, or goes to another provider, and uses up no
    /// attempt.
    Blocked {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
        #[serde(default)]
        scope: BlockScope,
    },
    /// The provider will never take this mail.
    Rejected {
        reason: String,
        #[serde(default)]
        fault: RejectFault,
        /// For a fault of the recipient: `Permanent` where the address does not work, which puts it
        /// on the suppression list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bounce: Option<BounceType>,
    },
    /// The answer was lost or is a fault that may have come after acceptance: the provider may or
    /// may not have the mail.
    Unknown { reason: String },
}

/// Whose temporary fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryFault {
    /// This recipient's mailbox or server: full, greylisted, away. Only this mail waits.
    Recipient,
    /// The provider's own. Several in a row make the host leave the provider alone for a while.
    #[default]
    #[serde(other)]
    Provider,
}

/// What the provider will take no mail of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockScope {
    /// The sender address of this mail: not verified, not allowed for this account. Mail of other
    /// senders goes on.
    Sender,
    /// All mail: the key, the account, the quota.
    #[default]
    #[serde(other)]
    Provider,
}

/// What is wrong for good with a mail that is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectFault {
    /// The address, or what its server says of it.
    Recipient,
    /// The mail itself: too large, a header, its words.
    #[default]
    #[serde(other)]
    Content,
}

impl SendOutcome {
    /// A temporary fault of the provider.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: false,
            fault: RetryFault::Provider,
        }
    }

    /// A temporary fault of this recipient.
    pub fn recipient_busy(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: false,
            fault: RetryFault::Recipient,
        }
    }

    /// A limit on all mail that ends by itself.
    pub fn pause(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            retry_after_ms: None,
            pause: true,
            fault: RetryFault::Provider,
        }
    }

    /// All mail is refused until someone acts.
    pub fn blocked(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            retry_after_ms: None,
            scope: BlockScope::Provider,
        }
    }

    /// Mail of this sender is refused until someone acts.
    pub fn sender_blocked(reason: impl Into<String>) -> Self {
        Self::Blocked {
            reason: reason.into(),
            retry_after_ms: None,
            scope: BlockScope::Sender,
        }
    }

    /// The mail itself cannot be sent.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reason: reason.into(),
            fault: RejectFault::Content,
            bounce: None,
        }
    }

    /// The recipient refuses. With [`BounceType::Permanent`] the address gets no more mail.
    pub fn bounced(reason: impl Into<String>, bounce: BounceType) -> Self {
        Self::Rejected {
            reason: reason.into(),
            fault: RejectFault::Recipient,
            bounce: Some(bounce),
        }
    }

    /// Nobody knows whether the provider has the mail.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    /// Not sooner than the provider asks, where it is a `Retry` or `Blocked`.
    pub fn after(mut self, wait_ms: Option<u64>) -> Self {
        if let Self::Retry { retry_after_ms, .. } | Self::Blocked { retry_after_ms, .. } = &mut self
        {
            *retry_after_ms = wait_ms;
        }
        self
    }

    /// The plugin's words for it; none for a mail that was accepted.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Retry { reason, .. }
            | Self::Blocked { reason, .. }
            | Self::Rejected { reason, .. }
            | Self::Unknown { reason } => Some(reason),
        }
    }
}

/// What a request that got no answer means for the mail in it.
impl From<HttpError> for SendOutcome {
    fn from(error: HttpError) -> Self {
        match error.kind {
            HttpErrorKind::Connect => Self::retry(error.message),
            HttpErrorKind::Lost => Self::unknown(error.message),
            // The URL or a header is wrong, so it is for every mail.
            HttpErrorKind::Refused => Self::blocked(error.message),
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
    /// The longest an attempt may take, in milliseconds, where that is more than the host's own
    /// bound of a minute: a server that filters a message before it answers (RFC 5321 §4.5.3.2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_ms: Option<u64>,
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
            attempt_ms: None,
        }
    }

    /// Up to `max` mails in one request.
    pub fn batches_of(mut self, max: u32) -> Self {
        self.batch_max = max.max(1);
        self
    }

    /// An attempt may take this long.
    pub fn attempt(mut self, longest: Duration) -> Self {
        self.attempt_ms = Some(longest.as_millis() as u64);
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

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::{BlockScope, BounceType, Capabilities, Idempotency, RejectFault, SendOutcome};

    #[test]
    fn answers_of_older_plugins_mean_what_they_meant() {
        for (said, meant) in [
            (
                json!({ "retry": { "reason": "r", "retry_after_ms": 5 } }),
                SendOutcome::retry("r").after(Some(5)),
            ),
            (
                json!({ "retry": { "reason": "r", "pause": true } }),
                SendOutcome::pause("r"),
            ),
            (
                json!({ "blocked": { "reason": "r" } }),
                SendOutcome::blocked("r"),
            ),
            (
                json!({ "rejected": { "reason": "r" } }),
                SendOutcome::rejected("r"),
            ),
        ] {
            assert_eq!(from_value::<SendOutcome>(said).unwrap(), meant);
        }
        let capabilities = json!({ "idempotency": "none" });
        assert_eq!(
            from_value::<Capabilities>(capabilities).unwrap(),
            Capabilities::new(Idempotency::None)
        );
    }

    #[test]
    fn words_of_newer_plugins_are_read_as_the_careful_ones() {
        for (said, meant) in [
            (
                json!({ "retry": { "reason": "r", "fault": "weather" } }),
                SendOutcome::retry("r"),
            ),
            (
                json!({ "blocked": { "reason": "r", "scope": "stream" } }),
                SendOutcome::Blocked {
                    reason: "r".into(),
                    retry_after_ms: None,
                    scope: BlockScope::Provider,
                },
            ),
            (
                json!({ "rejected": { "reason": "r", "fault": "moon", "later": 1 } }),
                SendOutcome::Rejected {
                    reason: "r".into(),
                    fault: RejectFault::Content,
                    bounce: None,
                },
            ),
        ] {
            assert_eq!(from_value::<SendOutcome>(said).unwrap(), meant);
        }
        let bounced = SendOutcome::bounced("r", BounceType::Permanent);
        assert_eq!(
            serde_json::to_value(&bounced).unwrap(),
            json!({ "rejected": { "reason": "r", "fault": "recipient", "bounce": "permanent" } })
        );
    }
}
