//! Reading one vendor's webhooks into events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::call::{CallError, decode, encode, method};
use crate::{Body, Properties};

/// Verifies and reads webhooks. A pure function of the request and the plugin's settings.
pub trait EventSource {
    fn read(&self, webhook: &Webhook) -> Result<Reading, Refusal>;
}

/// A webhook as it arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// Untouched, but for a `Content-Encoding`, which the host undoes.
    pub body: Body,
    pub received_at: DateTime<Utc>,
    /// `POST`, or `GET` for a challenge: a vendor's question whether the address is the right one.
    #[serde(default = "post")]
    pub method: String,
    /// As it was asked for, still encoded.
    #[serde(default)]
    pub path: String,
    /// What follows the question mark, still encoded.
    #[serde(default)]
    pub query: String,
}

fn post() -> String {
    "POST".into()
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            body: Vec::new().into(),
            received_at: DateTime::UNIX_EPOCH,
            method: post(),
            path: String::new(),
            query: String::new(),
        }
    }
}

impl Webhook {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a genuine webhook says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    Events(Vec<SourceEvent>),
    /// Understood, and nothing to store.
    Skipped {
        reason: String,
    },
    /// A challenge, answered with this plain text of at most 4 KiB. Hosts before 1.0.0 of the product
    /// do not know it.
    Challenge {
        answer: String,
    },
}

/// Why a webhook is turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The secret or signature is missing or wrong.
    Unauthorized,
    /// Genuine but unreadable; `details` says what to mend.
    Invalid { details: String },
}

/// An event as its source tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceEvent {
    pub name: String,
    /// The source's own id of the event; a second one of the same id changes nothing.
    #[serde(default)]
    pub dedupe_key: Option<String>,
    /// The person's id in the product.
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    /// The id of a visitor the product has no id for, or of the device the person used. Known by it
    /// alone, an event makes no contact.
    #[serde(default)]
    pub anonymous_id: Option<String>,
    /// Further ids of the same person, as kind and value: the source's own id (`vendor_person`), or
    /// another `user` or `anonymous` id that the event says is theirs too. A kind has letters,
    /// digits and `_`.
    #[serde(default)]
    pub identities: Vec<(String, String)>,
    /// Stay on the event.
    #[serde(default)]
    pub properties: Properties,
    /// Go to the contact.
    #[serde(default)]
    pub contact_properties: Properties,
    /// When it happened; the time of receipt where the source does not say.
    #[serde(default)]
    pub occurred_at: Option<DateTime<Utc>>,
}

#[doc(hidden)]
pub fn dispatch<P: EventSource>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    (number == method::EVENT_SOURCE_READ).then(|| encode(&plugin.read(&decode(input)?)))
}
