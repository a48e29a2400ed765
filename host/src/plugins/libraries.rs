//! The code that this process has opened: libraries, and child processes.
//!
//! A library is opened once and never closed: one that used a thread-local cannot be unloaded safely, and
//! opening it again would return the same code. Each version has a path of its own. A child ends when nobody
//! uses it any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hogsend_plugin_api::Manifest;
use hogsend_plugin_api::abi::Root;
use hogsend_plugin_api::wire::LeftOut;

use super::Problem;
use super::bounded::within_start;
use super::isolate::{Isolated, Launch};
use super::preflight::Checked;
use super::{features, loader};

/// Code that is not part of this binary.
#[derive(Clone)]
pub(super) enum LoadedCode {
    Library(Root),
    /// A library or a program in a child process.
    Child(Arc<Isolated>),
}

/// Opened code, and what it says of itself.
#[derive(Clone)]
pub(super) struct Opened {
    pub code: LoadedCode,
    pub manifest: Manifest,
    /// What this host lacks for it.
    pub lacks: Vec<String>,
}

/// Everything that is open, by the key a reload knows it by. Cheap to clone.
#[derive(Clone, Default)]
pub struct Libraries {
    opened: Arc<Mutex<Known>>,
    /// Also those whose manifest breaks a rule.
    unchecked: bool,
}

#[derive(Default)]
struct Known {
    libraries: HashMap<String, Opened>,
    children: HashMap<String, (Weak<Isolated>, Vec<String>)>,
}

impl Libraries {
    /// Opens also libraries whose manifest breaks a rule, to report every breach.
    pub fn unchecked() -> Self {
        Self {
            unchecked: true,
            ..Self::default()
        }
    }

    /// How many libraries are open in this process.
    pub fn count(&self) -> usize {
        self.lock().libraries.len()
    }

    /// The code with this key, if it is open.
    pub(super) fn get(&self, key: &str) -> Option<Opened> {
        let known = self.lock();
        if let Some(opened) = known.libraries.get(key) {
            return Some(opened.clone());
        }
        let (child, lacks) = known.children.get(key)?;
        let child = child.upgrade()?;
        Some(Opened {
            manifest: child.manifest().clone(),
            code: LoadedCode::Child(child),
            lacks: lacks.clone(),
        })
    }

    /// Opens a checked file in this process, unless it is open already.
    ///
    /// # Errors
    ///
    /// The system cannot load it, it was built for another host, it does not give its manifest in time, or the
    /// manifest breaks a rule.
    pub(super) fn open(&self, key: &str, checked: &Checked) -> Result<Opened, Problem> {
        if let Some(opened) = self.get(key) {
            return Ok(opened);
        }
        let original = checked.original.clone();
        tracing::debug!(file = %original.display(), "loading a plugin library");
        let file = checked.clone();
        let loaded = within_start(move || {
            let root = loader::open(&file)?;
            let (manifest, left_out) = loader::manifest::<Manifest>(&file, root)?;
            Ok((root, manifest, left_out))
        });
        let (root, manifest, left_out) = loaded.unwrap_or_else(|fault| {
            let message = fault.message("say its manifest");
            let message = format!("{message}: remove it, or report this to its author");
            Err(Problem::of_file(fault.code(), &original, message))
        })?;
        let lacks = self.accept(&manifest, left_out, &original)?;
        let opened = Opened {
            code: LoadedCode::Library(root),
            manifest,
            lacks,
        };
        let mut known = self.lock();
        known.libraries.insert(key.to_owned(), opened.clone());
        Ok(opened)
    }

    /// Starts a child process for a library or a program, unless it runs already.
    ///
    /// # Errors
    ///
    /// It does not start, does not give its manifest in time, or the manifest breaks a rule.
    pub(super) fn isolate(&self, key: &str, launch: Launch) -> Result<Opened, Problem> {
        if let Some(opened) = self.get(key) {
            return Ok(opened);
        }
        let name = launch.name();
        let (child, left_out) = Isolated::start(launch, &features::host())?;
        let lacks = self.accept(child.manifest(), left_out, name.as_ref())?;
        let child = Arc::new(child);
        let mut known = self.lock();
        known
            .children
            .retain(|_, (child, _)| child.strong_count() > 0);
        let entry = (Arc::downgrade(&child), lacks.clone());
        known.children.insert(key.to_owned(), entry);
        Ok(Opened {
            manifest: child.manifest().clone(),
            code: LoadedCode::Child(child),
            lacks,
        })
    }

    /// Judges a manifest. Returns what this host lacks for the plugin.
    fn accept(
        &self,
        manifest: &Manifest,
        left_out: LeftOut,
        file: &std::path::Path,
    ) -> Result<Vec<String>, Problem> {
        let faults = hogsend_semantics::manifest::faults(manifest);
        if let Some(fault) = faults.first().filter(|_| !self.unchecked) {
            return Err(Problem::of_file("PLUGIN-009", file, fault));
        }
        let lacks = features::lacks(manifest, left_out);
        if !lacks.is_empty() {
            tracing::warn!(plugin = manifest.id, version = manifest.version,
                api = manifest.api, lacks = ?lacks,
                "this host lacks what a plugin needs or has; the rest of it works: update Hogsend");
        }
        Ok(lacks)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
