//! What every door and room works with.

use std::collections::HashSet;
use std::sync::Arc;

use hogsend_plugin_api::Trust;

use crate::accounts::{Passwords, Tries};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::config::Config;
use crate::contacts::Addresses;
use crate::db::Db;
use crate::ingest::{Ingestor, Naming};
use crate::journeys::Catalog;
use crate::keys::Keys;
use crate::limits::Limits;
use crate::loops::Loops;
use crate::mail::Unsubscribe;
use crate::plugins::{Cache, Registry};
use crate::refusals::Refusals;
use crate::webhooks::Poster;
use crate::worker::Alone;

/// The parts of a running process. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub db: Db,
    pub plugins: Registry,
    pub cache: Arc<Cache>,
    /// Event sources that are refused: in production those whose secret is not set.
    pub closed_sources: Arc<HashSet<String>>,
    pub catalog: Arc<Catalog>,
    pub ingestor: Ingestor,
    /// How the background loops of this process are doing.
    pub loops: Arc<Loops>,
    /// What events are called.
    pub naming: Arc<Naming>,
    /// Lets work that workers ended in be done alone.
    pub(crate) alone: Arc<Alone>,
    /// Which plugins are being called.
    pub(crate) calls: Arc<Calls>,
    pub unsubscribe: Arc<Unsubscribe>,
    pub addresses: Arc<Addresses>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) poster: Arc<Poster>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) tries: Arc<Tries>,
    /// Webhooks that were turned away.
    pub(crate) refusals: Arc<Refusals>,
}

/// What a process is put together from.
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    pub plugins: Registry,
    pub cache: Arc<Cache>,
    pub closed_sources: HashSet<String>,
}

impl App {
    /// Puts a process together from parts that were opened before. Starts nothing: a process that takes
    /// events starts the committers with [`Ingestor::start`].
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        let Parts {
            config,
            clock,
            db,
            plugins,
            cache,
            closed_sources,
        } = parts;
        let mut config = config;
        if config.brand.name.is_empty() {
            config.brand.name = config.sender_name();
        }
        let mut catalog = Catalog::new(&plugins, config.enabled_journeys.as_deref())?;
        if let Some(dir) = &config.template_dir {
            let (problems, _) = catalog.replace(dir);
            if let Some(problem) = problems.first() {
                anyhow::bail!("{problem}");
            }
        }
        let catalog = Arc::new(catalog);
        let naming = Arc::new(Naming::new(config.aliases.clone(), catalog.clone()));
        let unsubscribe = Unsubscribe::new(
            &config.secret,
            &config.previous_secrets,
            &config.api_public_url,
        );
        let addresses = Addresses::new(&config.secret, &config.previous_secrets);
        Ok(Self {
            ingestor: Ingestor::new(&db, &clock, &catalog).naming(&naming),
            naming,
            loops: Arc::default(),
            alone: Arc::default(),
            calls: Arc::new(Calls::new(&config.data_dir)),
            poster: Arc::new(Poster::new(&config.access.webhook_networks)),
            config: Arc::new(config),
            unsubscribe: Arc::new(unsubscribe),
            addresses: Arc::new(addresses),
            keys: Arc::default(),
            passwords: Arc::default(),
            tries: Arc::default(),
            refusals: Arc::default(),
            limits: Arc::new(Limits::new(cache.clone(), clock.clone())),
            closed_sources: Arc::new(closed_sources),
            cache,
            clock,
            db,
            plugins,
            catalog,
        })
    }

    /// Whether an event source is believed: what its plugin says of it, or the operator.
    pub fn trust(&self, source: &str) -> Trust {
        let named = self.config.trusted_sources.iter().any(|id| id == source);
        let plugin = self.plugins.event_source(source);
        let strangers = plugin.is_none_or(|plugin| plugin.manifest().untrusted);
        Trust::from(named || !strangers)
    }
}
