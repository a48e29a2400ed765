//! The copies that libraries are loaded from, in the data folder.
//!
//! Each has a name that holds its hash, so a path always has the same content and an original may be
//! overwritten while its code runs. Who uses a copy holds a lock on it; the others are deleted.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::private;

/// The extension of a copy that is being written.
const PARTIAL: &str = "partial";

/// How often a copy is written that others delete at the same time.
const TRIES: usize = 5;

/// A copy in use, until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct LibraryCopy(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Its shared lock keeps the copy from being deleted, by other processes too.
    _lock: File,
}

impl LibraryCopy {
    /// Writes the bytes of a library, whole or not at all, unless the copy is there already.
    pub(super) fn store(
        original: &Path,
        bytes: &[u8],
        sha256: &str,
        folder: &Path,
    ) -> io::Result<Self> {
        private::folder(folder)?;
        let stem = original.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!(
            "{stem}-{}.{}",
            &sha256[..16],
            std::env::consts::DLL_EXTENSION
        );
        let path = folder.canonicalize()?.join(name);
        for _ in 0..TRIES {
            if let Some(lock) = find(&path, sha256)? {
                return Ok(Self(Arc::new(Held { path, _lock: lock })));
            }
            write(&path, bytes)?;
        }
        Err(io::Error::other(
            "another process deletes it again and again",
        ))
    }

    /// A copy that the host of this process uses.
    pub(super) fn of_host(path: PathBuf) -> io::Result<Self> {
        let lock = File::open(&path)?;
        lock.lock_shared()?;
        Ok(Self(Arc::new(Held { path, _lock: lock })))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }
}

/// Locks the copy at this path. `None` where there is none, or another one by now.
fn find(path: &Path, sha256: &str) -> io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Waits for a process that is just deleting it.
    file.lock_shared()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = hex::encode(Sha256::digest(&bytes)) == sha256;
    Ok((whole && is_at(&file, path)).then_some(file))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unique = format!("{}.{PARTIAL}", uuid::Uuid::new_v4().simple());
    let partial = path.with_extension(unique);
    let mut file = private::file(&partial)?;
    // Marks it as in use while it is written.
    file.lock_shared()?;
    // Not synced: whoever uses the copy compares its hash first.
    let written = file.write_all(bytes);
    let written = written.and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Deletes the copies that no process uses. Returns how many those were.
pub fn sweep(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let ours = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        extension == std::env::consts::DLL_EXTENSION || extension == PARTIAL || extension == "tmp"
    };
    let files = entries.flatten().map(|entry| entry.path()).filter(ours);
    files.filter(|path| delete(path).unwrap_or(false)).count()
}

fn delete(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    if file.try_lock().is_err() || !is_at(&file, path) {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// Whether an open file is still the one at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let identity = |one: fs::Metadata| (one.dev(), one.ino());
    let there = fs::metadata(path).map(identity);
    file.metadata().map(identity).ok() == there.ok()
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use sha2::{Digest as _, Sha256};

    use super::{LibraryCopy, sweep};

    #[test]
    fn a_copy_is_deleted_once_nobody_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = |bytes: &[u8]| {
            let sha256 = hex::encode(Sha256::digest(bytes));
            LibraryCopy::store(Path::new("libx.so"), bytes, &sha256, folder.path()).unwrap()
        };
        let (first, second) = (store(b"one"), store(b"two"));
        let again = store(b"one");
        assert_eq!(first.path(), again.path());
        assert_eq!(sweep(folder.path()), 0);
        drop(first);
        assert_eq!(sweep(folder.path()), 0);
        drop(again);
        assert_eq!(sweep(folder.path()), 1);
        assert_eq!(fs::read(second.path()).unwrap(), b"two");
        // One that was deleted or damaged is written again.
        fs::write(second.path(), b"damaged").unwrap();
        assert_eq!(fs::read(store(b"two").path()).unwrap(), b"two");
        assert_eq!(fs::read(store(b"one").path()).unwrap(), b"one");
    }
}
