//! Entering the set-up at a vendor through its API.

use serde::{Deserialize, Serialize};

/// What to enter at the vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectIn {
    /// The public URL of Hogsend's API, without a slash at its end.
    pub url: String,
    /// The events that the vendor is to send, as it spells them; empty means all.
    #[serde(default)]
    pub events: Vec<String>,
}

impl ConnectIn {
    /// Webhooks to this API, with these events.
    pub fn new(url: impl Into<String>, events: Vec<String>) -> Self {
        Self {
            url: url.into(),
            events,
        }
    }
}

/// What became of the set-up at the vendor. A result of a later version counts as
/// [`Connected::Unsupported`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
#[non_exhaustive]
pub enum Connected {
    /// It is made.
    #[non_exhaustive]
    Made {
        /// What was made and where to see it, without secrets.
        what: String,
    },
    /// It was there, and is right.
    #[non_exhaustive]
    Found {
        /// What was found and where to see it, without secrets.
        what: String,
    },
    /// It was there, and is corrected.
    #[non_exhaustive]
    Corrected {
        /// What differed, and where to see it, without secrets.
        what: String,
    },
    /// Nothing was done because a setting is not given.
    #[non_exhaustive]
    NotSet {
        /// The name of the setting.
        setting: String,
    },
    /// The vendor refused, or could not be asked.
    #[non_exhaustive]
    Failed {
        /// What is wrong and what the operator does about it, without secrets.
        reason: String,
    },
    /// The plugin does not do that.
    #[serde(other)]
    Unsupported,
}

impl Connected {
    /// It is made.
    pub fn made(what: impl Into<String>) -> Self {
        Self::Made { what: what.into() }
    }

    /// It was there, and is right.
    pub fn found(what: impl Into<String>) -> Self {
        Self::Found { what: what.into() }
    }

    /// It was there, and is corrected.
    pub fn corrected(what: impl Into<String>) -> Self {
        Self::Corrected { what: what.into() }
    }

    /// Nothing was done because this setting is not given.
    pub fn not_set(setting: impl Into<String>) -> Self {
        Self::NotSet {
            setting: setting.into(),
        }
    }

    /// The vendor refused, or could not be asked.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::Connected;

    #[test]
    fn a_result_of_a_later_version_is_none() {
        let later = json!({ "result": "queued", "until": 3 });
        assert_eq!(
            from_value::<Connected>(later).unwrap(),
            Connected::Unsupported
        );
        let made = Connected::made("a destination");
        let said = json!({ "result": "made", "what": "a destination" });
        assert_eq!(to_value(&made).unwrap(), said);
        assert_eq!(from_value::<Connected>(said).unwrap(), made);
    }
}
