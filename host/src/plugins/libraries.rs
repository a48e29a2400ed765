//! The libraries this process has opened.
//!
//! A library is opened once and never closed: one that used a thread-local cannot be unloaded safely, and
//! opening it again would return the same code. Each version has a path of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hogsend_plugin_api::Manifest;
use hogsend_plugin_api::abi::Root;

use super::Problem;
use super::loader::load;
use super::preflight::Checked;
use super::{features, lint};

/// An opened library.
#[derive(Clone)]
pub(super) struct Opened {
    pub root: Root,
    pub manifest: Manifest,
    /// What this host lacks for it.
    pub lacks: Vec<String>,
}

/// Every opened library, by the SHA-256 of its file. Cheap to clone.
#[derive(Clone, Default)]
pub struct Libraries {
    opened: Arc<Mutex<HashMap<String, Opened>>>,
    /// Also those whose manifest breaks a rule.
    unchecked: bool,
}

impl Libraries {
    /// Opens also libraries whose manifest breaks a rule, to report every breach.
    pub fn unchecked() -> Self {
        Self {
            unchecked: true,
            ..Self::default()
        }
    }

    /// How many libraries are open.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The library with this hash, if it is open.
    pub(super) fn get(&self, sha256: &str) -> Option<Opened> {
        self.lock().get(sha256).cloned()
    }

    /// Opens a checked file, unless it is open already.
    ///
    /// # Errors
    ///
    /// The system cannot load it, it was built for another host, or its manifest breaks a rule.
    pub(super) fn open(&self, checked: &Checked) -> Result<Opened, Problem> {
        if let Some(opened) = self.get(&checked.sha256) {
            return Ok(opened);
        }
        tracing::debug!(file = %checked.original.display(), "opening a plugin library");
        let library = load(checked)?;
        let faults = lint::manifest(&library.manifest);
        if let Some(fault) = faults.first().filter(|_| !self.unchecked) {
            return Err(Problem::of_file("PLUGIN-009", &checked.original, fault));
        }
        let opened = Opened {
            lacks: features::lacks(&library.manifest, library.left_out),
            root: library.root,
            manifest: library.manifest,
        };
        if !opened.lacks.is_empty() {
            let Opened {
                manifest, lacks, ..
            } = &opened;
            tracing::warn!(plugin = manifest.id, version = manifest.version,
                api = manifest.api, lacks = ?lacks,
                "this host lacks what a plugin needs or has; the rest of it works: update Hogsend");
        }
        self.lock().insert(checked.sha256.clone(), opened.clone());
        Ok(opened)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
