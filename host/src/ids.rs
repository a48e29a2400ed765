//! Every kind of id has its own type; all are UUIDv7 generated here, so they sort by age.

use std::sync::atomic::{AtomicU32, Ordering};
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

/// The mark that the ids of mails carry in their last 32 bits, which are random otherwise: which
/// installation made them. None until it is known.
#[derive(Debug, Default)]
pub struct Mark(AtomicU32);

impl Mark {
    pub fn set(&self, mark: u32) {
        self.0.store(mark, Ordering::Relaxed);
    }

    fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|mark| *mark != 0)
    }
}

impl SendId {
    /// A new id with the mark of this installation, so that a provider's report about the mail shows who
    /// made it, also where the ledger does not know the mail.
    pub fn marked(now: DateTime<Utc>, mark: &Mark) -> Self {
        let id = at(now).as_u128();
        Self(Uuid::from_u128(match mark.get() {
            // The 42 bits of the counter before it keep ids of one millisecond apart (RFC 9562, 6.2).
            Some(mark) => id >> 32 << 32 | u128::from(mark),
            None => id,
        }))
    }

    /// Whether the id carries this mark.
    pub fn has_mark(self, mark: u32) -> bool {
        self.0.as_u128() & u128::from(u32::MAX) == u128::from(mark)
    }

    /// When it was made, to the millisecond.
    pub fn made_at(self) -> Option<DateTime<Utc>> {
        let millis = i64::try_from(self.0.as_u128() >> 80).ok()?;
        DateTime::from_timestamp_millis(millis)
    }
}

/// Sorts before every id made at `at` or later.
pub fn floor(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::DateTime;

    use super::{Mark, SendId, floor};

    #[test]
    fn a_mark_tells_whose_mail_it_is_and_leaves_ids_apart_and_in_order() {
        let now = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        let mark = Mark::default();
        let unmarked = SendId::marked(now, &mark);
        mark.set(0xC0FF_EE01);
        let ids: Vec<SendId> = (0..10_000).map(|_| SendId::marked(now, &mark)).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.has_mark(0xC0FF_EE01)));
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
        assert!(!unmarked.has_mark(0xC0FF_EE01) && !ids[0].has_mark(0xC0FF_EE02));
        assert_eq!(SendId(floor(now)).made_at(), Some(now));
    }
}
