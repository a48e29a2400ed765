//! What an analytics product knows about people, and what it is told.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{CallError, converse, method};
use crate::{Host, Properties};

/// Reads people's properties from an analytics product, and tells it what happened.
pub trait Analytics {
    /// The properties of the person with this id, or `None` where the product is not configured
    /// for reading or does not know them.
    fn person(
        &self,
        host: Host,
        distinct_id: String,
    ) -> impl Future<Output = Result<Option<Properties>, String>>;

    /// Tells the product of events and properties, in order. The same batch may come again where
    /// its answer was lost; ids tell a repeat.
    fn capture(&self, _host: Host, _batch: Vec<Capture>) -> impl Future<Output = Captured> {
        async { Captured::Unwanted }
    }
}

/// An event of a person, or where it has no name, properties of the person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    pub id: Uuid,
    /// What the product knows the person by.
    pub distinct_id: String,
    #[serde(default)]
    pub event: Option<String>,
    #[serde(default)]
    pub properties: Properties,
    pub occurred_at: DateTime<Utc>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Captured {
    Taken,
    /// The product is not configured to be told anything.
    Unwanted,
    /// Try again, the same batch or another.
    Retry {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The product refuses this batch for good.
    Rejected {
        reason: String,
    },
}

#[doc(hidden)]
pub fn dispatch<P: Analytics>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::ANALYTICS_PERSON => Some(converse(input, |host, id| plugin.person(host, id))),
        method::ANALYTICS_CAPTURE => {
            Some(converse(input, |host, batch| plugin.capture(host, batch)))
        }
        _ => None,
    }
}
