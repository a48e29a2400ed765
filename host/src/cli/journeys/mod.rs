//! `hogsend journeys …`.

mod list;
pub mod runs;
mod script;
mod simulate;

pub use list::list;
pub use simulate::{Simulate, simulate};

use std::collections::HashSet;
use std::sync::Arc;

use hogsend_plugin_api::Kind;

use super::{Environment, Misconfigured};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Mode, read_plugins};
use crate::http_client::http_client;
use crate::plugins::{Discovered, Isolation, JourneysRef, Performer};
use crate::purpose::ByPurpose;
use crate::telemetry;

/// Starts the plugins that provide journeys and reads the host's settings. Needs neither a database
/// nor a provider.
pub(super) async fn load(environment: &Environment) -> anyhow::Result<(Config, Vec<JourneysRef>)> {
    let config = environment.config(Mode::Plugins)?;
    telemetry::init(&config);
    let plugin_cache = config.data_dir.join("plugins");
    let (mut found, broken) = Discovered::find_with(
        config.plugin_dir.as_deref(),
        &plugin_cache,
        &Isolation::of_process(config.production),
    );
    // Plugins without journeys are not started.
    let others: HashSet<String> = found
        .manifests()
        .filter(|manifest| !manifest.kinds.contains(&Kind::Journeys))
        .map(|manifest| manifest.id.clone())
        .collect();
    found.without(&others);
    let manifests: Vec<_> = found.manifests().chain(found.older()).collect();
    let lookup = |name: &str| environment.get(name);
    let (read, wrong) = read_plugins(&manifests, &config, &lookup);
    let clock = Clock::system();
    let cache = Arc::new(Cache::connect(None, clock.clone()));
    let performer = Performer::new(http_client(), cache, config.data_dir.clone());
    let mut problems = Misconfigured::of(&broken).problems;
    problems.extend(Misconfigured::of(&wrong).problems);
    found.without(&read.incomplete);
    let (registry, refused) = found
        .start_all(&read.settings, &ByPurpose::default(), &[], performer, clock)
        .await;
    problems.extend(Misconfigured::of(&refused).problems);
    if problems.is_empty() {
        Ok((config, registry.journeys()))
    } else {
        let notes = Vec::new();
        Err(Misconfigured { problems, notes }.into())
    }
}
