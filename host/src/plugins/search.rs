//! The search for plugin libraries: in the plugin folder, and files named one by one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::discover::{Discovered, Plugin, PluginInfo};
use super::isolate::{Isolation, Launch, Place, Plan, What};
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
    /// Where libraries run.
    pub isolation: Isolation,
    /// The plugins in use; `None` at start. A library in use takes the place of a file that cannot be
    /// used.
    pub in_use: Option<&'a Registry>,
    /// Files whose change does not count now.
    pub kept: &'a BTreeSet<PathBuf>,
}

/// What the plugin folder says of the libraries in it.
struct Folder {
    path: PathBuf,
    libraries: Vec<PathBuf>,
    lock: Option<Lock>,
    plan: Plan,
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
            isolation: Isolation::of_process(false),
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
                Ok(folder) => {
                    for file in &folder.libraries {
                        self.take(file, Some(&folder), (&mut all, &mut seen), &mut problems);
                    }
                    for (words, memory_mb) in folder.plan.programs() {
                        let program = folder.program(words);
                        seen.insert(program.clone());
                        let plugin = self.program(&folder, &program, words, memory_mb, &mut all);
                        self.add(plugin, &program, &mut all, &mut problems);
                    }
                }
                Err(problem) => {
                    unreadable = true;
                    self.refuse(problem, &mut all, &mut problems);
                }
            }
        }
        for file in self.files {
            self.take(file, None, (&mut all, &mut seen), &mut problems);
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

    /// Reads the folder.
    fn folder(&self, dir: &Path, all: &mut Discovered) -> Result<Folder, Problem> {
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
        // Where it cannot be read, what the operator wanted in a process of its own must not run in this one.
        let plan = Plan::read(dir)?;
        Ok(Folder {
            path: dir.canonicalize().unwrap_or_else(|_| dir.to_owned()),
            libraries: files,
            lock,
            plan,
        })
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
        folder: Option<&Folder>,
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
            false => self.open(file, &path, folder, all).map(Some),
        };
        self.add(taken, &path, all, problems);
    }

    /// Adds a plugin, or the one in use from its place where it cannot be used.
    fn add(
        &self,
        taken: Result<Option<Plugin>, Problem>,
        path: &Path,
        all: &mut Discovered,
        problems: &mut Vec<Problem>,
    ) {
        let plugin = match taken {
            Ok(plugin) => plugin,
            Err(problem) => {
                self.refuse(problem, all, problems);
                self.of(path)
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
        folder: Option<&Folder>,
        all: &mut Discovered,
    ) -> Result<Plugin, Problem> {
        self.demand(owners::fault(file), all)?;
        let read = preflight::read(file)?;
        let lock = folder.and_then(|folder| folder.lock.as_ref());
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let own_memory = folder.and_then(|folder| self.memory(folder, &name));
        let key = match own_memory {
            None => read.sha256.clone(),
            Some(memory_mb) => format!("process:{memory_mb}:{}", read.sha256),
        };
        let allowed = lock.is_none_or(|lock| lock.allows(&read.sha256));
        if let Some(plugin) = self.unchanged(path, &key, all)
            && allowed
        {
            return Ok(plugin);
        }
        let checked = preflight::check(read, lock, self.cache_dir)?;
        let opened = match (own_memory, folder) {
            (Some(memory_mb), Some(folder)) => {
                let library = What::Library {
                    copy: checked.copy.path().to_owned(),
                    original: checked.original.clone(),
                    symbol: checked.symbol.clone(),
                };
                let launch = self.launch(folder, memory_mb, library);
                self.libraries.isolate(&key, launch)?
            }
            _ => self.libraries.open(&key, &checked)?,
        };
        let (path, sha256) = (checked.original, Some(checked.sha256));
        let (copy, named) = (Some(checked.copy), folder.is_none());
        Ok(Plugin::loaded(opened, key, path, sha256, copy, named))
    }

    /// Starts a program that `plugins.toml` names. `path` is its file.
    fn program(
        &self,
        folder: &Folder,
        path: &Path,
        words: &[String],
        memory_mb: u64,
        all: &mut Discovered,
    ) -> Result<Option<Plugin>, Problem> {
        if self.kept.contains(path) {
            all.changed.insert(path.to_owned());
            return Ok(self.of(path));
        }
        // A changed script is started again.
        let content = fs::read(path).unwrap_or_default();
        let content = hex::encode(Sha256::digest(content));
        let key = format!("program:{memory_mb}:{content}:{}", words.join("\0"));
        if let Some(plugin) = self.unchanged(path, &key, all) {
            return Ok(Some(plugin));
        }
        let launch = self.launch(folder, memory_mb, What::Program(words.to_vec()));
        let opened = self.libraries.isolate(&key, launch)?;
        let plugin = Plugin::loaded(opened, key, path.to_owned(), None, None, false);
        Ok(Some(plugin))
    }

    /// The plugin in use from this path, if it has this code. Otherwise the path has changed.
    fn unchanged(&self, path: &Path, key: &str, all: &mut Discovered) -> Option<Plugin> {
        let current = self.in_use_at(path);
        if current.and_then(|plugin| plugin.key.as_deref()) != Some(key) {
            all.changed.insert(path.to_owned());
            return None;
        }
        self.of(path)
    }

    /// The memory of the child in which a library of the folder runs. None for one that runs in this process.
    fn memory(&self, folder: &Folder, name: &str) -> Option<u64> {
        let otherwise = match self.isolation.unless_locked && folder.lock.is_none() {
            true => Place::Process,
            false => Place::None,
        };
        match folder.plan.place(name).unwrap_or(otherwise) {
            Place::None => None,
            Place::Process => Some(folder.plan.memory_mb(name)),
        }
    }

    fn launch(&self, folder: &Folder, memory_mb: u64, what: What) -> Launch {
        Launch {
            host: self.isolation.program.clone(),
            folder: folder.path.clone(),
            memory_mb,
            what,
        }
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
        let key = plugin.key.clone()?;
        let opened = self.libraries.get(&key)?;
        let (sha256, copy) = (plugin.sha256.clone(), plugin.copy.clone());
        let named = self.files.iter().any(|file| place(file) == path);
        let path = path.to_owned();
        Some(Plugin::loaded(opened, key, path, sha256, copy, named))
    }
}

impl Folder {
    /// The file that a program's command names; the folder where it names none.
    fn program(&self, words: &[String]) -> PathBuf {
        let mut files = words.iter().map(|word| self.path.join(word));
        let file = files.rfind(|path| path.is_file());
        file.unwrap_or_else(|| self.path.clone())
    }
}

impl Discovered {
    /// Linked plugins, then every library in `dir`. A loaded plugin with the id of a linked one
    /// replaces it. Every problem is collected.
    pub fn find(dir: Option<&Path>, cache_dir: &Path) -> (Self, Vec<Problem>) {
        Self::find_with(dir, cache_dir, &Isolation::of_process(false))
    }

    /// Like [`find`](Self::find), also the programs that `plugins.toml` names; libraries run where `isolation`
    /// and this file say.
    pub fn find_with(
        dir: Option<&Path>,
        cache_dir: &Path,
        isolation: &Isolation,
    ) -> (Self, Vec<Problem>) {
        let libraries = Libraries::default();
        let search = Search {
            dir,
            isolation: isolation.clone(),
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
