//! Gathering what happens often, and holding back what would.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sleep::millis;
use super::{Asked, Occurrence, step};
use crate::replay::Replay;
use std::time::Duration;

/// Inputs of a `digest` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestArgs {
    /// Milliseconds.
    pub window_ms: u64,
}

/// Inputs of a `throttle` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleArgs {
    pub limit: u32,
    /// Milliseconds.
    pub window_ms: u64,
}

/// Inputs of a `variant` step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantArgs {
    pub key: String,
    pub arms: Vec<String>,
}

/// What gathered in a digest's window; the result of a `digest` step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// The trigger event and those like it that followed, oldest first: of more than 1,000, or more
    /// than 1 MiB of them, the newest.
    pub events: Vec<Occurrence>,
    /// How many there were.
    pub count: u64,
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
    let args = VariantArgs {
        key: key.to_owned(),
        arms: arms.iter().map(|arm| (*arm).to_owned()).collect(),
    };
    Asked::new(replay, step::VARIANT, json!(args))
}
