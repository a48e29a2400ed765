//! Reading past events from a vendor, page by page.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::SourceEvent;
use crate::wire;

/// Which past events to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastIn {
    /// Only events since this time.
    pub since: DateTime<Utc>,
    /// Only events until this time; `None` from a host that does not say. The host leaves out later ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Only events of these names, as the vendor spells them; empty means all. The host leaves out others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// [`PastPage::next`] of the page before; `None` for the first page.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl PastIn {
    /// The page at this cursor of the events since this time.
    pub fn new(since: DateTime<Utc>, cursor: Option<String>) -> Self {
        Self {
            since,
            until: None,
            events: Vec::new(),
            cursor,
        }
    }

    /// Only events until this time.
    pub fn until(mut self, until: DateTime<Utc>) -> Self {
        self.until = Some(until);
        self
    }

    /// Only events of these names; none means all.
    pub fn events(mut self, events: Vec<String>) -> Self {
        self.events = events;
        self
    }
}

/// The answer to a request for past events. One of a later version counts as
/// [`Past::Unavailable`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Past {
    /// A page of events, the oldest first where the vendor allows it.
    Page(PastPage),
    /// The vendor has no past events to read, or the plugin does not read them.
    Unsupported,
    /// The vendor gives none at present.
    #[non_exhaustive]
    Unavailable {
        /// For the operator.
        reason: String,
        /// How long the vendor asks to wait, in milliseconds; `None` where only an operator can help.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
}

impl Past {
    /// The vendor gives none at present. The wait that it asks for is in milliseconds.
    pub fn unavailable(reason: impl Into<String>, retry_after_ms: Option<u64>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            retry_after_ms,
        }
    }
}

wire::enum_on_the_wire!(Past, |name, fault| Past::Unavailable {
    reason: format!("the plugin answers with '{name}' ({fault}): it is newer than this host"),
    retry_after_ms: None,
});

/// A page of past events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastPage {
    /// The events. The host ignores those whose `dedupe_key` it knows, so a page may be read twice.
    #[serde(default, deserialize_with = "wire::each")]
    pub events: Vec<SourceEvent>,
    /// The cursor of the next page; `None` at the end.
    #[serde(default)]
    pub next: Option<String>,
}

impl PastPage {
    /// These events, and the cursor of the next page.
    pub fn new(events: Vec<SourceEvent>, next: Option<String>) -> Self {
        Self { events, next }
    }
}
