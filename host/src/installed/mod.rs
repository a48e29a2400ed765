//! What is installed: the plugins, and the journeys, templates and lists they bring.
//!
//! It is one snapshot, which a reload replaces as a whole. Whoever works on one thing takes the snapshot
//! once: a run, a mail or a transaction ends with what it began with, whatever is loaded meanwhile.

mod installation;
mod reload;

pub use installation::{Installation, Reading};
pub use reload::Reloaded;

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::catalog::Catalog;
use crate::plugins::Registry;

/// Everything installed at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub plugins: Registry,
    pub catalog: Arc<Catalog>,
    /// Event sources whose webhooks are refused: in production those without a secret.
    pub closed_sources: HashSet<String>,
}

/// The snapshot in use.
#[derive(Clone, Default)]
pub struct Installed(Arc<ArcSwap<Snapshot>>);

impl Installed {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// The snapshot in use now.
    pub fn now(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// The plugins in use now.
    pub fn plugins(&self) -> Registry {
        self.0.load().plugins.clone()
    }

    /// The journeys, templates and lists in use now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.load().catalog.clone()
    }

    /// Puts another snapshot in use. What works with the former one ends with it.
    fn replace(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
