//! What the plugins are started with.

use std::collections::{BTreeMap, HashSet};

use hogsend_plugin_api::{Manifest, Settings};

use crate::purpose::ByPurpose;

/// The settings that the plugins are started with.
#[derive(Debug, Default)]
pub struct PluginSettings {
    /// By plugin id; each plugin gets its own only.
    pub settings: BTreeMap<String, Settings>,
    /// The active delivery plugins, in order of preference.
    pub deliveries: ByPurpose<Vec<String>>,
    /// Inactive delivery plugins whose webhooks about earlier mails are still read.
    pub listening: Vec<String>,
    /// Delivery plugins that could be active, if it is not settled which are.
    pub candidates: Vec<String>,
    /// Plugins that lack a required setting, or declare one that they do not get.
    pub incomplete: HashSet<String>,
    /// The senders: the first delivery plugin's own setting, or the host's.
    pub senders: ByPurpose<String>,
    /// Plugins whose webhooks are refused: in production those without a secret.
    pub closed_sources: HashSet<String>,
    /// Messages for the operator that are no problems.
    pub warnings: Vec<String>,
}

impl PluginSettings {
    /// The delivery plugins to start: the active ones, or those that could be.
    pub fn startable(&self) -> ByPurpose<Vec<String>> {
        let mut all = self.deliveries.clone();
        all.lifecycle.extend(self.candidates.iter().cloned());
        all
    }
}

/// Whether every required setting has a value.
pub(super) fn complete(manifest: &Manifest, own: &Settings) -> bool {
    let mut required = manifest.settings.iter().filter(|setting| setting.required);
    required.all(|setting| own.get(&setting.name).is_some())
}
