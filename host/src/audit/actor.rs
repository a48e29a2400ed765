//! Who made a change.

use crate::ids::{ApiKeyId, UserId};

/// The caller, for the audit log and for rate limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The key in `ADMIN_API_KEY`.
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
    /// A command of this installation.
    Command,
    /// A safeguard of Hogsend itself, by its name.
    System(&'static str),
    /// Anyone: a development installation without keys accepts events from everyone.
    Anyone,
}

impl Actor {
    /// The kind of caller, as the audit log stores it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Key { .. } => "key",
            Self::User { .. } => "user",
            Self::Command => "command",
            Self::System(_) => "system",
            Self::Anyone => "anyone",
        }
    }

    pub fn id(&self) -> Option<String> {
        match self {
            Self::Key { id, .. } => Some(id.to_string()),
            Self::User { id, .. } => Some(id.to_string()),
            Self::Environment | Self::Command | Self::System(_) | Self::Anyone => None,
        }
    }

    /// The caller as the one who gave a consent; `None` for anonymous callers.
    pub fn by(&self) -> Option<By> {
        (*self != Self::Anyone).then(|| By {
            kind: self.kind(),
            id: self.id(),
            name: self.name().to_owned(),
        })
    }

    /// The caller's name for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Environment => "ADMIN_API_KEY",
            Self::Key { name, .. } => name,
            Self::User { email, .. } => email,
            Self::Command => "hogsend",
            Self::System(name) => name,
            Self::Anyone => "anyone",
        }
    }
}

/// Who gave a consent, as the audit log stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub kind: &'static str,
    pub id: Option<String>,
    pub name: String,
}
