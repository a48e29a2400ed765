//! Steps about the person: the current contact, subscriptions, and updates sent to analytics.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Asked, step};
use crate::Properties;
use crate::replay::Replay;

/// The contact at the time of the step; the result of a `contact` step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contact {
    /// The id of the contact.
    pub id: Uuid,
    /// The product's own id of the person.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The email address.
    #[serde(default)]
    pub email: Option<String>,
    /// The contact's properties.
    #[serde(default)]
    pub properties: Properties,
    /// When the contact was first seen.
    pub first_seen_at: DateTime<Utc>,
    /// When the contact was last seen.
    pub last_seen_at: DateTime<Utc>,
}

impl Contact {
    /// A contact without ids and properties, seen first and last at these times.
    pub fn new(id: Uuid, first_seen_at: DateTime<Utc>, last_seen_at: DateTime<Utc>) -> Self {
        Self {
            id,
            external_id: None,
            email: None,
            properties: Properties::new(),
            first_seen_at,
            last_seen_at,
        }
    }

    /// A property, where it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// Queries for whether the person may get mail.
pub struct Guard(pub(super) Replay);

impl Guard {
    /// Whether the person is subscribed to this journey's category.
    pub fn is_subscribed(&self) -> Asked<bool> {
        Asked::new(&self.0, step::IS_SUBSCRIBED, json!({}))
    }

    /// The same for another category.
    pub fn is_subscribed_to(&self, category: &str) -> Asked<bool> {
        Asked::new(
            &self.0,
            step::IS_SUBSCRIBED,
            json!({ "category": category }),
        )
    }
}

/// Inputs of a `guard.is_subscribed` step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubscribedArgs {
    /// `None` for the journey's own category.
    #[serde(default)]
    pub category: Option<String>,
}

/// Inputs of an `identify` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IdentifyArgs {
    /// The properties to set.
    pub properties: Properties,
}

/// Inputs of a `capture` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CaptureArgs {
    /// The event's name.
    pub event: String,
    /// The event's properties.
    #[serde(default)]
    pub properties: Properties,
}
