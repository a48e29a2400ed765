//! Who did it.

use crate::ids::{ApiKeyId, UserId};

/// Who calls, for the audit log and for limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The key of the environment, `ADMIN_API_KEY`.
    Environment,
    Key {
        id: ApiKeyId,
        name: String,
    },
    /// An administrator with a session.
    User {
        id: UserId,
        email: String,
    },
    /// Somebody at the command line of this installation.
    Command,
    /// Anyone: a development installation without any key takes events from everybody.
    Anyone,
}

impl Actor {
    /// What sort of caller it is, as the audit log keeps it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Key { .. } => "key",
            Self::User { .. } => "user",
            Self::Command => "command",
            Self::Anyone => "anyone",
        }
    }

    pub fn id(&self) -> Option<String> {
        match self {
            Self::Key { id, .. } => Some(id.to_string()),
            Self::User { id, .. } => Some(id.to_string()),
            Self::Environment | Self::Command | Self::Anyone => None,
        }
    }

    /// The caller as one who answers for a consent. None for nobody in particular.
    pub fn by(&self) -> Option<By> {
        (*self != Self::Anyone).then(|| By {
            kind: self.kind(),
            id: self.id(),
            name: self.name().to_owned(),
        })
    }

    /// What people know the caller by.
    pub fn name(&self) -> &str {
        match self {
            Self::Environment => "ADMIN_API_KEY",
            Self::Key { name, .. } => name,
            Self::User { email, .. } => email,
            Self::Command => "hogsend",
            Self::Anyone => "anyone",
        }
    }
}

/// Who answers for a consent, as the audit log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub kind: &'static str,
    pub id: Option<String>,
    pub name: String,
}
