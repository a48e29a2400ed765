//! Finds plugins: those linked into the binary, then those in the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hogsend_plugin_api::described::Described;
use hogsend_plugin_api::export::{Linked, linked};
use hogsend_plugin_api::wire::LeftOut;
use hogsend_plugin_api::{Kind, Manifest};
use hogsend_semantics::manifest;
use semver::Version;
use serde::Serialize;

use super::bounded::{START, within};
use super::copies::LibraryCopy;
use super::libraries::{LoadedCode, Opened};
use super::{Problem, described, features};

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
    /// The copy its code was loaded from.
    pub(super) copy: Option<LibraryCopy>,
    /// What a reload knows its code by.
    pub(super) key: Option<String>,
}

impl PluginInfo {
    /// Whether both have the same code, which runs in the same way.
    pub fn has_code_of(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// A plugin that was found.
pub(super) struct Plugin {
    pub manifest: Manifest,
    pub found: Found,
    pub lacks: Vec<String>,
}

pub(super) enum Found {
    Linked(&'static Linked),
    /// A linked crate made it from a description.
    Described(Arc<Described>),
    Loaded {
        code: LoadedCode,
        /// What a reload knows the code by.
        key: String,
        /// The library, or the file that a program's command names.
        path: PathBuf,
        /// Of a library.
        sha256: Option<String>,
        copy: Option<LibraryCopy>,
        /// Named by itself, so it takes the place of one in the folder.
        named: bool,
    },
}

impl Found {
    /// Refuses a manifest that breaks a rule. That of a loaded plugin was judged when it was opened.
    fn judge(&self, manifest: &Manifest) -> Result<(), Problem> {
        let fault = || manifest::faults(manifest).into_iter().next();
        match self {
            Self::Loaded { .. } => Ok(()),
            Self::Linked(linked) => fault().map_or(Ok(()), |fault| {
                let message = format!("the linked plugin of crate {}: {fault}", linked.crate_name);
                Err(Problem::new("PLUGIN-009", message))
            }),
            Self::Described(source) => fault().map_or(Ok(()), |fault| {
                let file = source.path.as_deref().unwrap_or(Path::new("a preset"));
                Err(Problem::of_file("PLUGIN-009", file, fault))
            }),
        }
    }
}

impl Plugin {
    /// A plugin of this binary. Its manifest has to be there within the deadline.
    fn linked(linked: &'static Linked, deadline: Duration) -> Result<Self, Problem> {
        let manifest = within(deadline, linked.manifest).map_err(|fault| {
            let message = format!(
                "the linked plugin of crate {}: {}: build this binary without it, or report this to its author",
                linked.crate_name,
                fault.message("say its manifest")
            );
            Problem::new(fault.code(), message)
        })?;
        Ok(Self {
            lacks: features::lacks(&manifest, LeftOut::default()),
            manifest,
            found: Found::Linked(linked),
        })
    }

    /// A plugin whose code is not part of this binary.
    pub fn loaded(
        opened: Opened,
        key: String,
        path: PathBuf,
        sha256: Option<String>,
        copy: Option<LibraryCopy>,
        named: bool,
    ) -> Self {
        Self {
            manifest: opened.manifest,
            lacks: opened.lacks,
            found: Found::Loaded {
                code: opened.code,
                key,
                path,
                sha256,
                copy,
                named,
            },
        }
    }
}

/// Plugins found but not started yet.
pub struct Discovered {
    pub(super) plugins: BTreeMap<String, Plugin>,
    /// Other versions of plugins with journeys, for runs that stay with the version they began
    /// with.
    pub(super) older: Vec<Plugin>,
    /// Files that cannot be used, while what is in use stays in their place.
    pub refused: Vec<Problem>,
    /// What is unwise, and refused in production.
    pub warnings: Vec<Problem>,
    /// Files that are new, gone, or not what is in use.
    pub changed: BTreeSet<PathBuf>,
    /// Plugins are in use, so which one replaces another was logged before.
    pub(super) again: bool,
}

impl Discovered {
    /// The plugins that are linked into this binary.
    pub(super) fn of_binary() -> (Self, Vec<Problem>) {
        let mut all = Self {
            plugins: BTreeMap::new(),
            older: Vec::new(),
            refused: Vec::new(),
            warnings: Vec::new(),
            changed: BTreeSet::new(),
            again: false,
        };
        let mut problems = Vec::new();
        crate::linked_plugins::link();
        for linked in linked() {
            let added = Plugin::linked(linked, START).and_then(|plugin| all.add(plugin));
            problems.extend(added.err());
        }
        for source in described::own() {
            problems.extend(all.add_described(Arc::new(source)).err());
        }
        (all, problems)
    }

    /// Adds the event sources that files in `dir` describe. One with the id of a source that comes
    /// with Hogsend replaces it. Returns every problem with the files.
    pub fn describe(&mut self, dir: &Path) -> Vec<Problem> {
        let (sources, mistakes) = described::read(dir);
        let mut problems: Vec<Problem> = mistakes.into_iter().map(|one| one.problem).collect();
        for source in sources {
            problems.extend(self.add_described(Arc::new(source)).err());
        }
        problems
    }

    /// Like [`describe`](Self::describe), while plugins are in use: the sources `in_use` of a path take the
    /// place of a file with a mistake, which is [`refused`](Self::refused).
    pub fn describe_again(
        &mut self,
        dir: &Path,
        in_use: impl Fn(&Path) -> Vec<Arc<Described>>,
    ) -> Vec<Problem> {
        let (sources, mistakes) = described::read(dir);
        let present = mistakes.iter().flat_map(|one| in_use(one.path.as_path()));
        let sources = sources.into_iter().map(Arc::new).chain(present);
        let problems = sources.filter_map(|source| self.add_described(source).err());
        let problems = problems.collect();
        self.refused
            .extend(mistakes.into_iter().map(|one| one.problem));
        problems
    }

    fn add_described(&mut self, source: Arc<Described>) -> Result<(), Problem> {
        self.add(Plugin {
            manifest: source.manifest.clone(),
            found: Found::Described(source),
            lacks: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, plugin: Plugin) -> Result<(), Problem> {
        let Plugin {
            manifest, found, ..
        } = &plugin;
        found.judge(manifest)?;
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
            (
                Found::Loaded {
                    path: first,
                    named: first_named,
                    ..
                },
                Found::Loaded { path, named, .. },
            ) => {
                if !versions && *named && !*first_named {
                    if !self.again {
                        tracing::info!(plugin = manifest.id, file = %path.display(), instead_of = %first.display(),
                        "a library given with --plugin replaces the one in the plugin folder");
                    }
                    self.plugins.insert(manifest.id.clone(), plugin);
                    return Ok(());
                }
                if !versions {
                    return Err(second(manifest, first, path));
                }
                let newer =
                    (*named && !*first_named) || is_newer(&manifest.version, &known.version);
                if !self.again {
                    tracing::info!(plugin = manifest.id, versions = ?[&known.version, &manifest.version],
                    "two versions of a plugin: new runs start with the newer one");
                }
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
                if !self.again {
                    tracing::info!(source = manifest.id, file = ?source.path,
                    "a file replaces the source that comes with Hogsend");
                }
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
                if !self.again {
                    tracing::info!(plugin = manifest.id, version = manifest.version, file = %path.display(),
                    "a loaded plugin replaces the linked one");
                }
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

    /// Every plugin with its manifest, other versions last.
    pub fn listed(&self) -> Vec<(PluginInfo, Manifest)> {
        let manifests = self.manifests().chain(self.older()).cloned();
        self.info().into_iter().zip(manifests).collect()
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
            let mut info = PluginInfo {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                api: manifest.api.clone(),
                kinds: manifest.kinds.clone(),
                origin: Origin::Linked,
                path: None,
                sha256: None,
                isolated: false,
                lacks: lacks.clone(),
                copy: None,
                key: None,
            };
            match found {
                Found::Linked(_) => {}
                Found::Described(source) => info.path.clone_from(&source.path),
                Found::Loaded {
                    code,
                    key,
                    path,
                    sha256,
                    copy,
                    ..
                } => {
                    info.origin = Origin::Loaded;
                    info.path = Some(path.clone());
                    info.sha256.clone_from(sha256);
                    info.isolated = matches!(code, LoadedCode::Child(_));
                    info.copy.clone_from(copy);
                    info.key = Some(key.clone());
                }
            }
            info
        });
        all.collect()
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
    use std::time::Duration;

    use hogsend_plugin_api::call::CallError;
    use hogsend_plugin_api::export::{Instance, Linked};
    use hogsend_plugin_api::{Manifest, Settings};

    use super::{Discovered, Plugin, is_newer};

    fn nothing(_: &Settings) -> Result<Box<dyn Instance>, CallError> {
        Err(CallError::new(CallError::BAD_SETTINGS, "never started"))
    }

    fn hangs() -> Manifest {
        loop {
            std::thread::park();
        }
    }

    /// Only what is wrong with a linked plugin is said, as there is nobody to ask for its id.
    #[test]
    fn a_linked_plugin_without_a_sound_manifest_is_refused_by_the_name_of_its_crate() {
        static HANGS: Linked = Linked {
            crate_name: "acme-hangs",
            manifest: hangs,
            create: nothing,
        };
        static PANICS: Linked = Linked {
            crate_name: "acme-panics",
            manifest: || panic!("of a test"),
            create: nothing,
        };
        static WRONG: Linked = Linked {
            crate_name: "acme-wrong",
            manifest: || Manifest::new("acme", "latest"),
            create: nothing,
        };
        let (mut all, _) = Discovered::of_binary();
        let deadline = Duration::from_secs(1);
        for (linked, code, why) in [
            (
                &HANGS,
                "PLUGIN-022",
                "did not say its manifest within 1 seconds",
            ),
            (&PANICS, "PLUGIN-009", "panicked"),
            (&WRONG, "PLUGIN-009", "version 'latest'"),
        ] {
            let added = Plugin::linked(linked, deadline).and_then(|plugin| all.add(plugin));
            let problem = added.unwrap_err();
            assert_eq!(problem.code, code, "{problem}");
            for part in [linked.crate_name, why] {
                assert!(problem.message.contains(part), "{problem}");
            }
        }
    }

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
