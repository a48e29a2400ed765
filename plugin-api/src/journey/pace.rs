//! Steps for events that happen often: digest and throttle. Also the assignment to a variant.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sleep::millis;
use super::{Asked, Occurrence, step};
use crate::replay::Replay;
use std::time::Duration;

/// Inputs of a `digest` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DigestArgs {
    /// The length of the window, in milliseconds.
    pub window_ms: u64,
}

/// Inputs of a `throttle` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThrottleArgs {
    /// How often to continue within the window.
    pub limit: u32,
    /// The length of the window, in milliseconds.
    pub window_ms: u64,
}

/// Inputs of a `variant` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VariantArgs {
    /// Distinguishes several assignments of one journey.
    pub key: String,
    /// The arms to choose from; at least one.
    pub arms: Vec<String>,
}

/// The events of a digest's window; the result of a `digest` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Digest {
    /// The trigger event and the like events that followed, oldest first. Only the newest are here
    /// where there are more than 1,000, or more than 1 MiB.
    pub events: Vec<Occurrence>,
    /// How many there were, including those left out of `events`.
    pub count: u64,
}

impl VariantArgs {
    /// The inputs for this key and these arms.
    pub fn new(key: &str, arms: &[&str]) -> Self {
        Self {
            key: key.to_owned(),
            arms: arms.iter().map(|arm| (*arm).to_owned()).collect(),
        }
    }
}

impl Digest {
    /// These events, of so many.
    pub fn new(events: Vec<Occurrence>, count: u64) -> Self {
        Self { events, count }
    }
}

pub(super) fn digest(replay: &Replay, window: Duration) -> Asked<Digest> {
    let args = DigestArgs {
        window_ms: millis(window),
    };
    Asked::new(replay, step::DIGEST, json!(args))
}

pub(super) fn throttle(replay: &Replay, limit: u32, window: Duration) -> Asked<bool> {
    let args = ThrottleArgs {
        limit,
        window_ms: millis(window),
    };
    Asked::new(replay, step::THROTTLE, json!(args))
}

pub(super) fn variant(replay: &Replay, key: &str, arms: &[&str]) -> Asked<String> {
    let args = VariantArgs::new(key, arms);
    Asked::new(replay, step::VARIANT, json!(args))
}
