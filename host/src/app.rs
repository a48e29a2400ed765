//! The state of the entry points.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::accounts::{Passwords, Tries};
use crate::cache::Cache;
use crate::calls::Calls;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::db::Db;
use crate::ingest::{Ingestor, Naming};
use crate::keys::Keys;
use crate::limits::Limits;
use crate::mailbox::Addresses;
use crate::plugins::Registry;
use crate::refusals::Refusals;
use crate::signed_link::LinkSigner;
use crate::webhooks::Poster;

/// The parts of a running process. Cheap to clone.
#[derive(Clone)]
pub struct App {
    context: Context,
    /// Event sources whose webhooks are refused: in production those without a secret.
    pub closed_sources: Arc<HashSet<String>>,
    pub ingestor: Ingestor,
    /// The names of events, with their aliases.
    pub naming: Arc<Naming>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) poster: Arc<Poster>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) tries: Arc<Tries>,
    /// Logs refused webhooks.
    pub(crate) refusals: Arc<Refusals>,
}

impl Deref for App {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl DerefMut for App {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

/// The parts from which an [`App`] is assembled.
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    pub plugins: Registry,
    pub cache: Arc<Cache>,
    pub closed_sources: HashSet<String>,
}

impl App {
    /// Assembles an app from parts that are already opened. Starts nothing: a process that accepts
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
        let links = LinkSigner::new(
            &config.secret,
            &config.previous_secrets,
            &config.api_public_url,
        );
        let addresses = Addresses::new(&config.secret, &config.previous_secrets);
        Ok(Self {
            ingestor: Ingestor::new(&db, &clock, &catalog).naming(&naming),
            naming,
            poster: Arc::new(Poster::new(&config.access.webhook_networks)),
            keys: Arc::default(),
            passwords: Arc::default(),
            tries: Arc::default(),
            refusals: Arc::default(),
            limits: Arc::new(Limits::new(cache.clone(), clock.clone())),
            closed_sources: Arc::new(closed_sources),
            context: Context {
                loops: Arc::default(),
                alone: Arc::default(),
                calls: Arc::new(Calls::new(&config.data_dir, db.clone(), clock.clone())),
                config: Arc::new(config),
                links: Arc::new(links),
                addresses: Arc::new(addresses),
                cache,
                clock,
                db,
                plugins,
                catalog,
            },
        })
    }
}
