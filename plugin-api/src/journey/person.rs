//! The person as they are now, and what a journey tells others about them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Asked, step};
use crate::Properties;
use crate::replay::Replay;

/// The result of a `contact` step: the person as they are when the step is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub id: Uuid,
    #[serde(default)]
    pub external_id: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub properties: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

impl Contact {
    /// A text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }
}

/// Questions that keep mail from people who should not get it.
pub struct Guard(pub(super) Replay);

impl Guard {
    /// Whether mails of this journey's category would reach the person.
    pub fn is_subscribed(&self) -> Asked<bool> {
        Asked::new(&self.0, step::IS_SUBSCRIBED, json!({}))
    }

    /// Whether mails of a category would reach the person.
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
pub struct SubscribedArgs {
    /// The journey's where it is left out.
    #[serde(default)]
    pub category: Option<String>,
}

/// Inputs of an `identify` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdentifyArgs {
    pub properties: Properties,
}

/// Inputs of a `capture` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureArgs {
    pub event: String,
    #[serde(default)]
    pub properties: Properties,
}
