//! Files that plugins write.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use hogsend_plugin_api::limits;

use crate::private;

/// Writes a file atomically and durably. `name` is a plain file name, so a plugin stays in its
/// folder. A writer that was killed leaves a partial file under a hidden name, which the next
/// attempt overwrites.
pub fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let plain = !name.is_empty()
        && limits::FILE_NAME.check(name.len()).is_ok()
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0']);
    if !plain {
        return Err(format!(
            "'{}' is not a plain file name",
            name.escape_debug()
        ));
    }
    limits::FILE.check(bytes.len())?;
    let write = || {
        private::folder(folder)?;
        let partial = folder.join(format!(".{name}"));
        let mut file = private::file(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, folder.join(name))?;
        // The rename survives a power cut only once the folder is synced.
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| format!("cannot write into {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn a_plugin_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        put(&own, "a.eml", b"one").unwrap();
        std::fs::write(own.join(".a.eml"), b"left by a killed writer").unwrap();
        put(&own, "a.eml", b"two").unwrap();
        assert_eq!(std::fs::read(own.join("a.eml")).unwrap(), b"two");
        for bad in ["", ".hidden", "../a", "a/b", "a\\b", "a\0b"] {
            assert!(put(&own, bad, b"x").is_err(), "{bad:?}");
        }
        assert_eq!(std::fs::read_dir(&own).unwrap().count(), 1);
    }
}
