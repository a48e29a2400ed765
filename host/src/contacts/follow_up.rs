//! Events that follow from a change of a contact, its consent or its runs.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};

use crate::ids::ContactId;
use crate::run_ended::RunEnded;

/// An event made by the host, which the caller still has to store in the same transaction.
#[derive(Clone, Debug)]
pub struct FollowUp {
    pub contact: ContactId,
    /// `journey` or `email`.
    pub source: &'static str,
    pub name: &'static str,
    pub properties: Properties,
    /// The trust of its cause.
    pub trust: Trust,
    /// The number of journeys between it and an event from outside.
    pub depth: i16,
    /// None means the time of the transaction.
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
