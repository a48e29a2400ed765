//! Whose word counts for what.

use serde::{Deserialize, Serialize};

/// Whether what tells of an event may decide who a person is and what they are sent.
///
/// Strangers can make up events of an untrusted source, because the key that takes them is public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    #[default]
    Trusted,
    Untrusted,
}

impl Trust {
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
