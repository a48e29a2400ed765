//! Every kind of id has its own type; all are UUIDv7 generated here, so they sort by age.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Timestamp, Uuid};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[derive(sqlx::Type, utoipa::ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id that sorts by `now`.
            pub fn new(now: DateTime<Utc>) -> Self {
                Self(at(now))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }
    };
}

id!(
    /// A contact.
    ContactId
);
id!(
    /// An event of a contact.
    EventId
);
id!(
    /// A contact's run of a journey.
    StateId
);
id!(
    /// A mail in the send ledger.
    SendId
);
id!(
    /// An API key.
    ApiKeyId
);
id!(
    /// An administrator.
    UserId
);
id!(
    /// An administrator's session.
    SessionId
);
id!(
    /// Several mails in one request to a provider.
    BatchId
);
id!(
    /// A webhook endpoint.
    EndpointId
);
id!(
    /// An alert rule.
    AlertRuleId
);
id!(
    /// A pending change to a contact.
    PendingId
);
id!(
    /// An import of contacts.
    ImportId
);
id!(
    /// A worker's claim on a run, a mail or a batch: a fencing token. A worker with another token
    /// may not commit.
    Claim
);

/// Counts within a millisecond, so that ids made in order also sort in order.
static COUNTER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A UUIDv7 of this instant, for rows nothing refers to.
pub fn at(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let counter = COUNTER.lock().unwrap_or_else(PoisonError::into_inner);
    Uuid::new_v7(Timestamp::from_unix(
        &*counter,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

/// Sorts before every id made at `at` or later.
pub fn floor(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}
