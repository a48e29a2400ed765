//! What a provider guarantees, and the request rate it accepts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire;

/// What a provider guarantees, and the limits the host must respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether the host may repeat an attempt with the same key without sending a second mail.
    pub idempotency: Idempotency,
    /// The most mails in one request; 1 where the provider has no batch request.
    #[serde(default = "one")]
    pub batch_max: u32,
    /// The initial rate, until the provider's answers report another one.
    #[serde(default, deserialize_with = "wire::optional")]
    pub rate: Option<Rate>,
    /// The longest time an attempt may take, in milliseconds, where that is more than the host's
    /// default of one minute: an SMTP server may filter a message for ten minutes before it answers
    /// (RFC 5321 §4.5.3.2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_ms: Option<u64>,
}

fn one() -> u32 {
    1
}

impl Capabilities {
    /// No batches, and no rate limit until the provider's answers report one.
    pub fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            batch_max: 1,
            rate: None,
            attempt_ms: None,
        }
    }

    /// Allows up to `max` mails in one request.
    pub fn batches_of(mut self, max: u32) -> Self {
        self.batch_max = max.max(1);
        self
    }

    /// Allows an attempt to take up to `longest`.
    pub fn attempt(mut self, longest: Duration) -> Self {
        self.attempt_ms = Some(longest.as_millis() as u64);
        self
    }

    /// Sets the initial rate: at most `requests` per window of length `per`.
    pub fn rate(mut self, requests: u32, per: Duration) -> Self {
        self.rate = Some(Rate::new(requests, per));
        self
    }
}

/// Whether a provider sends only one mail for repeated attempts with the same idempotency key. A
/// promise of a later version counts as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Idempotency {
    /// No: a repeat may send a second mail.
    None,
    /// Only for repeats within this many seconds of the first attempt.
    ForSeconds(u64),
    /// Always.
    Forever,
}

wire::enum_on_the_wire!(Idempotency, |_name, _fault| Idempotency::None);

impl Idempotency {
    /// Whether the host may repeat an attempt that began `elapsed` ago without sending a second
    /// mail.
    pub fn covers(self, elapsed: Duration) -> bool {
        match self {
            Self::None => false,
            Self::ForSeconds(window) => elapsed < Duration::from_secs(window),
            Self::Forever => true,
        }
    }
}

/// The rate limit a provider states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rate {
    /// Requests allowed per window.
    pub requests: u32,
    /// The window's length in milliseconds.
    pub per_ms: u64,
    /// Requests left in the current window, where known.
    #[serde(default)]
    pub remaining: Option<u32>,
    /// Milliseconds until the next window, where known.
    #[serde(default)]
    pub reset_ms: Option<u64>,
}

impl Rate {
    /// A limit of `requests` per window of length `per`, nothing known of the current window.
    pub fn new(requests: u32, per: Duration) -> Self {
        Self {
            requests,
            per_ms: per.as_millis() as u64,
            remaining: None,
            reset_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::{Capabilities, Idempotency};

    #[test]
    fn what_older_plugins_do_not_say_is_no_promise() {
        let capabilities = json!({ "idempotency": "none" });
        assert_eq!(
            from_value::<Capabilities>(capabilities).unwrap(),
            Capabilities::new(Idempotency::None)
        );
    }
}
