//! What follows from a change of a contact, its consent or its runs, and becomes an event.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};

use crate::ids::ContactId;
use crate::run_ended::RunEnded;

/// An event of the host's own making that is still to be stored, in the same transaction.
#[derive(Clone, Debug)]
pub struct FollowUp {
    pub contact: ContactId,
    /// Who says so: `journey` or `email`.
    pub source: &'static str,
    pub name: &'static str,
    pub properties: Properties,
    /// As what caused it is.
    pub trust: Trust,
    /// How many journeys are between it and an event from outside.
    pub depth: i16,
    /// The time of the transaction where it is None.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl FollowUp {
    /// The event that reports the end of a run.
    pub fn run_ended(ended: &RunEnded) -> Self {
        Self {
            contact: ended.contact,
            source: "journey",
            name: ended.name(),
            properties: ended.properties(),
            trust: ended.trust,
            depth: ended.depth.saturating_add(1),
            occurred_at: None,
        }
    }
}
