//! `plugins.lock`: the hashes of the libraries that may be loaded, in the format of `sha256sum`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Problem;

/// The file of approved hashes beside the libraries.
pub const LOCK_FILE: &str = "plugins.lock";

const HEAD: &str =
    "# The libraries that Hogsend may load from this folder, as `sha256sum` writes them.";

/// What a lock file lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Hash by name of file.
    entries: BTreeMap<String, String>,
    /// Hashes without a name.
    nameless: Vec<String>,
}

impl Lock {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(LOCK_FILE)
    }

    /// Reads the lock of a folder; `None` where it has none.
    ///
    /// # Errors
    ///
    /// The file cannot be read, which must not count as none, or has a line that is no entry.
    pub fn read(dir: &Path) -> Result<Option<Self>, Problem> {
        let path = Self::path(dir);
        let refused = |message: String| Problem::of_file("PLUGIN-012", &path, message);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).map_err(refused),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(format!("cannot be read ({error})"))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lock = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (hash, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let Some(hash) = sha256(hash) else {
                return Err(format!(
                    "line {} does not begin with a SHA-256: write the file again with `hogsend plugin lock`",
                    at + 1
                ));
            };
            // `*` marks a file that was read as binary.
            let name = name
                .trim_start()
                .trim_start_matches('*')
                .trim_start_matches("./");
            match name {
                "" => lock.nameless.push(hash),
                name => drop(lock.entries.insert(name.to_owned(), hash)),
            }
        }
        Ok(lock)
    }

    /// Whether a library with this hash may be loaded. Its name does not matter.
    pub fn allows(&self, sha256: &str) -> bool {
        let named = self.entries.values();
        named.chain(&self.nameless).any(|hash| hash == sha256)
    }

    /// The listed files that the folder does not have.
    pub fn gone(&self, dir: &Path) -> Vec<&str> {
        let names = self.entries.keys().map(String::as_str);
        names.filter(|name| !dir.join(name).is_file()).collect()
    }

    pub fn insert(&mut self, name: &str, sha256: &str) {
        self.entries.insert(name.to_owned(), sha256.to_owned());
    }

    /// Removes a file. Returns whether it was listed.
    pub fn remove(&mut self, name: &str) -> bool {
        self.entries.remove(name).is_some()
    }

    /// Each listed file with its hash.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, hash)| (&**name, &**hash))
    }

    /// Replaces the lock of a folder.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = format!("{HEAD}\n");
        for (name, hash) in &self.entries {
            text.push_str(&format!("{hash}  {name}\n"));
        }
        for hash in &self.nameless {
            text.push_str(&format!("{hash}\n"));
        }
        replace(&Self::path(dir), text.as_bytes())
    }
}

/// A SHA-256 in hex, in lower case.
pub fn sha256(text: &str) -> Option<String> {
    let valid = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| text.to_ascii_lowercase())
}

/// Writes a file that everyone may read and only its owner write, whole or not at all.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Lock;

    #[test]
    fn a_lock_of_sha256sum_is_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), None);
        let (one, two, three) = ("1".repeat(64), "AB".repeat(32), "3".repeat(64));
        let text = format!("# mine\n{one}  a.so\n\n{two} *./b.so\n{three}\n");
        fs::write(Lock::path(folder.path()), text).unwrap();
        fs::write(folder.path().join("a.so"), "").unwrap();
        let mut lock = Lock::read(folder.path()).unwrap().unwrap();
        for hash in [&one, &two.to_lowercase(), &three] {
            assert!(lock.allows(hash));
        }
        assert!(!lock.allows(&"4".repeat(64)));
        assert_eq!(lock.gone(folder.path()), ["b.so"]);
        assert!(lock.remove("b.so") && !lock.remove("b.so"));
        lock.insert("c.so", &"5".repeat(64));
        lock.write(folder.path()).unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), Some(lock));
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(Lock::path(folder.path()), "# x\nlibx.so\n").unwrap();
        let problem = Lock::read(folder.path()).unwrap_err().to_string();
        assert!(
            problem.starts_with("PLUGIN-012") && problem.contains("line 2"),
            "{problem}"
        );
    }
}
