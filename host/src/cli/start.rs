//! Starting a process from the settings.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Context;
use hogsend_plugin_api::{Kind, Manifest};
use secrecy::ExposeSecret;

use super::{Environment, Misconfigured, key, require_schema, secret};
use crate::app::{App, Parts};
use crate::cache::Cache;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::{Config, Lookup, Mode, read_plugins, unknown};
use crate::db::{self, Db};
use crate::http_client::http_client;
use crate::plugins::{Discovered, Performer, Registry};
use crate::telemetry;

/// A process that is ready to run.
pub struct Started {
    pub app: App,
    /// The ids of the active delivery plugins.
    pub delivery: String,
}

/// The settings, and the plugins started with them.
struct Ready {
    config: Config,
    clock: Clock,
    cache: Arc<Cache>,
    registry: Registry,
    closed_sources: HashSet<String>,
    delivery: String,
}

/// Reads all settings, reports all problems together, then connects to what they name.
pub async fn start(environment: &Environment, mode: Mode) -> anyhow::Result<Started> {
    let ready = read(environment, mode).await?;
    let mut config = ready.config;
    if config.secret.expose_secret().is_empty() {
        config.secret = match mode {
            // Never used: a command signs nothing.
            Mode::Command => uuid::Uuid::new_v4().to_string().into(),
            _ => secret::of_data_folder(&config.data_dir)?,
        };
    }
    if mode == Mode::Dev && !config.production && config.admin_api_key.is_none() {
        config.admin_api_key = Some(key::of_data_folder(&config.data_dir)?);
        config.development_key = true;
    }
    let db = match &config.database_url {
        Some(url) => Db::open(url, config.database_pool_size as u32, false).await?,
        None if mode == Mode::Command => open_own(&config).await?,
        None => {
            secret::make_folder(&config.data_dir)?;
            Db::embedded(&config.data_dir.join("db")).await?
        }
    };
    let parts = Parts {
        config,
        clock: ready.clock,
        db,
        plugins: ready.registry,
        cache: ready.cache,
        closed_sources: ready.closed_sources,
    };
    Ok(Started {
        app: App::new(parts)?,
        delivery: ready.delivery,
    })
}

/// Reads all settings and starts the plugins. All problems, in `.env`, in the host's settings, in
/// plugin files, in plugins' settings or reported by plugins, are returned in one list.
async fn read(environment: &Environment, mode: Mode) -> anyhow::Result<Ready> {
    let lookup = |name: &str| environment.get(name);
    let (mut config, wrong) = Config::read(&lookup, mode);
    // Logging before the plugins: loading them logs which one replaces which.
    telemetry::init(config.log_level, config.production);
    let mut problems = texts(environment.problems());
    problems.extend(texts(&wrong));

    let plugin_cache = config.data_dir.join("plugins");
    let (mut found, broken) = Discovered::find(config.plugin_dir.as_deref(), &plugin_cache);
    problems.extend(texts(&broken));
    let manifests: Vec<_> = found.manifests().collect();
    let (read, wrong) = read_plugins(&manifests, &config, &lookup);
    problems.extend(texts(&wrong));
    let notes = unknown(environment.names(), &manifests, &lookup);
    let clock = clock(&lookup, config.production)?;

    // Even with problems, the plugins are started to collect theirs, but nothing else is opened.
    let sound = problems.is_empty();
    let redis = config.redis_url.as_deref().filter(|_| sound);
    let cache = Arc::new(Cache::connect(redis, clock.clone()));
    let performer = Performer::new(http_client(), cache.clone(), config.data_dir.clone());
    let brings_journeys = |manifest: &&&Manifest| manifest.kinds.contains(&Kind::Journeys);
    let bringing = manifests.iter().filter(brings_journeys).count();
    if !sound {
        found.without(&read.incomplete);
    }
    let deliveries = [read.deliveries.clone(), read.candidates.clone()].concat();
    let (registry, refused) = found
        .start_all(
            &read.settings,
            &deliveries,
            &read.listening,
            performer,
            clock.clone(),
        )
        .await;
    problems.extend(texts(&refused));
    // The journey may belong to a plugin that did not start.
    let mut warnings = Vec::new();
    if broken.is_empty() && registry.journeys().len() == bringing {
        match Catalog::new(&registry, config.enabled_journeys.as_deref()) {
            Ok(mut catalog) => {
                if let Some(dir) = &config.template_dir {
                    let (wrong, hints) = catalog.replace(dir);
                    problems.extend(texts(&wrong));
                    warnings = hints;
                }
            }
            Err(wrong) => problems.push(wrong.to_string()),
        }
    }
    if !problems.is_empty() {
        return Err(Misconfigured { problems, notes }.into());
    }

    config.from_email = read.sender;
    let said = config.warnings.iter().chain(&read.warnings);
    for warning in said.chain(&warnings).chain(&notes) {
        tracing::warn!("{warning}");
    }
    if config.strict() && config.postal_address.is_empty() {
        tracing::warn!(
            "EMAIL_POSTAL_ADDRESS is not set: commercial mail without a postal address is unlawful in many countries"
        );
    }
    Ok(Ready {
        config,
        clock,
        cache,
        registry,
        closed_sources: read.closed_sources,
        delivery: read.deliveries.join(", "),
    })
}

fn texts<T: std::fmt::Display>(problems: &[T]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Opens a database for reading, without the other settings: that of `DATABASE_URL`, or the embedded
/// one of `hogsend dev` in the data folder.
pub(super) async fn open(environment: &Environment) -> anyhow::Result<(Db, Config)> {
    let config = environment.config(Mode::Command)?;
    telemetry::init(config.log_level, config.production);
    let db = match &config.database_url {
        Some(url) => Db::open(url, 2, false).await?,
        None => open_own(&config).await?,
    };
    require_schema(&db).await?;
    Ok((db, config))
}

/// Opens the embedded database in the data folder, if it exists and is not in use.
async fn open_own(config: &Config) -> anyhow::Result<Db> {
    let folder = config.data_dir.join("db");
    if config.production || !folder.is_dir() {
        let missing = if config.production {
            String::new()
        } else {
            format!(
                ", and {} contains no database of `hogsend dev`",
                config.data_dir.display()
            )
        };
        let problem = format!("DATABASE_URL is required: the URL of a Postgres{missing}");
        return Err(Misconfigured::of(&[problem]).into());
    }
    Db::embedded(&folder).await.with_context(|| {
        let key = config.data_dir.join(key::KEY_FILE);
        format!(
            "the database in {} cannot be opened. While `hogsend dev` runs, use its API instead: \
             curl http://localhost:{}/v1/admin/dlq -H \"authorization: Bearer $(cat {})\"",
            config.data_dir.display(),
            config.port,
            key.display()
        )
    })
}

/// Warns which endpoints are open or closed because there is no key.
pub(super) async fn warn_of_keys(app: &App) -> anyhow::Result<()> {
    let config = &app.config;
    let chosen = config.admin_api_key.is_some() && !config.development_key;
    let keys = chosen || db::api_key_any(&mut *app.db.conn().await?).await?;
    if keys {
        return Ok(());
    }
    if config.production {
        tracing::warn!(
            "there is no API key: requests with events are refused. Set ADMIN_API_KEY, or run \
             `hogsend admin create`, sign in and create keys at /v1/admin/api-keys"
        );
    } else {
        tracing::warn!(
            "there is no API key: in development, anyone who can reach this port can send events. \
             Set ADMIN_API_KEY to prevent that"
        );
    }
    Ok(())
}

/// The system clock, or a faster one for tests with several processes.
fn clock(lookup: Lookup<'_>, production: bool) -> anyhow::Result<Clock> {
    match lookup("HOGSEND_TEST_CLOCK") {
        Some(text) if !text.is_empty() && !production => Clock::parse(&text)
            .context("HOGSEND_TEST_CLOCK must be start/since/factor, two instants and a number, optionally with /stop"),
        _ => Ok(Clock::system()),
    }
}

/// Finds the plugins without starting them.
pub(super) fn discover(environment: &Environment) -> anyhow::Result<(Discovered, Vec<String>)> {
    let config = environment.config(Mode::Plugins)?;
    telemetry::init(config.log_level, config.production);
    let plugin_cache = config.data_dir.join("plugins");
    let (found, broken) = Discovered::find(config.plugin_dir.as_deref(), &plugin_cache);
    Ok((found, texts(&broken)))
}
