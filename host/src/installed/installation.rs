//! How a snapshot is made: from the linked plugins, the libraries, `WEBHOOK_DIR` and `TEMPLATE_DIR`.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use hogsend_plugin_api::{Kind, Manifest};

use super::Snapshot;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::{Config, PluginSettings, read_plugins};
use crate::plugins::{
    Discovered, Isolation, Libraries, Performer, PluginInfo, Problem, Registry, Search, Start,
};

/// The value of an environment variable.
type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What snapshots of this process are made with.
pub struct Installation {
    lookup: Lookup,
    performer: Performer,
    clock: Clock,
    /// Libraries outside of the plugin folder.
    named: Vec<PathBuf>,
    libraries: Libraries,
    /// The `hogsend` program that child processes run; `None` for this one.
    program: Option<PathBuf>,
    /// One reload at a time.
    pub(super) alone: tokio::sync::Mutex<()>,
}

/// A snapshot that may be put in use if there is no problem, and everything found out on the way.
#[derive(Default)]
pub struct Reading {
    pub snapshot: Snapshot,
    pub settings: PluginSettings,
    pub manifests: Vec<Manifest>,
    /// Every plugin that was found, whether it starts or not; other versions last.
    pub found: Vec<(PluginInfo, Manifest)>,
    /// Each of them prevents the use of the snapshot.
    pub problems: Vec<String>,
    /// Files that cannot be used, while what is in use stays in their place.
    pub refused: Vec<String>,
    pub warnings: Vec<String>,
    /// Libraries that are new, gone, or not those in use.
    pub(super) changed: BTreeSet<PathBuf>,
}

/// What is in use while another snapshot is made.
pub(super) struct InUse<'a> {
    pub snapshot: &'a Snapshot,
    /// Libraries whose change does not count now.
    pub kept: BTreeSet<PathBuf>,
    /// Versions (plugin id, version) that runs go on with.
    pub needed: &'a HashSet<(String, String)>,
}

impl Installation {
    pub fn new(
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        performer: Performer,
        clock: Clock,
    ) -> Self {
        Self {
            lookup: Box::new(lookup),
            performer,
            clock,
            named: Vec::new(),
            libraries: Libraries::default(),
            program: None,
            alone: tokio::sync::Mutex::default(),
        }
    }

    /// Adds libraries outside of the plugin folder, which take precedence over those in it.
    pub fn with_libraries(mut self, files: Vec<PathBuf>) -> Self {
        self.named = files;
        self
    }

    /// Runs child processes with another `hogsend` program than this one, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// The libraries outside of the plugin folder.
    pub fn named(&self) -> &[PathBuf] {
        &self.named
    }

    /// Every library that this process has opened.
    pub fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// Reads what is installed, with every problem.
    pub async fn read(&self, config: &Config) -> Reading {
        self.read_beside(config, None).await
    }

    /// Reads what is installed while a snapshot is in use: its parts take the place of files that cannot
    /// be used, and plugins that did not change go on as they are.
    pub(super) async fn read_beside(&self, config: &Config, in_use: Option<&InUse<'_>>) -> Reading {
        let (mut found, broken) = self.find(config, in_use).await;
        let mut reading = Reading {
            problems: texts(&broken),
            refused: texts(&found.refused),
            warnings: texts(&found.warnings),
            changed: std::mem::take(&mut found.changed),
            manifests: found.manifests().cloned().collect(),
            found: found.listed(),
            ..Reading::default()
        };
        let manifests: Vec<&Manifest> = reading.manifests.iter().collect();
        let (settings, wrong) = read_plugins(&manifests, config, &*self.lookup);
        reading.problems.extend(texts(&wrong));
        // After a problem, plugins are started only to find further problems.
        if !reading.problems.is_empty() {
            found.without(&settings.incomplete);
        }
        let registry = self
            .start(found, &settings, in_use, &mut reading.problems)
            .await;
        let brings_journeys = |one: &&Manifest| one.kinds.contains(&Kind::Journeys);
        let bringing = reading.manifests.iter().filter(brings_journeys).count();
        // Without this, the journeys of a plugin that did not start would be reported as unknown.
        if broken.is_empty() && registry.journeys().len() == bringing {
            reading.collect(config, &registry, in_use).await;
        }
        reading.warnings.extend(settings.warnings.iter().cloned());
        reading.snapshot.plugins = registry;
        reading.snapshot.closed_sources = settings.closed_sources.clone();
        reading.settings = settings;
        reading
    }

    /// Finds the plugins, on a thread where files may be read.
    async fn find(
        &self,
        config: &Config,
        in_use: Option<&InUse<'_>>,
    ) -> (Discovered, Vec<Problem>) {
        let (libraries, named) = (self.libraries.clone(), self.named.clone());
        let (dir, described) = (config.plugin_dir.clone(), config.webhook_dir.clone());
        let cache_dir = config.data_dir.join("plugins");
        let strict = config.production;
        let mut isolation = Isolation::of_process(strict);
        if let Some(program) = &self.program {
            isolation.program.clone_from(program);
        }
        let kept = in_use.map(|one| one.kept.clone()).unwrap_or_default();
        let registry = in_use.map(|one| one.snapshot.plugins.clone());
        let search = move || {
            let search = Search {
                dir: dir.as_deref(),
                files: &named,
                strict,
                isolation,
                in_use: registry.as_ref(),
                kept: &kept,
                ..Search::new(&cache_dir, &libraries)
            };
            let (mut found, mut problems) = search.find();
            problems.extend(match (&described, &registry) {
                (None, _) => Vec::new(),
                (Some(dir), None) => found.describe(dir),
                (Some(dir), Some(registry)) => {
                    found.describe_again(dir, |path| registry.described(path))
                }
            });
            (found, problems)
        };
        let found = tokio::task::spawn_blocking(search).await;
        found.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }

    /// Starts the plugins. Deletes the copies of libraries that nobody uses any more.
    async fn start(
        &self,
        found: Discovered,
        settings: &PluginSettings,
        in_use: Option<&InUse<'_>>,
        problems: &mut Vec<String>,
    ) -> Registry {
        let is_needed = |id: &str, version: &str| {
            let version = (id.to_owned(), version.to_owned());
            in_use.is_some_and(|one| one.needed.contains(&version))
        };
        let start = Start {
            settings: &settings.settings,
            deliveries: &settings.startable(),
            listening: &settings.listening,
            performer: self.performer.clone(),
            clock: self.clock.clone(),
            in_use: in_use.map(|one| &one.snapshot.plugins),
            is_needed: &is_needed,
        };
        let (registry, refused) = found.start_with(start).await;
        problems.extend(texts(&refused));
        registry
    }
}

impl Reading {
    /// Collects what the plugins bring, and the templates in `TEMPLATE_DIR`.
    async fn collect(&mut self, config: &Config, registry: &Registry, in_use: Option<&InUse<'_>>) {
        let mut catalog = match Catalog::new(registry, config.enabled_journeys.as_deref()) {
            Ok(catalog) => catalog,
            Err(wrong) => return self.problems.push(wrong.to_string()),
        };
        if let Some(dir) = config.template_dir.clone() {
            let present = in_use.map(|one| one.snapshot.catalog.clone());
            let read = move || {
                let wrong = match present {
                    None => catalog.replace(&dir),
                    Some(present) => catalog.replace_again(&dir, present.templates()),
                };
                (catalog, wrong)
            };
            let done = tokio::task::spawn_blocking(read).await;
            let (read, (wrong, warnings)) =
                done.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
            catalog = read;
            match in_use {
                None => self.problems.extend(texts(&wrong)),
                Some(_) => self.refused.extend(texts(&wrong)),
            }
            self.warnings.extend(warnings);
        }
        self.snapshot.catalog = Arc::new(catalog);
    }
}

fn texts<T: std::fmt::Display>(problems: &[T]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
