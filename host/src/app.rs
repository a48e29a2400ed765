//! The state of the entry points.

use std::ops::Deref;
use std::sync::Arc;

use crate::accounts::{Passwords, Tries};
use crate::cache::Cache;
use crate::calls::Calls;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::db::Db;
use crate::ingest::{Ingestor, Naming};
use crate::installed::{Installed, Snapshot};
use crate::keys::Keys;
use crate::limits::Limits;
use crate::mailbox::Addresses;
use crate::refusals::Refusals;
use crate::signed_link::LinkSigner;
use crate::webhooks::Poster;

/// The parts of a running process. One counter to clone: the HTTP server clones it several times for
/// each request, and counters shared by all cores are expensive.
#[derive(Clone)]
pub struct App(Arc<Process>);

/// What an [`App`] gives access to.
pub struct Process {
    context: Context,
    pub ingestor: Ingestor,
    /// The names of events, with their aliases.
    pub naming: Arc<Naming>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    pub(crate) poster: Poster,
    pub(crate) passwords: Passwords,
    pub(crate) tries: Tries,
    /// Logs refused webhooks.
    pub(crate) refusals: Refusals,
}

impl Deref for App {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl Deref for Process {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// The parts from which an [`App`] is assembled.
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    pub installed: Snapshot,
    pub cache: Arc<Cache>,
}

impl App {
    /// Assembles an app from parts that are already opened. Starts nothing: a process that accepts
    /// events starts the committers with [`Ingestor::start`].
    pub fn new(parts: Parts) -> Self {
        let Parts {
            config,
            clock,
            db,
            installed,
            cache,
        } = parts;
        let mut config = config;
        if config.brand.name.is_empty() {
            config.brand.name = config.sender_name();
        }
        let installed = Installed::new(installed);
        let naming = Arc::new(Naming::new(config.aliases.clone(), &installed));
        let links = LinkSigner::new(
            &config.secret,
            &config.previous_secrets,
            &config.api_public_url,
        );
        let addresses = Addresses::new(&config.secret, &config.previous_secrets);
        Self(Arc::new(Process {
            ingestor: Ingestor::new(&db, &clock, &installed).naming(&naming),
            naming,
            poster: Poster::new(&config.access.webhook_networks),
            keys: Keys::default(),
            passwords: Passwords::default(),
            tries: Tries::default(),
            refusals: Refusals::default(),
            limits: Limits::new(cache.clone(), clock.clone()),
            context: Context {
                loops: Arc::default(),
                alone: Arc::default(),
                mark: Arc::default(),
                halt: Arc::default(),
                calls: Arc::new(Calls::new(&config.data_dir, db.clone(), clock.clone())),
                config: Arc::new(config),
                links: Arc::new(links),
                addresses: Arc::new(addresses),
                cache,
                clock,
                db,
                installed,
            },
        }))
    }
}
