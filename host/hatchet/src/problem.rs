//! A setting that is wrong: which variable, what is wrong with it, and what to do.

use std::fmt;

/// Reads as one line, for example
/// `HATCHET_CLIENT_TOKEN has expired: create a new one with 'hatchet-admin token create'`.
/// Never contains the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The environment variable at fault.
    pub variable: &'static str,
    /// What is wrong, and the fix; continues the sentence that the variable's name begins.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(variable: &'static str, text: impl Into<String>) -> Self {
        Self {
            variable,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.text)
    }
}

impl std::error::Error for Problem {}
