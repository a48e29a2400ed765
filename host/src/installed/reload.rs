//! Reading what is installed again, while the process works.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use super::installation::{InUse, Reading};
use super::{Installation, Installed, Snapshot};
use crate::config::Config;
use crate::plugins::{self, PluginInfo};

/// What a reload did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What is in use now and was not before, one line each.
    pub changed: Vec<String>,
    /// What could not be used, one line each. What was in use before stays.
    pub refused: Vec<String>,
    pub warnings: Vec<String>,
}

impl Installation {
    /// Reads everything again and puts it in use, all at once. Where something cannot be used, what is in
    /// use stays: a faulty file in its own place, libraries that do not fit together each for itself, and
    /// otherwise everything. `needed` are the versions (plugin id, version) of runs in flight, which stay
    /// beside the new ones.
    pub async fn reload(
        &self,
        config: &Config,
        installed: &Installed,
        needed: &HashSet<(String, String)>,
    ) -> Reloaded {
        let _alone = self.alone.lock().await;
        let present = installed.now();
        let mut in_use = InUse {
            snapshot: &present,
            kept: BTreeSet::new(),
            needed,
        };
        let mut read = self.read_beside(config, Some(&in_use)).await;
        let mut refused = std::mem::take(&mut read.refused);
        if !read.problems.is_empty() && !read.changed.is_empty() {
            let (apart, problems) = self.one_by_one(config, &mut in_use, read.changed).await;
            refused.extend(problems);
            read = apart;
        }
        let mut reloaded = Reloaded {
            warnings: read.warnings,
            ..Reloaded::default()
        };
        if read.problems.is_empty() {
            reloaded.changed = differences(&present, &read.snapshot);
            installed.replace(read.snapshot);
        }
        refused.extend(read.problems);
        let mut seen = HashSet::new();
        refused.retain(|line| seen.insert(line.clone()));
        reloaded.refused = refused;
        drop(present);
        plugins::sweep(&config.data_dir.join("plugins"));
        reloaded
    }

    /// Takes up the changes of libraries that can be used alone. Returns the problems of the others.
    async fn one_by_one(
        &self,
        config: &Config,
        in_use: &mut InUse<'_>,
        changed: BTreeSet<PathBuf>,
    ) -> (Reading, Vec<String>) {
        let mut problems = Vec::new();
        in_use.kept = changed.clone();
        let mut best = self.read_beside(config, Some(in_use)).await;
        if !best.problems.is_empty() {
            return (best, problems);
        }
        for path in changed {
            in_use.kept.remove(&path);
            let read = self.read_beside(config, Some(in_use)).await;
            if read.problems.is_empty() {
                best = read;
            } else {
                problems.extend(read.problems);
                in_use.kept.insert(path);
            }
        }
        (best, problems)
    }
}

/// What differs between two snapshots, one line each.
fn differences(before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let (old, new) = (before.plugins.info(), now.plugins.info());
    // Other versions come last, so the first of an id is the one that new runs start with.
    let first = |all: &[PluginInfo], id: &str| all.iter().find(|one| one.id == id).cloned();
    let ids: BTreeSet<&str> = old.iter().chain(new).map(|one| one.id.as_str()).collect();
    let mut lines = Vec::new();
    for id in ids {
        let line = match (first(old, id), first(new, id)) {
            (Some(old), Some(new)) if old.has_code_of(&new) => continue,
            (Some(old), Some(new)) if old.version == new.version => {
                format!("plugin '{id}' {} has new code", new.version)
            }
            (Some(old), Some(new)) => {
                format!(
                    "plugin '{id}' is {} now, it was {}",
                    new.version, old.version
                )
            }
            (None, Some(new)) => format!("plugin '{id}' {} is new", new.version),
            (Some(_), None) => format!("plugin '{id}' is gone"),
            (None, None) => continue,
        };
        lines.push(line);
    }
    let (old, new) = (before.catalog.templates(), now.catalog.templates());
    let keys = old.iter().chain(new.iter());
    let keys: BTreeSet<&str> = keys.map(|entry| entry.template.key.as_str()).collect();
    for key in keys {
        let (old, new) = (old.get(key), new.get(key));
        if old.map(|entry| &entry.template) != new.map(|entry| &entry.template) {
            let what = if new.is_some() { "changed" } else { "is gone" };
            lines.push(format!("template '{key}' {what}"));
        }
    }
    if old.layout() != new.layout() {
        lines.push("the layout of the templates changed".into());
    }
    lines
}
