//! What a plugin says about its own set-up: checks for an operator, and what to enter at the vendor.

use serde::{Deserialize, Serialize};

use crate::Plugin;
use crate::call::{CallError, converse, encode, method};

/// One thing that [`Plugin::check`] found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checked {
    /// What was checked, in a few words: `the API key`.
    pub what: String,
    /// What came out.
    #[serde(flatten)]
    pub result: CheckResult,
}

/// What came out of a check. A result of a later version counts as [`CheckResult::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
#[non_exhaustive]
pub enum CheckResult {
    /// It works.
    #[non_exhaustive]
    Sound {
        /// What the vendor says of it, without secrets: the name of the account.
        #[serde(default)]
        detail: Option<String>,
    },
    /// It does not work.
    #[non_exhaustive]
    Faulty {
        /// What is wrong, without secrets.
        reason: String,
        /// What the operator does about it; names the setting.
        fix: String,
    },
    /// Nothing was checked because a setting is not given.
    #[non_exhaustive]
    NotSet {
        /// The name of the setting.
        setting: String,
    },
    /// The vendor could not be asked.
    #[serde(other)]
    Unknown,
}

impl CheckResult {
    /// It works. The vendor may say something of it, without secrets.
    pub fn sound(detail: Option<String>) -> Self {
        Self::Sound { detail }
    }

    /// It does not work.
    pub fn faulty(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Faulty {
            reason: reason.into(),
            fix: fix.into(),
        }
    }

    /// Nothing was checked because this setting is not given.
    pub fn not_set(setting: impl Into<String>) -> Self {
        Self::NotSet {
            setting: setting.into(),
        }
    }
}

impl Checked {
    /// A check with its result.
    pub fn new(what: &str, result: CheckResult) -> Self {
        Self {
            what: what.into(),
            result,
        }
    }

    /// It works.
    pub fn sound(what: &str) -> Self {
        Self::new(what, CheckResult::sound(None))
    }

    /// It does not work.
    pub fn faulty(what: &str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(what, CheckResult::faulty(reason, fix))
    }

    /// Nothing was checked because this setting is not given.
    pub fn not_set(what: &str, setting: &str) -> Self {
        Self::new(what, CheckResult::not_set(setting))
    }

    /// The vendor could not be asked.
    pub fn unknown(what: &str) -> Self {
        Self::new(what, CheckResult::Unknown)
    }
}

/// One thing to enter at the vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetupItem {
    /// The label of the field at the vendor: `Endpoint URL`.
    pub label: String,
    /// What to enter. `{url}` stands for the public URL of Hogsend's API, without a slash at its end.
    pub value: String,
    /// Where: the page at the vendor, as a URL or as the way through its menus.
    #[serde(rename = "where")]
    pub place: String,
}

impl SetupItem {
    /// A value, the field it belongs into and where that field is.
    pub fn new(label: &str, value: &str, place: &str) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            place: place.into(),
        }
    }
}

pub(crate) fn dispatch<P: Plugin>(
    plugin: &P,
    number: u32,
    input: &[u8],
) -> Option<Result<Vec<u8>, CallError>> {
    match number {
        method::PLUGIN_CHECK => Some(converse(input, |host, ()| async move {
            plugin.check(&host).await
        })),
        method::PLUGIN_SETUP => Some(encode(&plugin.setup())),
        method::PLUGIN_CONNECT => Some(converse(input, |host, wanted| async move {
            plugin.connect(&host, &wanted).await
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::{CheckResult, Checked};

    #[test]
    fn results_of_later_versions_say_nothing() {
        let said = json!({ "what": "x", "result": "partly", "share": 3 });
        assert_eq!(from_value::<Checked>(said).unwrap(), Checked::unknown("x"));
        let not_set = Checked::not_set("x", "KEY");
        let said = serde_json::to_value(&not_set).unwrap();
        assert_eq!(
            said,
            json!({ "what": "x", "result": "not_set", "setting": "KEY" })
        );
        assert_eq!(from_value::<Checked>(said).unwrap(), not_set);
        assert!(matches!(not_set.result, CheckResult::NotSet { .. }));
    }
}
