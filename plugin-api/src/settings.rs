//! The values of a plugin's settings, and what the plugin learns of its host with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The declared settings that have a value. Empty values count as unset.
///
/// Travels as one JSON object of strings. What the host says of itself is in it under a name that no
/// environment variable has, so that plugins built before it existed ignore it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, String>);

/// The name under which [`HostInfo`] travels, as JSON.
const HOST: &str = "$host";

/// What a plugin learns of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostInfo {
    /// Hogsend's version; empty where the host does not say.
    #[serde(default)]
    pub version: String,
    /// The version of `hogsend-plugin-api` the host was built with.
    #[serde(default)]
    pub api: String,
    /// What the host offers; see [`feature`](crate::feature).
    #[serde(default)]
    pub features: Vec<String>,
}

impl HostInfo {
    /// A host of this version that offers these features.
    pub fn new(version: &str, features: &[&str]) -> Self {
        Self {
            version: version.into(),
            api: crate::abi::API_VERSION.into(),
            features: features.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Whether the host offers this feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }
}

impl Settings {
    /// The value of a setting, or its default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Gives a setting a value.
    pub fn insert(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    /// Removes a setting.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The settings and their values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().filter(|(name, _)| *name != HOST);
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What the host says of itself; everything is empty where it says nothing.
    pub fn host(&self) -> HostInfo {
        let text = self.get(HOST).unwrap_or_default();
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Adds what the host says of itself.
    pub fn with_host(mut self, host: &HostInfo) -> Self {
        if let Ok(text) = serde_json::to_string(host) {
            self.0.insert(HOST.into(), text);
        }
        self
    }
}

/// Names only: values may be secret.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Settings {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Settings {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let own = |(name, value): (K, V)| (name.into(), value.into());
        Self(pairs.into_iter().map(own).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{HostInfo, Settings};

    #[test]
    fn the_host_travels_with_the_settings_and_is_none_of_them() {
        let host = HostInfo::new("9.9.9", &["log"]);
        let settings = Settings::from([("KEY", "hush")]).with_host(&host);
        let text = serde_json::to_string(&settings).unwrap();
        // As plugins built before read it.
        let before: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        assert_eq!(before["KEY"], "hush");
        let settings: Settings = serde_json::from_str(&text).unwrap();
        assert_eq!(settings.iter().collect::<Vec<_>>(), [("KEY", "hush")]);
        assert_eq!(settings.host(), host);
        assert!(settings.host().has("log") && !settings.host().has("history"));
        assert_eq!(format!("{settings:?}"), "{\"KEY\"}");
        assert_eq!(Settings::default().host(), HostInfo::default());
    }
}
