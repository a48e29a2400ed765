//! Whether the source of an event is trusted.

use serde::{Deserialize, Serialize};

/// Whether an event's source is trusted to decide who a contact is and which mails they get.
///
/// Strangers can forge events of an untrusted source, for example because its ingest key is public.
/// A degree of a later version counts as untrusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trust {
    /// Strangers cannot forge its events, or the operator trusts it.
    #[default]
    Trusted,
    /// Strangers can forge its events.
    #[serde(other)]
    Untrusted,
}

impl Trust {
    /// Whether it is [`Trust::Trusted`].
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Trusted)
    }
}

impl From<bool> for Trust {
    fn from(trusted: bool) -> Self {
        match trusted {
            true => Self::Trusted,
            false => Self::Untrusted,
        }
    }
}
