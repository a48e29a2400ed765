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
    /// its answer was lost; ids tell a repeat. Where the plugin reads the product's webhooks as well,
    /// the id belongs into what the product hands on, as the event's `dedupe_key`: so what the host
    /// told comes back as no news.
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
    /// The product took all but these.
    Partly {
        refused: Vec<RefusedCapture>,
    },
    /// The product takes nothing until somebody acts: a revoked key, a used-up quota, a wrong host.
    /// Everything is kept, and the product is tried again now and then.
    Blocked {
        reason: String,
    },
    /// Try again, the same batch or another.
    Retry {
        reason: String,
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// The product refuses this batch for good. Of several captures the host finds out by smaller
    /// batches which are meant.
    Rejected {
        reason: String,
    },
}

/// A capture the product refuses for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCapture {
    pub id: Uuid,
    pub reason: String,
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
