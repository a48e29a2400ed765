//! Finds plugins: those linked into the binary, then those in the folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hogsend_plugin_api::abi::Root;
use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::export::{Linked, linked};
use hogsend_plugin_api::wire::LeftOut;
use hogsend_plugin_api::{Kind, Manifest};
use semver::Version;
use serde::Serialize;

use super::bounded::{START, within_start};
use super::isolate::{Isolated, Isolation, Launch, Place, Plan, What};
use super::preflight::{self, Checked, PINS};
use super::{Problem, described, features, loader};

/// The origin of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Linked,
    Loaded,
}

/// A plugin as listed.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub id: String,
    pub version: String,
    /// The plugin-api version it was built with.
    pub api: String,
    pub kinds: Vec<Kind>,
    pub origin: Origin,
    /// The library, or the file that describes the source.
    pub path: Option<PathBuf>,
    pub sha256: Option<String>,
    /// Whether its code runs in a child process.
    pub isolated: bool,
    /// What this host lacks for it: features it needs, and parts of its manifest.
    pub lacks: Vec<String>,
}

/// The host's own folders of the data directory, and its prefix in the cache: a plugin's files are in a
/// folder of its id, and its keys of the cache begin with it.
const RESERVED: &[&str] = &["cache", "calls", "db", "hogsend", "plugins"];

/// A plugin that was found.
pub(super) struct Plugin {
    pub manifest: Manifest,
    pub found: Found,
    pub lacks: Vec<String>,
}

pub(super) enum Found {
    Linked(&'static Linked),
    /// A linked crate made it from a description.
    Described(Box<Described>),
    Loaded {
        code: Code,
        /// The library, or the file that a program's command names.
        path: PathBuf,
        sha256: Option<String>,
    },
}

/// Code that is not part of this binary.
pub(super) enum Code {
    Library(Root),
    /// A library or a program in a child process.
    Child(Arc<Isolated>),
}

/// Plugins found but not started yet.
pub struct Discovered {
    pub(super) plugins: BTreeMap<String, Plugin>,
    /// Other versions of plugins with journeys, for runs that stay with the version they began
    /// with.
    pub(super) older: Vec<Plugin>,
}

impl Discovered {
    /// Finds plugins for this process: libraries run in it, unless `plugins.toml` says otherwise.
    pub fn find(dir: Option<&Path>, cache_dir: &Path) -> (Self, Vec<Problem>) {
        Self::find_with(dir, cache_dir, &Isolation::of_process(false))
    }

    /// Linked plugins, then every library in `dir` and the programs that its `plugins.toml` names. A
    /// loaded plugin with the id of a linked one replaces it. Every problem is collected.
    pub fn find_with(
        dir: Option<&Path>,
        cache_dir: &Path,
        isolation: &Isolation,
    ) -> (Self, Vec<Problem>) {
        let mut all = Self {
            plugins: BTreeMap::new(),
            older: Vec::new(),
        };
        let mut problems = Vec::new();
        crate::linked_plugins::link();
        for linked in linked() {
            let manifest = (linked.manifest)();
            let plugin = Plugin {
                lacks: features::lacks(&manifest, LeftOut::default()),
                manifest,
                found: Found::Linked(linked),
            };
            if let Err(problem) = all.add(plugin) {
                problems.push(problem);
            }
        }
        for source in described::own() {
            problems.extend(all.add_described(source).err());
        }
        if let Some(dir) = dir {
            all.find_libraries(dir, cache_dir, isolation, &mut problems);
        }
        (all, problems)
    }

    /// Adds the event sources that files in `dir` describe. One with the id of a source that comes
    /// with Hogsend replaces it. Returns every problem with the files.
    pub fn describe(&mut self, dir: &Path) -> Vec<Problem> {
        let (sources, mut problems) = described::read(dir);
        for source in sources {
            problems.extend(self.add_described(source).err());
        }
        problems
    }

    fn add_described(&mut self, source: Described) -> Result<(), Problem> {
        self.add(Plugin {
            manifest: source.manifest.clone(),
            found: Found::Described(Box::new(source)),
            lacks: Vec::new(),
        })
    }

    fn find_libraries(
        &mut self,
        dir: &Path,
        cache_dir: &Path,
        isolation: &Isolation,
        problems: &mut Vec<Problem>,
    ) {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!(
                    "PLUGIN_DIR cannot be read ({error}): create the folder, or unset PLUGIN_DIR"
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
                // An unreadable file of pins must not count as none.
                problems.push(Problem::of_file(
                    "PLUGIN-012",
                    &dir.join(PINS),
                    format!("cannot be read ({error})"),
                ));
                return;
            }
        };
        let plan = match Plan::read(dir) {
            Ok(plan) => plan,
            Err(problem) => {
                // What the operator wanted to run in a process of its own must not run in this one.
                problems.push(problem);
                return;
            }
        };
        let otherwise = match isolation.unless_locked && pins.is_none() {
            true => Place::Process,
            false => Place::None,
        };
        let launch = |memory_mb, what| Launch {
            host: isolation.program.clone(),
            folder: dir.canonicalize().unwrap_or_else(|_| dir.to_owned()),
            memory_mb,
            what,
        };
        for file in files {
            let loaded = preflight::check(&file, pins.as_deref(), cache_dir).and_then(|checked| {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                match plan.place(&name).unwrap_or(otherwise) {
                    Place::None => load(checked),
                    Place::Process => {
                        let (path, sha256) = (checked.original.clone(), checked.sha256);
                        let library = What::Library {
                            copy: checked.copy,
                            original: checked.original,
                            symbol: checked.symbol,
                        };
                        isolate(launch(plan.memory_mb(&name), library), path, Some(sha256))
                    }
                }
            });
            problems.extend(loaded.and_then(|plugin| self.add(plugin)).err());
        }
        for (words, memory_mb) in plan.programs() {
            let program = launch(memory_mb, What::Program(words.to_vec()));
            let mut files = words.iter().map(|word| program.folder.join(word));
            let path = files.rfind(|path| path.is_file());
            let path = path.unwrap_or_else(|| program.folder.clone());
            let started = isolate(program, path, None);
            problems.extend(started.and_then(|plugin| self.add(plugin)).err());
        }
    }

    fn add(&mut self, plugin: Plugin) -> Result<(), Problem> {
        let Plugin {
            manifest, found, ..
        } = &plugin;
        let sound = !manifest.id.is_empty()
            && manifest.id.len() <= 64
            && manifest
                .id
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !sound {
            let message = format!(
                "a plugin has the id '{}': ids consist of lower-case letters, digits and hyphens",
                manifest.id.escape_debug()
            );
            return Err(Problem::new("PLUGIN-009", message));
        }
        if RESERVED.contains(&manifest.id.as_str()) {
            let message = format!(
                "a plugin has the id '{}', a name of Hogsend's own: rename the plugin",
                manifest.id
            );
            return Err(Problem::new("PLUGIN-009", message));
        }
        let Some(Plugin {
            manifest: known,
            found: at,
            ..
        }) = self.plugins.get(&manifest.id)
        else {
            self.plugins.insert(manifest.id.clone(), plugin);
            return Ok(());
        };
        let versions = known.version != manifest.version
            && known.kinds.contains(&Kind::Journeys)
            && manifest.kinds.contains(&Kind::Journeys);
        let (newer, replaces) = match (at, found) {
            (Found::Loaded { path: first, .. }, Found::Loaded { path, .. }) => {
                if !versions {
                    return Err(second(manifest, first, path));
                }
                let newer = is_newer(&manifest.version, &known.version);
                tracing::info!(plugin = manifest.id, versions = ?[&known.version, &manifest.version],
                    "two versions of a plugin: new runs start with the newer one");
                (newer, false)
            }
            (Found::Linked(_), Found::Linked(_)) => {
                let message = format!(
                    "two plugins of this binary have the id '{}': rename one",
                    manifest.id
                );
                return Err(Problem::new("PLUGIN-010", message));
            }
            (Found::Described(preset), Found::Described(source)) if preset.path.is_none() => {
                tracing::info!(source = manifest.id, file = ?source.path,
                    "a file replaces the source that comes with Hogsend");
                (true, true)
            }
            (Found::Linked(_) | Found::Loaded { .. }, Found::Described(source)) => {
                let file = source.path.as_deref().unwrap_or(Path::new(""));
                let message = "has the id of a plugin: rename the file";
                return Err(Problem::of_file("PLUGIN-010", file, message));
            }
            (Found::Described(described), Found::Described(_) | Found::Linked(_)) => {
                let file = described.path.as_deref().unwrap_or(Path::new(""));
                let message = format!("two sources have the id '{}': rename one", manifest.id);
                return Err(Problem::of_file("PLUGIN-010", file, message));
            }
            (Found::Linked(_) | Found::Described(_), Found::Loaded { path, .. }) => {
                tracing::info!(plugin = manifest.id, version = manifest.version, file = %path.display(),
                    "a loaded plugin replaces the linked one");
                (true, !versions)
            }
            (Found::Loaded { .. }, Found::Linked(_)) => (false, false),
        };
        if newer {
            let id = manifest.id.clone();
            if let Some(old) = self.plugins.insert(id, plugin)
                && !replaces
            {
                self.keep(old)?;
            }
            Ok(())
        } else {
            self.keep(plugin)
        }
    }

    /// Keeps another version of a plugin; a loaded one replaces a linked one of the same version.
    fn keep(&mut self, plugin: Plugin) -> Result<(), Problem> {
        let Plugin {
            manifest, found, ..
        } = &plugin;
        let same = |known: &Plugin| {
            known.manifest.id == manifest.id && known.manifest.version == manifest.version
        };
        let Some(at) = self.older.iter().position(same) else {
            self.older.push(plugin);
            return Ok(());
        };
        match (&self.older[at].found, found) {
            (Found::Loaded { path: first, .. }, Found::Loaded { path, .. }) => {
                return Err(second(manifest, first, path));
            }
            (_, Found::Loaded { .. }) => self.older[at] = plugin,
            (_, Found::Linked(_) | Found::Described(_)) => {}
        }
        Ok(())
    }

    /// Removes plugins by id.
    pub fn without(&mut self, ids: &std::collections::HashSet<String>) {
        self.plugins.retain(|id, _| !ids.contains(id));
        self.older
            .retain(|plugin| !ids.contains(&plugin.manifest.id));
    }

    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.plugins.values().map(|plugin| &plugin.manifest)
    }

    /// Other versions of plugins with journeys.
    pub fn older(&self) -> impl Iterator<Item = &Manifest> {
        self.older.iter().map(|plugin| &plugin.manifest)
    }

    /// Every plugin, other versions last.
    pub fn info(&self) -> Vec<PluginInfo> {
        let all = self.plugins.values().chain(&self.older);
        let all = all.map(|plugin| {
            let Plugin {
                manifest,
                found,
                lacks,
            } = plugin;
            let (origin, path, sha256) = match found {
                Found::Linked(_) => (Origin::Linked, None, None),
                Found::Described(source) => (Origin::Linked, source.path.clone(), None),
                Found::Loaded { path, sha256, .. } => {
                    (Origin::Loaded, Some(path.clone()), sha256.clone())
                }
            };
            let child = |found: &Found| {
                matches!(
                    found,
                    Found::Loaded {
                        code: Code::Child(_),
                        ..
                    }
                )
            };
            PluginInfo {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                api: manifest.api.clone(),
                kinds: manifest.kinds.clone(),
                origin,
                path,
                sha256,
                isolated: child(found),
                lacks: lacks.clone(),
            }
        });
        all.collect()
    }
}

/// Loads a library into this process.
fn load(checked: Checked) -> Result<Plugin, Problem> {
    let name = checked.original.display().to_string();
    tracing::debug!(file = name, "loading a plugin library");
    let (path, sha256) = (checked.original.clone(), checked.sha256.clone());
    let opened = within_start(move || {
        let root = loader::open(&checked)?;
        let (manifest, left_out) = loader::manifest::<Manifest>(&checked, root)?;
        Ok((root, manifest, left_out))
    });
    let (root, manifest, left_out) = opened.unwrap_or_else(|| {
        let message = format!(
            "it did not say its manifest within {} seconds: remove it, or report this to its author",
            START.as_secs()
        );
        Err(Problem::of_file("PLUGIN-022", &path, message))
    })?;
    let code = Code::Library(root);
    let sha256 = Some(sha256);
    Ok(found(
        Found::Loaded { code, path, sha256 },
        manifest,
        left_out,
    ))
}

/// Starts a child process for a library or a program.
fn isolate(launch: Launch, path: PathBuf, sha256: Option<String>) -> Result<Plugin, Problem> {
    let (process, left_out) = Isolated::start(launch, &features::host())?;
    let manifest = process.manifest().clone();
    let code = Code::Child(Arc::new(process));
    Ok(found(
        Found::Loaded { code, path, sha256 },
        manifest,
        left_out,
    ))
}

fn found(found: Found, manifest: Manifest, left_out: LeftOut) -> Plugin {
    let lacks = features::lacks(&manifest, left_out);
    if !lacks.is_empty() {
        tracing::warn!(plugin = manifest.id, version = manifest.version,
            api = manifest.api, lacks = ?lacks,
            "this host lacks what a plugin needs or has; the rest of it works: update Hogsend");
    }
    Plugin {
        manifest,
        found,
        lacks,
    }
}

fn second(manifest: &Manifest, first: &Path, path: &Path) -> Problem {
    let message = format!(
        "is plugin '{}' {}, like {}: remove one",
        manifest.id,
        manifest.version,
        first.display()
    );
    Problem::of_file("PLUGIN-010", path, message)
}

/// Whether version `a` has precedence over `b` (semver 2.0, §11): `1.10.0` is newer than `1.9.2`, and a
/// release than its pre-releases. Any version is newer than a text that is none.
fn is_newer(a: &str, b: &str) -> bool {
    Version::parse(a).ok() > Version::parse(b).ok()
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is_newer("1.10.0", "1.9.2"));
        assert!(is_newer("2.0.0", "2.0.0-rc.1"));
        assert!(!is_newer("0.1.0", "0.1.0"));
        assert!(is_newer("2.0.0-rc.10", "2.0.0-rc.9"));
        assert!(is_newer("0.0.1", "latest") && !is_newer("latest", "0.0.1"));
        assert!(!is_newer("latest", "newest"));
    }
}
