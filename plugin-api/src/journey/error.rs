//! How a journey ends badly.

use std::fmt;
use std::panic::Location;

use crate::step::StepError;

/// What a journey function returns.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Fails the run with a message and the place in the source where `?` or [`Error::new`] stood.
#[derive(Debug)]
pub struct Error {
    pub message: String,
    pub location: String,
    /// The run ends as `exited`, with the message as its reason.
    pub(super) exit: bool,
}

impl Error {
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
