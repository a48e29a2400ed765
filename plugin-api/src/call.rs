//! The messages of one plugin call.
//!
//! A call takes a method number and JSON and returns JSON. A method that may send requests to the
//! host receives the answers so far in [`Ask::steps`]; the plugin replays its code against them and
//! returns its next requests ([`Reply::ask`]) or the result ([`Reply::done`]). Either side may be older:
//! [`wire`](crate::wire) says how a value of a later version is read.

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::{Host, LogLine};
use crate::replay::{self, Bounds, End};
use crate::step::{Command, Step};

/// The method numbers, with input → output. A number is never reused; 100 and 204 belonged to drafts.
///
/// A plugin answers a number it does not know with [`CallError::NO_METHOD`](super::CallError::NO_METHOD),
/// which the host treats as "it does not do that".
pub mod method {
    /// `Ask<()>` → `Reply<Vec<`[`Checked`](crate::Checked)`>>`.
    pub const PLUGIN_CHECK: u32 = 1;
    /// `null` → `Vec<`[`SetupItem`](crate::SetupItem)`>`.
    pub const PLUGIN_SETUP: u32 = 2;
    /// `null` → `null`. The last call of an instance of a loaded library: it is dropped. The library itself
    /// stays loaded.
    pub const PLUGIN_END: u32 = 3;
    /// `Ask<`[`ConnectIn`](crate::ConnectIn)`>` → `Reply<`[`Connected`](crate::Connected)`>`.
    pub const PLUGIN_CONNECT: u32 = 4;
    /// `Ask<`[`Webhook`](crate::Webhook)`>` → `Reply<Result<Reading, Refusal>>`.
    pub const EVENT_SOURCE_READ: u32 = 101;
    /// `Ask<`[`PastIn`](crate::PastIn)`>` → `Reply<`[`Past`](crate::Past)`>`.
    pub const EVENT_SOURCE_HISTORY: u32 = 102;
    /// `null` → [`Capabilities`](crate::Capabilities).
    pub const DELIVERY_CAPABILITIES: u32 = 200;
    /// [`Mail`](crate::Mail) → `Result<Prepared, String>`.
    pub const DELIVERY_PREPARE: u32 = 201;
    /// [`Ask`](super::Ask)`<`[`Attempt`](crate::Attempt)`>` → [`Reply`](super::Reply)`<`[`Sent`](crate::Sent)`>`.
    pub const DELIVERY_SEND: u32 = 202;
    /// `Ask<`[`BatchAttempt`](crate::BatchAttempt)`>` → `Reply<`[`BatchSent`](crate::BatchSent)`>`.
    pub const DELIVERY_SEND_BATCH: u32 = 203;
    /// `Ask<`[`Webhook`](crate::Webhook)`>` →
    /// `Reply<Result<`[`DeliveryReading`](crate::DeliveryReading)`, Refusal>>`.
    pub const DELIVERY_READ_WEBHOOK: u32 = 205;
    /// `Ask<String>` (distinct id) → `Reply<Result<Option<Properties>, String>>`.
    pub const ANALYTICS_PERSON: u32 = 300;
    /// `Ask<Vec<`[`Capture`](crate::Capture)`>>` → `Reply<`[`Captured`](crate::Captured)`>`.
    pub const ANALYTICS_CAPTURE: u32 = 301;
    /// `Ask<`[`PastIn`](crate::PastIn)`>` → `Reply<`[`Past`](crate::Past)`>`.
    pub const ANALYTICS_HISTORY: u32 = 302;
    /// [`CatalogueIn`](crate::journey::CatalogueIn) or null →
    /// [`Catalogue`](crate::journey::Catalogue). The host may call it again at any time.
    pub const JOURNEYS_CATALOGUE: u32 = 400;
    /// [`AdvanceIn`](crate::journey::AdvanceIn) → [`AdvanceOut`](crate::journey::AdvanceOut).
    pub const JOURNEYS_ADVANCE: u32 = 401;
}

/// Why a call failed without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct CallError {
    /// One of the associated constants.
    pub code: u32,
    /// For the operator.
    pub message: String,
}

impl CallError {
    /// The plugin has no such method.
    pub const NO_METHOD: u32 = 1;
    /// The input does not have the method's input type.
    pub const BAD_INPUT: u32 = 2;
    /// [`Plugin::new`](crate::Plugin::new) refused the settings.
    pub const BAD_SETTINGS: u32 = 3;
    /// The code awaits something that is not a host request.
    pub const STUCK: u32 = 4;
    /// The replayed code made a different request than before with the same answers.
    pub const DIVERGED: u32 = 5;
    /// The plugin panicked.
    pub const PANICKED: u32 = 255;

    /// An error with one of the codes above.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Input of a method that may send requests to the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ask<T> {
    /// The method's own input.
    pub input: T,
    /// When the call began.
    pub now: DateTime<Utc>,
    /// The requests so far, with their answers.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// How many lines of this call's log the host has.
    #[serde(default)]
    pub logged: u32,
    /// Milliseconds from `now` until the host stops waiting for the result.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

impl<T> Ask<T> {
    /// The first round of a call that began at `now`.
    pub fn new(input: T, now: DateTime<Utc>) -> Self {
        Self {
            input,
            now,
            steps: Vec::new(),
            logged: 0,
            deadline_ms: None,
        }
    }
}

/// Output of a method that may send requests to the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
#[non_exhaustive]
pub struct Reply<T> {
    /// The method's result; without it there are requests.
    #[serde(
        default,
        deserialize_with = "crate::wire::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub done: Option<T>,
    /// New requests, which the host answers before it calls again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ask: Vec<Command>,
    /// Lines for the host's log, after the first [`Ask::logged`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

/// Parses the input or output of a method.
///
/// # Errors
///
/// [`CallError::BAD_INPUT`] where the JSON does not fit the type.
pub fn decode<T: DeserializeOwned>(input: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(input)
        .map_err(|error| CallError::new(CallError::BAD_INPUT, error.to_string()))
}

/// Serializes the input or output of a method.
///
/// # Errors
///
/// [`CallError::BAD_INPUT`] where the value has no JSON form.
pub fn encode<T: Serialize>(output: &T) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(output)
        .map_err(|error| CallError::new(CallError::BAD_INPUT, error.to_string()))
}

/// Runs one method that may send requests to the host, as far as the recorded answers allow.
pub(crate) fn converse<I, T, F>(
    input: &[u8],
    code: impl FnOnce(Host, I) -> F,
) -> Result<Vec<u8>, CallError>
where
    I: DeserializeOwned,
    T: Serialize,
    F: Future<Output = T>,
{
    let ask: Ask<I> = decode(input)?;
    let deadline = ask.deadline_ms.and_then(|ms| {
        let span = TimeDelta::try_milliseconds(i64::try_from(ms).ok()?)?;
        ask.now.checked_add_signed(span)
    });
    let played = replay::play(Bounds::Call, ask.now, ask.steps, |replay| {
        code(Host::new(replay, deadline), ask.input)
    });
    let mut reply = Reply {
        done: None,
        ask: Vec::new(),
        log: played.log,
    };
    // The code ran from its start, and repeated what it logged in earlier rounds.
    reply.log.drain(..reply.log.len().min(ask.logged as usize));
    match played.end {
        End::Done(value) => {
            reply.done = Some(value);
            encode(&reply)
        }
        End::Waiting => {
            reply.ask = played.commands;
            encode(&reply)
        }
        End::Stuck => Err(CallError::new(
            CallError::STUCK,
            "the plugin awaits something that is not a host request",
        )),
        End::Panicked(panicked) => Err(panicked.into()),
        End::Diverged(divergence) => Err(CallError::new(
            CallError::DIVERGED,
            format!(
                "the plugin asked for {} where it asked for {} before",
                divergence.code, divergence.recorded
            ),
        )),
        End::Exceeded(limit) => Err(CallError::new(CallError::PANICKED, limit)),
    }
}

impl From<crate::guard::Panicked> for CallError {
    fn from(panicked: crate::guard::Panicked) -> Self {
        let place = panicked
            .location
            .map(|place| format!(" at {place}"))
            .unwrap_or_default();
        Self::new(
            Self::PANICKED,
            format!("the plugin panicked{place}: {}", panicked.message),
        )
    }
}
