//! From settings to a running process.

use std::sync::Arc;

use anyhow::Context;

use secrecy::ExposeSecret;

use super::{Misconfigured, secret};
use crate::app::{App, Parts};
use crate::clock::Clock;
use crate::config::{Config, Lookup, Mode, plugin_settings};
use crate::db::{self, Db};
use crate::plugins::{self, Cache, Discovered, Performer};
use crate::telemetry;

/// Connections to a Postgres server, in each process.
const CONNECTIONS: u32 = 16;

/// A process put together, and what is worth telling about it.
pub struct Started {
    pub app: App,
    /// The ids of the active delivery plugins.
    pub delivery: String,
}

/// Reads all settings, reports every problem at once, then opens what they name.
pub async fn start(lookup: Lookup<'_>, mode: Mode) -> anyhow::Result<Started> {
    let loaded = Config::load(lookup, mode);
    // Logging before the plugins: loading them tells which replaces which.
    match &loaded {
        Ok(config) => telemetry::init(config.log_level, config.production),
        Err(problems) => return Err(Misconfigured::of(problems).into()),
    }
    let mut config = loaded.map_err(|all| Misconfigured::of(&all))?;
    let plugin_cache = config.data_dir.join("plugins");
    let (found, broken) = Discovered::find(config.plugin_dir.as_deref(), &plugin_cache);
    let manifests: Vec<_> = found.manifests().collect();
    let read = plugin_settings(&manifests, &config, lookup);
    let mut problems: Vec<String> = broken.iter().map(ToString::to_string).collect();
    let read = match read {
        Ok(read) => Some(read),
        Err(all) => {
            problems.extend(all.iter().map(ToString::to_string));
            None
        }
    };
    let Some(read) = read.filter(|_| problems.is_empty()) else {
        return Err(Misconfigured(problems).into());
    };
    for warning in &read.warnings {
        tracing::warn!("{warning}");
    }
    if config.production && config.postal_address.is_empty() {
        tracing::warn!(
            "EMAIL_POSTAL_ADDRESS is not set: commercial mail without a postal address is unlawful in many countries"
        );
    }
    if config.secret.expose_secret().is_empty() {
        config.secret = secret::of_data_folder(&config.data_dir)?;
    }
    if let Some(from) = read.from_email {
        config.from_email = from;
    }

    let clock = clock(lookup, config.production)?;
    let cache = Arc::new(Cache::connect(Some(&config.redis_url), clock.clone()));
    let performer = Performer::new(
        plugins::http_client(),
        cache.clone(),
        config.data_dir.clone(),
    );
    let registry = found
        .start(
            &read.settings,
            &read.deliveries,
            &read.listening,
            performer,
            clock.clone(),
        )
        .await
        .map_err(|all| Misconfigured::of(&all))?;
    let db = match &config.database_url {
        Some(url) => Db::connect(url, CONNECTIONS)
            .await
            .context("cannot connect to the database of DATABASE_URL")?,
        None => Db::embedded(&config.data_dir.join("db")).await?,
    };
    let parts = Parts {
        config,
        clock,
        db,
        plugins: registry,
        cache,
        closed_sources: read.closed_sources,
    };
    Ok(Started {
        app: App::new(parts)?,
        delivery: read.deliveries.join(", "),
    })
}

/// Says which doors are open or closed for want of a key.
pub(super) async fn warn_of_keys(app: &App) -> anyhow::Result<()> {
    let config = &app.config;
    let keys =
        config.admin_api_key.is_some() || db::api_key_any(&mut *app.db.conn().await?).await?;
    if keys {
        return Ok(());
    }
    if config.production {
        tracing::warn!(
            "there is no key: requests with events are refused. Set ADMIN_API_KEY, or run \
             `hogsend admin create`, sign in and make keys at /v1/admin/api-keys"
        );
    } else {
        tracing::warn!(
            "there is no key: anyone who reaches this port can send events, as this is development. \
             Set ADMIN_API_KEY to close it"
        );
    }
    Ok(())
}

/// The machine's clock, or for tests of several processes a faster one.
fn clock(lookup: Lookup<'_>, production: bool) -> anyhow::Result<Clock> {
    match lookup("HOGSEND_TEST_CLOCK") {
        Some(text) if !text.is_empty() && !production => Clock::parse(&text)
            .context("HOGSEND_TEST_CLOCK is no start/since/factor of two instants and a number"),
        _ => Ok(Clock::system()),
    }
}

/// The plugins there are, without starting any.
pub(super) fn discover(lookup: Lookup<'_>) -> anyhow::Result<(Discovered, Vec<String>)> {
    let config = Config::load(lookup, Mode::Plugins).map_err(|all| Misconfigured::of(&all))?;
    telemetry::init(config.log_level, config.production);
    let plugin_cache = config.data_dir.join("plugins");
    let (found, broken) = Discovered::find(config.plugin_dir.as_deref(), &plugin_cache);
    Ok((found, broken.iter().map(ToString::to_string).collect()))
}
