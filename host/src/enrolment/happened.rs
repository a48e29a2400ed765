//! An event that journeys react to.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};

use crate::db::Contact;
use crate::ids::EventId;

/// An event just stored, with its contact, whose row is locked.
pub struct Happened<'a> {
    pub id: EventId,
    pub name: &'a str,
    pub properties: &'a Properties,
    pub depth: i16,
    pub trust: Trust,
    /// When it happened, by its source; it is received now.
    pub occurred_at: DateTime<Utc>,
    pub contact: &'a Contact,
    /// The trace of the request that brought it.
    pub traceparent: Option<&'a str>,
}
