//! `hogsend journeys …`.

mod list;
mod script;
mod simulate;

pub use list::list;
pub use simulate::{Simulate, simulate};

use std::collections::BTreeMap;
use std::sync::Arc;

use hogsend_plugin_api::{Kind, Manifest};

use super::Misconfigured;
use crate::clock::Clock;
use crate::config::{Config, Lookup, Mode, PluginSettings, plugin_settings};
use crate::plugins::{self, Cache, Discovered, JourneysRef, Performer};
use crate::telemetry;

/// The plugins that bring journeys, started, and the settings of the host. Neither a database nor
/// a provider is needed for it.
async fn load(lookup: Lookup<'_>) -> anyhow::Result<(Config, Vec<JourneysRef>)> {
    let config = Config::load(lookup, Mode::Plugins).map_err(|all| Misconfigured::of(&all))?;
    telemetry::init(config.log_level, config.production);
    let plugin_cache = config.data_dir.join("plugins");
    let (found, broken) = Discovered::find(config.plugin_dir.as_deref(), &plugin_cache);
    let mut problems: Vec<String> = broken.iter().map(ToString::to_string).collect();

    // Which provider is the active one does not matter here, and may be undecided.
    let undecided = {
        let mut config =
            Config::load(lookup, Mode::Plugins).map_err(|all| Misconfigured::of(&all))?;
        config.email_providers.clear();
        config.production = false;
        config
    };
    let mut settings = BTreeMap::new();
    for manifest in found.manifests().chain(found.older()) {
        match read(manifest, &undecided, lookup) {
            Ok(read) => settings.extend(read.settings),
            // Plugins without journeys are not asked anything.
            Err(_) if !manifest.kinds.contains(&Kind::Journeys) => {}
            Err(all) => problems.extend(all.iter().map(ToString::to_string)),
        }
    }
    if !problems.is_empty() {
        return Err(Misconfigured(problems).into());
    }
    let clock = Clock::system();
    let cache = Arc::new(Cache::connect(None, clock.clone()));
    let performer = Performer::new(plugins::http_client(), cache, config.data_dir.clone());
    let registry = found
        .start(&settings, &[], &[], performer, clock)
        .await
        .map_err(|all| Misconfigured::of(&all))?;
    Ok((config, registry.journeys()))
}

fn read(
    manifest: &Manifest,
    config: &Config,
    lookup: Lookup<'_>,
) -> Result<PluginSettings, Vec<crate::config::Problem>> {
    plugin_settings(&[manifest], config, lookup)
}
