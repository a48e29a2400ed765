//! What the modules of one process share.

use std::sync::Arc;

use hogsend_plugin_api::Trust;

use crate::cache::Cache;
use crate::calls::{Alone, Calls};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::loops::Loops;
use crate::mailbox::Addresses;
use crate::plugins::Registry;
use crate::signed_link::LinkSigner;

/// The store, the clock, the plugins and what they brought. Entry points have it inside their `App`;
/// modules that run a whole task take it, and smaller functions take the part they need.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub db: Db,
    pub plugins: Registry,
    pub cache: Arc<Cache>,
    pub catalog: Arc<Catalog>,
    /// How the background loops of this process are doing.
    pub loops: Arc<Loops>,
    /// Lets work that workers ended in be done alone.
    pub alone: Arc<Alone>,
    /// Which plugins are being called.
    pub calls: Arc<Calls>,
    /// Signs the links in mails.
    pub links: Arc<LinkSigner>,
    /// Hashes the addresses of mailboxes.
    pub addresses: Arc<Addresses>,
}

impl Context {
    /// Whether an event source is believed: what its plugin says of it, or the operator.
    pub fn trust(&self, source: &str) -> Trust {
        let named = self.config.trusted_sources.iter().any(|id| id == source);
        let plugin = self.plugins.event_source(source);
        let strangers = plugin.is_none_or(|plugin| plugin.manifest().untrusted);
        Trust::from(named || !strangers)
    }
}
