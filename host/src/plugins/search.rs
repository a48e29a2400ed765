//! The search for plugin libraries: in the plugin folder, and files named one by one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::discover::{Discovered, Found, Plugin, PluginInfo};
use super::lock::Lock;
use super::{Libraries, Origin, Problem, Registry, owners, preflight};

/// Where libraries are searched, and what is in use meanwhile.
pub struct Search<'a> {
    /// The plugin folder.
    pub dir: Option<&'a Path>,
    /// Libraries outside of it. They take precedence.
    pub files: &'a [PathBuf],
    /// Where the copies are that are loaded.
    pub cache_dir: &'a Path,
    pub libraries: &'a Libraries,
    /// Refuses what others may write to, and a folder that lacks a file of its lock. Otherwise these are
    /// warnings.
    pub strict: bool,
    /// The plugins in use; `None` at start. A library in use takes the place of a file that cannot be
    /// used.
    pub in_use: Option<&'a Registry>,
    /// Files whose change does not count now.
    pub kept: &'a BTreeSet<PathBuf>,
}

static NONE: BTreeSet<PathBuf> = BTreeSet::new();

impl<'a> Search<'a> {
    /// A search in no place.
    pub fn new(cache_dir: &'a Path, libraries: &'a Libraries) -> Self {
        Self {
            dir: None,
            files: &[],
            cache_dir,
            libraries,
            strict: false,
            in_use: None,
            kept: &NONE,
        }
    }

    /// Finds the linked plugins and the libraries. Returns every problem; while plugins are in use, the
    /// problems of single files are in [`Discovered::refused`] instead.
    pub fn find(&self) -> (Discovered, Vec<Problem>) {
        let (mut all, mut problems) = Discovered::of_binary();
        all.again = self.in_use.is_some();
        let mut seen = BTreeSet::new();
        let mut unreadable = false;
        if let Some(dir) = self.dir {
            match self.folder(dir, &mut all) {
                Ok((files, lock)) => {
                    for file in files {
                        self.take(
                            &file,
                            lock.as_ref(),
                            false,
                            (&mut all, &mut seen),
                            &mut problems,
                        );
                    }
                }
                Err(problem) => {
                    unreadable = true;
                    self.refuse(problem, &mut all, &mut problems);
                }
            }
        }
        for file in self.files {
            self.take(file, None, true, (&mut all, &mut seen), &mut problems);
        }
        // What is in use and not there any more: removed, or its folder cannot be read.
        for plugin in self.info() {
            let Some(path) = plugin.path.as_ref().filter(|_| is_library(plugin)) else {
                continue;
            };
            if seen.contains(path) {
                continue;
            }
            if !unreadable {
                all.changed.insert(path.clone());
            }
            if (unreadable || self.kept.contains(path))
                && let Some(plugin) = self.of(path)
            {
                problems.extend(all.add(plugin).err());
            }
        }
        (all, problems)
    }

    /// The libraries of the folder, and its lock.
    fn folder(
        &self,
        dir: &Path,
        all: &mut Discovered,
    ) -> Result<(Vec<PathBuf>, Option<Lock>), Problem> {
        let entries = fs::read_dir(dir).map_err(|error| {
            let message = format!(
                "PLUGIN_DIR cannot be read ({error}): create the folder, or unset PLUGIN_DIR"
            );
            Problem::of_file("PLUGIN-001", dir, message)
        })?;
        let is_library = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION)
        };
        let entries = entries.flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = entries.filter(is_library).collect();
        files.sort();
        self.demand(owners::fault(dir), all)?;
        let lock = Lock::read(dir)?;
        if let Some(lock) = &lock {
            self.demand(owners::fault(&Lock::path(dir)), all)?;
            self.demand(gone(lock, dir), all)?;
        }
        Ok((files, lock))
    }

    /// A fault that production does not accept.
    fn demand(&self, fault: Option<Problem>, all: &mut Discovered) -> Result<(), Problem> {
        match fault {
            Some(fault) if self.strict => return Err(fault),
            Some(fault) => all.warnings.push(fault),
            None => {}
        }
        Ok(())
    }

    /// Adds the library in this file, or the one in use that came from it.
    fn take(
        &self,
        file: &Path,
        lock: Option<&Lock>,
        named: bool,
        (all, seen): (&mut Discovered, &mut BTreeSet<PathBuf>),
        problems: &mut Vec<Problem>,
    ) {
        let path = place(file);
        if !seen.insert(path.clone()) {
            return;
        }
        let taken = match self.kept.contains(&path) {
            true => {
                all.changed.insert(path.clone());
                Ok(self.of(&path))
            }
            false => self.open(file, &path, lock, named, all).map(Some),
        };
        let plugin = match taken {
            Ok(plugin) => plugin,
            Err(problem) => {
                self.refuse(problem, all, problems);
                self.of(&path)
            }
        };
        if let Some(plugin) = plugin {
            problems.extend(all.add(plugin).err());
        }
    }

    fn open(
        &self,
        file: &Path,
        path: &Path,
        lock: Option<&Lock>,
        named: bool,
        all: &mut Discovered,
    ) -> Result<Plugin, Problem> {
        self.demand(owners::fault(file), all)?;
        let read = preflight::read(file)?;
        let current = self.in_use_at(path);
        if current.and_then(|plugin| plugin.sha256.as_deref()) != Some(read.sha256.as_str()) {
            all.changed.insert(path.to_owned());
        }
        let allowed = lock.is_none_or(|lock| lock.allows(&read.sha256));
        if allowed
            && current.and_then(|plugin| plugin.sha256.as_deref()) == Some(read.sha256.as_str())
            && let Some(plugin) = self.of(path)
        {
            return Ok(plugin);
        }
        let checked = preflight::check(read, lock, self.cache_dir)?;
        let opened = self.libraries.open(&checked)?;
        Ok(Plugin {
            lacks: opened.lacks,
            manifest: opened.manifest,
            found: Found::Loaded {
                root: opened.root,
                path: checked.original,
                sha256: checked.sha256,
                copy: Some(checked.copy),
                named,
            },
        })
    }

    /// While plugins are in use, a file that cannot be used leaves them so.
    fn refuse(&self, problem: Problem, all: &mut Discovered, problems: &mut Vec<Problem>) {
        match self.in_use {
            Some(_) => all.refused.push(problem),
            None => problems.push(problem),
        }
    }

    fn info(&self) -> &[PluginInfo] {
        self.in_use.map_or(&[], Registry::info)
    }

    fn in_use_at(&self, path: &Path) -> Option<&PluginInfo> {
        let mut all = self.info().iter().filter(|plugin| is_library(plugin));
        all.find(|plugin| plugin.path.as_deref() == Some(path))
    }

    /// The plugin in use that was loaded from this path.
    fn of(&self, path: &Path) -> Option<Plugin> {
        let plugin = self.in_use_at(path)?;
        let sha256 = plugin.sha256.clone()?;
        let opened = self.libraries.get(&sha256)?;
        Some(Plugin {
            lacks: opened.lacks,
            manifest: opened.manifest,
            found: Found::Loaded {
                root: opened.root,
                path: path.to_owned(),
                sha256,
                copy: plugin.copy.clone(),
                named: self.files.iter().any(|file| place(file) == path),
            },
        })
    }
}

impl Discovered {
    /// Linked plugins, then every library in `dir`. A loaded plugin with the id of a linked one
    /// replaces it. Every problem is collected.
    pub fn find(dir: Option<&Path>, cache_dir: &Path) -> (Self, Vec<Problem>) {
        let libraries = Libraries::default();
        let search = Search {
            dir,
            ..Search::new(cache_dir, &libraries)
        };
        search.find()
    }
}

/// The path under which a library is in use. A file that is gone has no canonical path, but it had one.
fn place(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| {
        let parent = file.parent().and_then(|parent| parent.canonicalize().ok());
        let name = file.file_name().unwrap_or_default();
        parent.map_or_else(|| file.to_owned(), |parent| parent.join(name))
    })
}

fn is_library(plugin: &PluginInfo) -> bool {
    plugin.origin == Origin::Loaded
}

/// A lock that lists files the folder does not have.
fn gone(lock: &Lock, dir: &Path) -> Option<Problem> {
    let gone = lock.gone(dir);
    if gone.is_empty() {
        return None;
    }
    let message = format!(
        "lists {}, which the folder does not have: put it back, or run `hogsend plugin lock`",
        gone.join(" and ")
    );
    Some(Problem::of_file("PLUGIN-012", &Lock::path(dir), message))
}
