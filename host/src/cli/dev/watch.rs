//! `hogsend dev --watch`: a library or template that changes is in use within a second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::cli::reload::reload;
use crate::installed::Installation;
use crate::plugins::lock::LOCK_FILE;
use crate::templates;

/// A file that did not change for this long is complete. One that is not is refused, and read again at
/// its next change.
const QUIET: Duration = Duration::from_millis(150);
/// The longest wait for that, for a file that changes all the time.
const BUSY: Duration = Duration::from_secs(2);

/// Watches the folders of plugins and templates.
pub struct Watch {
    places: Places,
    changes: mpsc::UnboundedReceiver<PathBuf>,
    _watcher: RecommendedWatcher,
}

/// Whether a file of a folder counts, by its name.
type Counts = fn(&Path) -> bool;

/// What is watched.
struct Places {
    /// Folders, each with the files that count in it.
    folders: Vec<(PathBuf, Counts)>,
    /// Single files.
    files: BTreeSet<PathBuf>,
}

impl Watch {
    /// Begins to watch. Changes from now on count.
    ///
    /// # Errors
    ///
    /// A folder does not exist, or the system watches no more folders.
    pub fn begin(app: &App, installation: &Installation) -> anyhow::Result<Self> {
        let places = Places::of(app, installation)?;
        let (sender, changes) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that events were lost, and a file may be among them.
            let paths = match event {
                Ok(event) if writes(event.kind) => event.paths,
                Ok(_) => Vec::new(),
                Err(_) => vec![PathBuf::new()],
            };
            for path in paths {
                let _ = sender.send(path);
            }
        })
        .context("--watch: the system reports no changes of files")?;
        for folder in places.watched() {
            let watched = watcher.watch(folder, RecursiveMode::NonRecursive);
            watched.with_context(|| format!("--watch: {} cannot be watched", folder.display()))?;
        }
        Ok(Self {
            places,
            changes,
            _watcher: watcher,
        })
    }

    /// Reloads after each change, until `stop`.
    pub async fn run(mut self, app: App, installation: Installation, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed() => {}
            }
            reload(&app, &installation).await;
        }
    }

    /// Waits for a change, and until no other follows.
    async fn changed(&mut self) {
        loop {
            match self.changes.recv().await {
                Some(path) if self.places.counts(&path) => break,
                Some(_) => {}
                // The watcher never ends while this has it.
                None => std::future::pending().await,
            }
        }
        let settle = async {
            while tokio::time::timeout(QUIET, self.changes.recv())
                .await
                .is_ok()
            {}
        };
        let _ = tokio::time::timeout(BUSY, settle).await;
    }
}

impl Places {
    fn of(app: &App, installation: &Installation) -> anyhow::Result<Self> {
        let real = |path: &Path| {
            let real = path.canonicalize();
            real.with_context(|| format!("--watch: {} does not exist", path.display()))
        };
        let config = &app.config;
        let kinds: [(_, Counts); 3] = [
            (&config.plugin_dir, is_library),
            (&config.webhook_dir, |path| has_extension(path, "toml")),
            (&config.template_dir, templates::is_template),
        ];
        let mut folders = Vec::new();
        for (dir, counts) in kinds {
            if let Some(dir) = dir {
                folders.push((real(dir)?, counts));
            }
        }
        if let Some(dir) = &config.template_dir {
            let inner = templates::FOLDERS.map(|name| dir.join(name));
            for inner in inner.iter().filter(|inner| inner.is_dir()) {
                folders.push((real(inner)?, templates::is_template));
            }
        }
        let mut files = BTreeSet::new();
        for file in installation.named() {
            let parent = match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            files.insert(real(parent)?.join(file.file_name().unwrap_or_default()));
        }
        Ok(Self { folders, files })
    }

    fn watched(&self) -> BTreeSet<&Path> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        let folders = self.folders.iter().map(|(folder, _)| folder.as_path());
        folders.chain(parents).collect()
    }

    /// Whether a change of this path may change what is in use. The empty path stands for any.
    fn counts(&self, path: &Path) -> bool {
        let mut folders = self.folders.iter();
        path.as_os_str().is_empty()
            || self.files.contains(path)
            || folders.any(|(folder, counts)| path.parent() == Some(folder) && counts(path))
    }
}

/// Whether an event may change a file's content. Reading files, which a reload does, must not count.
fn writes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn is_library(path: &Path) -> bool {
    has_extension(path, std::env::consts::DLL_EXTENSION)
        || path.file_name().is_some_and(|name| name == LOCK_FILE)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own == extension)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{Places, is_library};

    #[test]
    fn only_files_that_are_in_use_count() {
        let places = Places {
            folders: vec![("/plugins".into(), is_library)],
            files: BTreeSet::from(["/target/debug/libacme.so".into()]),
        };
        for (path, counts) in [
            ("/plugins/libx.so", true),
            ("/plugins/plugins.lock", true),
            ("/plugins/README.md", false),
            ("/plugins/old/libx.so", false),
            ("/target/debug/libacme.so", true),
            ("/target/debug/libacme.d", false),
            ("", true),
        ] {
            assert_eq!(places.counts(Path::new(path)), counts, "{path}");
        }
    }
}
