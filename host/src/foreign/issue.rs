//! Problems in what somebody sent, named by the field.

use serde::Serialize;
use utoipa::ToSchema;

use super::text;

/// One problem of a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Issue {
    /// Dotted, in the caller's own field names; empty for the body as a whole.
    pub path: String,
    pub message: String,
}

/// Characters of a path and of a message: both may repeat what somebody sent.
const PATH_MAX: usize = 300;
const MESSAGE_MAX: usize = 500;

impl Issue {
    /// Shortens what is long.
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: text(path, PATH_MAX),
            message: text(&message.into(), MESSAGE_MAX),
        }
    }
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{} {}", self.path, self.message)
        }
    }
}
