//! Why a plugin is refused, for the operator.

use std::path::Path;

/// A refusal. Its code is documented in `docs/reference/plugins.md`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {message}")]
pub struct Problem {
    pub code: &'static str,
    /// Names the file, plugin or setting, the reason and the fix.
    pub message: String,
}

impl Problem {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A refusal that a child process reports. A code that this host does not know becomes
    /// `PLUGIN-021`, that of a child that does not start.
    pub(super) fn known(code: &str, message: String) -> Self {
        let code = ["PLUGIN-007", "PLUGIN-008", "PLUGIN-009"]
            .into_iter()
            .find(|known| *known == code);
        Self::new(code.unwrap_or("PLUGIN-021"), message)
    }

    pub(super) fn of_file(
        code: &'static str,
        file: &Path,
        message: impl std::fmt::Display,
    ) -> Self {
        Self::new(code, format!("{}: {message}", file.display()))
    }
}
