//! Delivery events, read from a provider's webhooks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Body, wire};

/// The content of a genuine webhook of a provider. The host answers one of a later version with 500,
/// so that the provider sends it again and nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryReading {
    /// What happened to mails, in the order the webhook gives.
    Events(#[serde(deserialize_with = "wire::each")] Vec<DeliveryEvent>),
    /// The webhook is understood but reports nothing about a mail.
    #[non_exhaustive]
    Skipped {
        /// For the log.
        reason: String,
    },
    /// The webhook reports nothing about a mail, and the provider expects this response.
    #[non_exhaustive]
    Answer {
        /// The status code: 200 to 299, or 400 to 599.
        status: u16,
        /// The media type of `body`: `application/json`.
        content_type: String,
        /// At most 4 KiB; the host refuses to send more.
        body: Body,
    },
}

impl DeliveryReading {
    /// Nothing about a mail; `reason` is for the log.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped {
            reason: reason.into(),
        }
    }

    /// The response the provider expects; see [`DeliveryReading::Answer`].
    pub fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Self {
        Self::Answer {
            status,
            content_type: content_type.into(),
            body: body.into(),
        }
    }
}

/// One thing that happened to one mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeliveryEvent {
    /// What happened.
    pub kind: DeliveryEventKind,
    /// The provider's own id of this webhook message; the host ignores a second one with the same
    /// id.
    #[serde(default)]
    pub dedupe_key: Option<String>,
    /// The id the provider gave the mail when it accepted it.
    #[serde(default)]
    pub message_id: Option<String>,
    /// [`Mail::id`](crate::Mail::id), where the plugin passed it to the provider as a label and the
    /// provider returns it. It identifies a mail even where the provider's acceptance was lost.
    #[serde(default)]
    pub send_id: Option<Uuid>,
    /// The recipient's address.
    #[serde(default)]
    pub email: Option<String>,
    /// When it happened, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// For a bounce: whether a later mail may be delivered.
    #[serde(default)]
    pub bounce: Option<BounceType>,
    /// The provider's explanation of a bounce, a failure or a delay.
    #[serde(default)]
    pub reason: Option<String>,
    /// For a click: the URL of the link.
    #[serde(default)]
    pub link: Option<String>,
    /// For an open or a click: the `User-Agent` of the request.
    #[serde(default)]
    pub user_agent: Option<String>,
}

impl DeliveryEvent {
    /// An event with everything optional left empty.
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

/// What happened to a mail. The host leaves out an event with a kind of a later version and logs it;
/// the other events of the webhook count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryEventKind {
    /// The provider accepted the mail.
    Sent,
    /// The recipient's server has not accepted it yet; the provider retries.
    Delayed,
    /// The recipient's server accepted it.
    Delivered,
    /// The recipient, or a program of theirs, loaded its images.
    Opened,
    /// The recipient, or a program of theirs, followed a link.
    Clicked,
    /// The recipient's server refused it; see [`BounceType`].
    Bounced,
    /// The recipient reported it as spam.
    Complained,
    /// The provider gave up on the mail.
    Failed,
    /// The provider did not try: the address is on its own suppression list.
    Suppressed,
    /// The recipient used the provider's own unsubscribe link.
    Unsubscribed,
}

/// Whether a bounced address can receive a later mail. A type of a later version counts as
/// [`BounceType::Undetermined`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BounceType {
    /// The address does not work and never will (a hard bounce).
    Permanent,
    /// The fault is temporary, such as a full mailbox or a server that is down (a soft bounce).
    Transient,
    /// The provider does not say which.
    #[serde(other)]
    Undetermined,
}
