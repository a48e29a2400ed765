//! Why a change was not made.

use crate::db::Failure;
use crate::foreign::Issue;

/// Why a change was not made. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The thing to change does not exist; the text says which kind of thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// The state of the thing does not allow it; the text says why and what to do.
    #[error("{0}")]
    Conflict(&'static str),
    /// Values that are not allowed, by field. There is at least one.
    #[error("{}", first(.0))]
    Invalid(Vec<Issue>),
    /// A concurrent change was in the way; the same change may succeed a second later.
    #[error("{0}")]
    Busy(&'static str),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

fn first(issues: &[Issue]) -> String {
    issues.first().map(ToString::to_string).unwrap_or_default()
}

impl Refused {
    /// A single value that is not allowed.
    pub fn invalid(path: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Issue::new(path, message)])
    }

    /// Fails if there are issues.
    pub fn unless_valid(issues: Vec<Issue>) -> Result<(), Self> {
        if issues.is_empty() {
            Ok(())
        } else {
            Err(Self::Invalid(issues))
        }
    }
}

impl Failure for Refused {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}
