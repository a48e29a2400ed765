//! What a provider tells of mails in its webhooks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// [`Mail::id`](crate::Mail::id), where the plugin gave it to the provider as a label and got it
    /// back. It finds mails whose acceptance was lost.
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
