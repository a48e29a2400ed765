//! `hogsend plugin check` without a file, and `hogsend plugin setup`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hogsend_plugin_api::{CheckResult, Manifest, Settings};

use crate::cache::Cache;
use crate::cli::{Environment, Misconfigured};
use crate::clock::Clock;
use crate::config::{Config, Mode, read_plugins};
use crate::http_client::http_client;
use crate::plugins::{Discovered, Isolation, Performer, PluginRef};
use crate::purpose::ByPurpose;
use crate::telemetry;

/// The plugins, started as they would run.
pub struct Loaded {
    pub config: Config,
    pub running: Vec<PluginRef>,
    /// Of all plugins, whether or not they run.
    pub manifests: Vec<Manifest>,
    /// Why others do not start.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
    /// Who mails come from.
    pub senders: ByPurpose<String>,
    settings: BTreeMap<String, Settings>,
}

impl Loaded {
    /// Whether a plugin's setting has a value.
    pub fn is_set(&self, plugin: &str, setting: &str) -> bool {
        let value = self.settings.get(plugin).and_then(|all| all.get(setting));
        value.is_some_and(|value| !value.is_empty())
    }
}

/// Starts the plugins as they would run. Needs no database.
pub async fn load(environment: &Environment) -> anyhow::Result<Loaded> {
    let config = environment.config(Mode::Plugins)?;
    telemetry::init(config.log_level, config.production);
    let plugin_cache = config.data_dir.join("plugins");
    let (mut found, broken) = Discovered::find_with(
        config.plugin_dir.as_deref(),
        &plugin_cache,
        &Isolation::of_process(config.production),
    );
    let mut problems = Misconfigured::of(&broken).problems;
    let all: Vec<Manifest> = found.manifests().cloned().collect();
    let mut warnings = Misconfigured::of(&found.warnings).problems;
    let manifests: Vec<_> = found.manifests().collect();
    let lookup = |name: &str| environment.get(name);
    let (read, wrong) = read_plugins(&manifests, &config, &lookup);
    problems.extend(Misconfigured::of(&wrong).problems);
    let clock = Clock::system();
    let cache = Arc::new(Cache::connect(None, clock.clone()));
    let performer = Performer::new(http_client(), cache, config.data_dir.clone());
    found.without(&read.incomplete);
    let (registry, refused) = found
        .start_all(
            &read.settings,
            &read.startable(),
            &read.listening,
            performer,
            clock,
        )
        .await;
    problems.extend(Misconfigured::of(&refused).problems);
    warnings.extend(read.warnings);
    Ok(Loaded {
        config,
        running: registry.running(),
        manifests: all,
        problems,
        warnings,
        senders: read.senders,
        settings: read.settings,
    })
}

/// Lets every plugin try out its set-up and prints what came out. Fails where something does not work.
pub async fn check(environment: &Environment) -> anyhow::Result<()> {
    let Loaded {
        running,
        mut problems,
        ..
    } = load(environment).await?;
    for plugin in running {
        let id = &plugin.manifest().id;
        let checked = match plugin.check().await {
            Ok(checked) => checked,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        for one in checked {
            match one.result {
                CheckResult::Sound { detail, .. } => {
                    let detail = detail.map(|detail| format!(" ({detail})"));
                    println!("{id}: {} works{}", one.what, detail.unwrap_or_default());
                }
                CheckResult::Faulty { reason, fix, .. } => {
                    problems.push(format!("{id}: {}: {reason}: {fix}", one.what));
                }
                CheckResult::NotSet { setting, .. } => {
                    println!("{id}: {} is not used: {setting} is not set", one.what);
                }
                _ => println!("{id}: {} could not be checked", one.what),
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Misconfigured::of(&problems).into()),
    }
}

/// Prints what to enter at the vendors.
pub async fn setup(environment: &Environment) -> anyhow::Result<()> {
    let Loaded {
        config,
        running,
        mut problems,
        ..
    } = load(environment).await?;
    let url = config.api_public_url.trim_end_matches('/');
    for plugin in running {
        let id = &plugin.manifest().id;
        match plugin.setup().await {
            Ok(items) => {
                for item in items {
                    let value = item.value.replace("{url}", url);
                    println!("{id}: {} = {value}", item.label);
                    println!("    at {}", item.place);
                }
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Misconfigured::of(&problems).into()),
    }
}
