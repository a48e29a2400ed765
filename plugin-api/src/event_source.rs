//! Reading one vendor's webhooks into events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::call::{CallError, converse, method};
use crate::{Body, Host, Past, PastIn, Properties, wire};

/// Verifies and reads one vendor's webhooks.
pub trait EventSource {
    /// Reads one webhook. Must depend only on the request, the plugin's settings and the answers of
    /// the host, which it may ask, for example for the certificate that verifies the signature.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the webhook is not genuine, or cannot be read.
    fn read(
        &self,
        host: &Host,
        webhook: &Webhook,
    ) -> impl Future<Output = Result<Reading, Refusal>>;

    /// Reads past events from the vendor's API, page by page, for `hogsend backfill`. An event has the
    /// `dedupe_key` its webhook would have, and its own time; the host leaves out one that lacks either.
    /// Default: [`Past::Unsupported`].
    fn history(&self, host: &Host, past: &PastIn) -> impl Future<Output = Past> {
        let _ = (host, past);
        std::future::ready(Past::Unsupported)
    }
}

/// A webhook as it arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Webhook {
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The bytes as received; the host only undoes a `Content-Encoding`.
    pub body: Body,
    /// When the host received the request.
    pub received_at: DateTime<Utc>,
    /// `POST`, or `GET` for a challenge, with which a vendor verifies that the URL is ours.
    #[serde(default = "post")]
    pub method: String,
    /// The path of the request, still percent-encoded.
    #[serde(default)]
    pub path: String,
    /// The query string without its question mark, still percent-encoded.
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
    /// A `POST` without path and query. Header names must be in lower case.
    pub fn new(
        headers: Vec<(String, String)>,
        body: impl Into<Body>,
        received_at: DateTime<Utc>,
    ) -> Self {
        Self {
            headers,
            body: body.into(),
            received_at,
            ..Self::default()
        }
    }

    /// The value of the first header with this name, which must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The content of a genuine webhook. The host answers one of a later version with 500, so that the
/// vendor sends it again and nothing is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reading {
    /// The events to ingest, in the order the webhook gives.
    Events(#[serde(deserialize_with = "wire::each")] Vec<SourceEvent>),
    /// The webhook is understood but holds nothing to store.
    #[non_exhaustive]
    Skipped {
        /// For the log.
        reason: String,
    },
    /// A challenge, with which the vendor verifies the URL by a `GET`. The host answers with 200.
    #[non_exhaustive]
    Challenge {
        /// The response body, as plain text of at most 4 KiB.
        answer: String,
    },
    /// The webhook holds nothing to store, and the vendor expects this response.
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

impl Reading {
    /// Nothing to store; `reason` is for the log.
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped {
            reason: reason.into(),
        }
    }

    /// The response to a challenge; see [`Reading::Challenge`].
    pub fn challenge(answer: impl Into<String>) -> Self {
        Self::Challenge {
            answer: answer.into(),
        }
    }

    /// The response the vendor expects; see [`Reading::Answer`].
    pub fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Self {
        Self::Answer {
            status,
            content_type: content_type.into(),
            body: body.into(),
        }
    }
}

/// Why the host must refuse a webhook. One of a later version counts as [`Refusal::Invalid`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Refusal {
    /// The secret or signature is missing or wrong. The host answers with 401.
    #[non_exhaustive]
    Unauthorized {
        /// For the operator's log, at most once a minute per source; never in the response. `None`
        /// lets the host name the most likely cause. Must not contain a secret.
        #[serde(default)]
        reason: Option<String>,
    },
    /// The webhook is genuine but cannot be read; `details` says what to fix. The host answers with
    /// 400.
    #[non_exhaustive]
    Invalid {
        /// For the response and the log.
        details: String,
    },
}

wire::enum_on_the_wire!(Refusal, |name, fault| Refusal::Invalid {
    details: format!("the plugin refuses it as '{name}' ({fault}): it is newer than this host"),
});

impl Refusal {
    /// The secret or signature is missing or wrong.
    pub fn unauthorized() -> Self {
        Self::Unauthorized { reason: None }
    }

    /// The secret or signature is missing or wrong, for this reason.
    pub fn unauthorized_because(reason: impl Into<String>) -> Self {
        Self::Unauthorized {
            reason: Some(reason.into()),
        }
    }

    /// The webhook is genuine but cannot be read.
    pub fn invalid(details: impl Into<String>) -> Self {
        Self::Invalid {
            details: details.into(),
        }
    }
}

/// An event as its source reports it. The host leaves out one it cannot read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceEvent {
    /// The name journeys refer to: `user.created`.
    pub name: String,
    /// The source's own id of the event; the host ignores a second event with the same id.
    #[serde(default)]
    pub dedupe_key: Option<String>,
    /// The contact's id in the product.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The contact's email address.
    #[serde(default)]
    pub email: Option<String>,
    /// The id of a visitor without a product id, or of a device. An event with no other id creates
    /// no contact.
    #[serde(default)]
    pub anonymous_id: Option<String>,
    /// Further ids of the same contact, as kind and value: the source's own id (`vendor_person`), or
    /// another `user` or `anonymous` id that the event attributes to them. A kind consists of
    /// letters, digits and `_`.
    #[serde(default)]
    pub identities: Vec<(String, String)>,
    /// Stored with the event.
    #[serde(default)]
    pub properties: Properties,
    /// Stored on the contact.
    #[serde(default)]
    pub contact_properties: Properties,
    /// When it happened; `None` stands for the time of receipt.
    #[serde(default)]
    pub occurred_at: Option<DateTime<Utc>>,
}

impl SourceEvent {
    /// An event with everything but its name left empty.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

#[doc(hidden)]
pub fn dispatch<P: EventSource>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::EVENT_SOURCE_READ => Some(converse(input, |host, webhook| async move {
            plugin.read(&host, &webhook).await
        })),
        method::EVENT_SOURCE_HISTORY => Some(converse(input, |host, past| async move {
            plugin.history(&host, &past).await
        })),
        _ => None,
    }
}
