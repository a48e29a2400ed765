//! Why a call to the engine failed.

use thiserror::Error;
use tonic::{Code, Status};

use crate::namespace::NameProblem;
use crate::settings::names;

/// A call that failed. Each reads as one line, and none contains the token.
#[derive(Clone, Debug, Error)]
pub enum CallError {
    /// The engine cannot be reached, or did not answer in time.
    #[error(
        "Hatchet at {address} is away: {why}; check that the engine runs, and {} and {}",
        names::HOST_PORT,
        names::TLS_STRATEGY
    )]
    Away { address: String, why: String },
    #[error(
        "Hatchet at {address} refused the token: {} is expired, revoked or of another engine; create one there with 'hatchet-admin token create'",
        names::TOKEN
    )]
    Token { address: String },
    /// The engine answers that it is too busy, or the tenant is over a limit.
    #[error("Hatchet cannot take {call} now: {message}")]
    Busy { call: &'static str, message: String },
    /// The engine failed inside.
    #[error("Hatchet failed at {call}: {message}; its log says more")]
    Failed { call: &'static str, message: String },
    /// The engine understood the call and refuses it: a repeat will not help.
    #[error("Hatchet refused {call}: {message}")]
    Refused {
        call: &'static str,
        code: Code,
        message: String,
    },
    #[error(transparent)]
    Name(#[from] NameProblem),
    /// Refused here, because the engine would take it and lose it.
    #[error("{call} was not sent to Hatchet: {why}")]
    Unfit { call: &'static str, why: String },
}

impl CallError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Away { .. } | Self::Busy { .. } | Self::Failed { .. }
        )
    }

    /// Whether the engine could not be reached.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn new(call: &'static str, address: &str, status: &Status) -> Self {
        let address = address.to_owned();
        let message = one_line(status.message());
        match status.code() {
            Code::Unauthenticated => Self::Token { address },
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Away {
                address,
                why: causes(status),
            },
            // tonic's code for a connection that broke; the engine's for an error of its store.
            Code::Unknown if std::error::Error::source(status).is_some() => Self::Away {
                address,
                why: causes(status),
            },
            Code::ResourceExhausted if message.contains("larger than max") => Self::Unfit {
                call,
                why: format!("it is too large ({message})"),
            },
            Code::ResourceExhausted | Code::Aborted => Self::Busy { call, message },
            Code::Unknown | Code::Internal | Code::DataLoss => Self::Failed { call, message },
            code => Self::Refused {
                call,
                code,
                message,
            },
        }
    }
}

/// The message of a status and its causes, without repeats.
pub(crate) fn causes(status: &Status) -> String {
    let mut parts = vec![one_line(status.message())];
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let text = one_line(&error.to_string());
        if !parts.iter().any(|it| it.contains(&text)) {
            parts.push(text);
        }
        source = error.source();
    }
    parts.retain(|it| !it.is_empty());
    parts.join(": ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
