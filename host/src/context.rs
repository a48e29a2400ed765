//! The state that the modules of a process share.

use std::sync::Arc;

use hogsend_plugin_api::Trust;

use crate::cache::Cache;
use crate::calls::{Alone, Calls};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::ids::Mark;
use crate::installed::Installed;
use crate::loops::Loops;
use crate::mailbox::Addresses;
use crate::pauses::Halt;
use crate::plugins::Registry;
use crate::signed_link::LinkSigner;

/// The database, the clock, the plugins and what they provide. Entry points have it inside their
/// `App`. Modules that run a whole task take it; smaller functions take only the parts they need.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub db: Db,
    /// The plugins and what they bring; a reload replaces it.
    pub installed: Installed,
    pub cache: Arc<Cache>,
    /// The state of this process's background loops.
    pub loops: Arc<Loops>,
    /// Runs work during which a worker crashed in isolation.
    pub alone: Arc<Alone>,
    /// The plugin calls in progress.
    pub calls: Arc<Calls>,
    /// Signs the links in mails.
    pub links: Arc<LinkSigner>,
    /// Hashes email addresses.
    pub addresses: Arc<Addresses>,
    /// In the ids of mails: which installation made them.
    pub mark: Arc<Mark>,
    /// Whether nothing may be claimed, because the database was restored or copied.
    pub halt: Arc<Halt>,
}

impl Context {
    /// The plugins in use now.
    pub fn plugins(&self) -> Registry {
        self.installed.plugins()
    }

    /// The journeys, templates and lists in use now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.installed.catalog()
    }

    /// Whether webhooks of this plugin are refused: in production, while it has no secret.
    pub fn refuses_webhooks_of(&self, plugin: &str) -> bool {
        self.installed.now().closed_sources.contains(plugin)
    }

    /// Whether an event source is trusted, by its plugin's manifest or by `TRUSTED_SOURCES`.
    pub fn trust(&self, source: &str) -> Trust {
        let named = self.config.trusted_sources.iter().any(|id| id == source);
        let plugin = self.plugins().event_source(source);
        let strangers = plugin.is_none_or(|plugin| plugin.manifest().untrusted);
        Trust::from(named || !strangers)
    }
}
