//! Starts a process: reads the settings, starts the plugins, opens the database.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use secrecy::ExposeSecret;

use super::{Environment, Misconfigured, key, require_schema, secret};
use crate::app::{App, Parts};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Lookup, Mode, unknown};
use crate::db::{self, Db};
use crate::http_client::http_client;
use crate::installed::{Installation, Reading, Snapshot};
use crate::plugins::{self, Performer};
use crate::{memory, telemetry};

/// A started process.
pub struct Started {
    pub app: App,
    /// Reads the plugins and templates again.
    pub installation: Installation,
    /// The ids of the active delivery plugins.
    pub delivery: String,
}

/// Settings, and the plugins that were started with them.
struct Ready {
    config: Config,
    clock: Clock,
    cache: Arc<Cache>,
    installed: Snapshot,
    installation: Installation,
    delivery: String,
}

/// Reads all settings, reports all problems together, then connects to what they name.
pub async fn start(environment: &Environment, mode: Mode) -> anyhow::Result<Started> {
    start_with(environment, mode, Vec::new()).await
}

/// Like [`start`], with plugin libraries outside of `PLUGIN_DIR`.
pub async fn start_with(
    environment: &Environment,
    mode: Mode,
    libraries: Vec<PathBuf>,
) -> anyhow::Result<Started> {
    let ready = read(environment, mode, libraries).await?;
    let mut config = ready.config;
    if config.secret.expose_secret().is_empty() {
        config.secret = match mode {
            // A command signs nothing; it only changes rows.
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
        installed: ready.installed,
        cache: ready.cache,
    };
    Ok(Started {
        app: App::new(parts),
        installation: ready.installation,
        delivery: ready.delivery,
    })
}

/// Reads all settings and starts the plugins. All problems are reported together: in `.env`, in the
/// host's settings, in plugin files, in the plugins' settings and in what plugins make of them.
async fn read(
    environment: &Environment,
    mode: Mode,
    libraries: Vec<PathBuf>,
) -> anyhow::Result<Ready> {
    let lookup = |name: &str| environment.get(name);
    let mut findings = Findings::default();
    let (mut config, wrong) = Config::read(&lookup, mode);
    // Logging starts before the plugins: loading them logs which one replaces another.
    telemetry::init(&config);
    findings.add(environment.problems());
    findings.add(&wrong);

    let clock = clock(&lookup, config.production)?;
    // After a problem, nothing is opened.
    let redis = config.redis_url.as_deref();
    let redis = redis.filter(|_| findings.problems.is_empty());
    let cache = Arc::new(Cache::connect(redis, clock.clone()));
    let performer = Performer::new(http_client(), cache.clone(), config.data_dir.clone());
    let variables = environment.clone();
    let variables = move |name: &str| variables.get(name);
    let installation = Installation::new(variables, performer, clock.clone());
    let installation = installation.with_libraries(libraries);
    let reading = installation.read(&config).await;
    findings.problems.extend(reading.problems);
    let manifests: Vec<_> = reading.manifests.iter().collect();
    findings.notes = unknown(environment.names(), &manifests, &lookup);
    findings.warnings = [config.warnings.as_slice(), &reading.warnings].concat();
    findings.report(&config)?;

    plugins::sweep(&config.data_dir.join("plugins"));
    config.senders = reading.settings.senders;
    memory::give_back();
    Ok(Ready {
        config,
        clock,
        cache,
        installed: reading.snapshot,
        installation,
        delivery: reading.settings.deliveries.describe(),
    })
}

/// What the operator should know about the settings and plugins.
#[derive(Default)]
struct Findings {
    /// Each of them prevents the start.
    problems: Vec<String>,
    warnings: Vec<String>,
    /// Unknown variables, which are shown with the problems too.
    notes: Vec<String>,
}

impl Findings {
    fn add<T: std::fmt::Display>(&mut self, problems: &[T]) {
        self.problems.extend(texts(problems));
    }

    /// Logs the warnings, or fails with the problems.
    fn report(self, config: &Config) -> anyhow::Result<()> {
        let Self {
            problems,
            warnings,
            notes,
        } = self;
        if !problems.is_empty() {
            return Err(Misconfigured { problems, notes }.into());
        }
        for warning in warnings.iter().chain(&notes) {
            tracing::warn!("{warning}");
        }
        if config.strict() && config.postal_address.is_empty() {
            tracing::warn!(
                "EMAIL_POSTAL_ADDRESS is not set: commercial mail without a postal address is unlawful in many countries"
            );
        }
        Ok(())
    }
}

fn texts<T: std::fmt::Display>(problems: &[T]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Opens a database for a command, without plugins: that of `DATABASE_URL`, or the one of `hogsend dev`
/// in the data folder.
pub(super) async fn open(environment: &Environment) -> anyhow::Result<(Db, Config)> {
    let config = environment.config(Mode::Command)?;
    telemetry::init(&config);
    let db = match &config.database_url {
        Some(url) => Db::open(url, 2, false).await?,
        None => open_own(&config).await?,
    };
    require_schema(&db).await?;
    Ok((db, config))
}

/// Opens the database in the data folder, if there is one and no process has it open.
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
        let key = config.data_dir.join(crate::keys::KEY_FILE);
        format!(
            "the database in {} cannot be opened. While `hogsend dev` runs, use its API instead: \
             curl http://localhost:{}/v1/admin/dlq -H \"authorization: Bearer $(cat {})\"",
            config.data_dir.display(),
            config.port,
            key.display()
        )
    })
}

/// Warns if there is no key, which opens or closes routes.
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
            "there is no API key: in development, anyone who reaches this port can send events. Set \
             ADMIN_API_KEY to prevent that"
        );
    }
    Ok(())
}

/// The system clock, or a faster one for tests with several processes.
fn clock(lookup: Lookup<'_>, production: bool) -> anyhow::Result<Clock> {
    match lookup("HOGSEND_TEST_CLOCK") {
        Some(text) if !text.is_empty() && !production => Clock::parse(&text)
            .context("HOGSEND_TEST_CLOCK has to be start/since/factor, two instants and a number, optionally with /stop"),
        _ => Ok(Clock::system()),
    }
}

/// Finds and starts the plugins as a process would, without a database. What keeps it from starting is in
/// [`Reading::problems`].
///
/// # Errors
///
/// The host's own settings have problems.
pub(super) async fn examine(environment: &Environment) -> anyhow::Result<(Config, Reading)> {
    let config = environment.config(Mode::Plugins)?;
    telemetry::init(&config);
    let clock = Clock::system();
    let cache = Arc::new(Cache::connect(None, clock.clone()));
    let performer = Performer::new(http_client(), cache, config.data_dir.clone());
    let variables = environment.clone();
    let installation = Installation::new(move |name| variables.get(name), performer, clock);
    let reading = installation.read(&config).await;
    Ok((config, reading))
}

/// As [`examine`], with the warnings in the log.
pub(super) async fn examine_aloud(environment: &Environment) -> anyhow::Result<(Config, Reading)> {
    let (config, reading) = examine(environment).await?;
    for warning in &reading.warnings {
        tracing::warn!("{warning}");
    }
    Ok((config, reading))
}
