//! What a provider promises, and the rate it takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a provider promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub idempotency: Idempotency,
    /// The most mails in one request; 1 where there is no call for batches.
    #[serde(default = "one")]
    pub batch_max: u32,
    /// The rate to begin with, until the provider's answers tell another.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// The longest an attempt may take, in milliseconds, where that is more than the host's own
    /// bound of a minute: a server that filters a message before it answers (RFC 5321 §4.5.3.2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_ms: Option<u64>,
}

fn one() -> u32 {
    1
}

impl Capabilities {
    /// No batches, and no limit but what the provider's answers tell.
    pub fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            batch_max: 1,
            rate: None,
            attempt_ms: None,
        }
    }

    /// Up to `max` mails in one request.
    pub fn batches_of(mut self, max: u32) -> Self {
        self.batch_max = max.max(1);
        self
    }

    /// An attempt may take this long.
    pub fn attempt(mut self, longest: Duration) -> Self {
        self.attempt_ms = Some(longest.as_millis() as u64);
        self
    }

    /// At most `requests` in `per` to begin with.
    pub fn rate(mut self, requests: u32, per: Duration) -> Self {
        self.rate = Some(Rate {
            requests,
            per_ms: per.as_millis() as u64,
            remaining: None,
            reset_ms: None,
        });
        self
    }
}

/// Whether a repeated attempt with the same key is one mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    /// A repeat may be a second mail.
    None,
    /// A repeat within this many seconds of the first attempt is the same mail.
    ForSeconds(u64),
    /// A repeat is always the same mail.
    Forever,
}

impl Idempotency {
    /// Whether an attempt begun `elapsed` ago may be repeated without risk of a second mail.
    pub fn covers(self, elapsed: Duration) -> bool {
        match self {
            Self::None => false,
            Self::ForSeconds(window) => elapsed < Duration::from_secs(window),
            Self::Forever => true,
        }
    }
}

/// How many requests a provider takes, from its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Requests in a window.
    pub requests: u32,
    /// The window's length in milliseconds.
    pub per_ms: u64,
    /// Requests left in the present window.
    #[serde(default)]
    pub remaining: Option<u32>,
    /// Milliseconds until the next window.
    #[serde(default)]
    pub reset_ms: Option<u64>,
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
