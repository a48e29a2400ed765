//! Finding plugins: those linked into the binary, then those in the folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hogsend_plugin_api::abi::Root;
use hogsend_plugin_api::export::{Linked, linked};
use hogsend_plugin_api::{Kind, Manifest};
use serde::Serialize;

use super::Problem;
use super::loader::load;
use super::preflight::{self, PINS};

/// Where a plugin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Linked,
    Loaded,
}

/// What there is to tell about a plugin.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub id: String,
    pub version: String,
    /// The plugin-api it was built with.
    pub api: String,
    pub kinds: Vec<Kind>,
    pub origin: Origin,
    pub path: Option<PathBuf>,
    pub sha256: Option<String>,
}

pub(super) enum Found {
    Linked(&'static Linked),
    Loaded {
        root: Root,
        path: PathBuf,
        sha256: String,
    },
}

/// Plugins that were found and not started.
pub struct Discovered(pub(super) BTreeMap<String, (Manifest, Found)>);

impl Discovered {
    /// Linked plugins, then every library in `dir`. A loaded plugin with the id of a linked one
    /// replaces it. Every problem is collected.
    pub fn find(dir: Option<&Path>, cache_dir: &Path) -> (Self, Vec<Problem>) {
        let mut all = Self(BTreeMap::new());
        let mut problems = Vec::new();
        for linked in linked() {
            let manifest = (linked.manifest)();
            if let Err(problem) = all.add(manifest, Found::Linked(linked)) {
                problems.push(problem);
            }
        }
        if let Some(dir) = dir {
            all.find_libraries(dir, cache_dir, &mut problems);
        }
        (all, problems)
    }

    fn find_libraries(&mut self, dir: &Path, cache_dir: &Path, problems: &mut Vec<Problem>) {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!(
                    "PLUGIN_DIR cannot be read ({error}): make the folder, or unset PLUGIN_DIR"
                );
                problems.push(Problem::of_file("PLUGIN-001", dir, message));
                return;
            }
        };
        let is_library = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION)
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(is_library)
            .collect();
        files.sort();
        let pins = match fs::read_to_string(dir.join(PINS)) {
            Ok(pins) => Some(pins),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                // Unreadable pins are not the same as none.
                problems.push(Problem::of_file(
                    "PLUGIN-012",
                    &dir.join(PINS),
                    format!("cannot be read ({error})"),
                ));
                return;
            }
        };
        for file in files {
            let loaded = preflight::check(&file, pins.as_deref(), cache_dir).and_then(|checked| {
                let library = load(&checked)?;
                let manifest = library.manifest;
                let found = Found::Loaded {
                    root: library.root,
                    path: checked.original,
                    sha256: checked.sha256,
                };
                self.add(manifest, found)
            });
            if let Err(problem) = loaded {
                problems.push(problem);
            }
        }
    }

    fn add(&mut self, manifest: Manifest, found: Found) -> Result<(), Problem> {
        let sound = !manifest.id.is_empty()
            && manifest.id.len() <= 64
            && manifest
                .id
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !sound {
            let message = format!(
                "a plugin calls itself '{}': ids are lower-case letters, digits and hyphens",
                manifest.id.escape_debug()
            );
            return Err(Problem::new("PLUGIN-009", message));
        }
        match (self.0.get(&manifest.id).map(|(_, known)| known), &found) {
            (Some(Found::Loaded { path: first, .. }), Found::Loaded { path, .. }) => {
                let message = format!(
                    "is a second plugin '{}' beside {}: remove one",
                    manifest.id,
                    first.display()
                );
                return Err(Problem::of_file("PLUGIN-010", path, message));
            }
            (Some(Found::Linked(_)), Found::Linked(_)) => {
                let message = format!(
                    "two plugins of this binary are called '{}': rename one",
                    manifest.id
                );
                return Err(Problem::new("PLUGIN-010", message));
            }
            (Some(Found::Linked(_)), Found::Loaded { path, .. }) => {
                tracing::info!(plugin = manifest.id, version = manifest.version, file = %path.display(),
                    "a loaded plugin replaces the linked one");
            }
            _ => {}
        }
        self.0.insert(manifest.id.clone(), (manifest, found));
        Ok(())
    }

    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.0.values().map(|(manifest, _)| manifest)
    }

    pub fn info(&self) -> Vec<PluginInfo> {
        let all = self.0.values().map(|(manifest, found)| {
            let (origin, path, sha256) = match found {
                Found::Linked(_) => (Origin::Linked, None, None),
                Found::Loaded { path, sha256, .. } => {
                    (Origin::Loaded, Some(path.clone()), Some(sha256.clone()))
                }
            };
            PluginInfo {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                api: manifest.api.clone(),
                kinds: manifest.kinds.clone(),
                origin,
                path,
                sha256,
            }
        });
        all.collect()
    }
}
