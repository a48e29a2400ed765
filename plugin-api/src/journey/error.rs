//! The error of a journey function.

use std::fmt;
use std::panic::Location;

use crate::step::StepError;

/// What a journey function returns.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Fails the run, with a message and the place in the source of the `?` or the [`Error::new`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Error {
    /// What went wrong, for the operator.
    pub message: String,
    /// The place in the source: `src/activation.rs:12:5`.
    pub location: String,
    /// The run ends as `exited`, with the message as its reason.
    pub(super) exit: bool,
}

impl Error {
    /// An error at the caller's place in the source.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            location: Location::caller().to_string(),
            exit: false,
        }
    }

    #[track_caller]
    pub(super) fn exit(reason: &str) -> Self {
        Self {
            exit: true,
            ..Self::new(reason)
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.message, self.location)
    }
}

impl std::error::Error for Error {}

impl From<StepError> for Error {
    #[track_caller]
    fn from(error: StepError) -> Self {
        Self::new(error.to_string())
    }
}
