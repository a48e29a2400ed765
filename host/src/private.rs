//! Files and folders that only their owner may read: mails, secrets, the embedded database.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes a folder for its owner alone, with those above it. One that is there is closed to others,
/// where it is ours to close.
///
/// # Errors
///
/// The folder is not there and cannot be made.
pub fn folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        close(path);
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes or empties a file for its owner alone.
///
/// # Errors
///
/// The file cannot be written.
pub fn file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    close(path);
    Ok(file)
}

/// Takes the rights of everybody but the owner. A group may be there for a reason, and a folder of
/// somebody else's stays as it is.
#[cfg(unix)]
fn close(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode();
    let closed = mode & !0o007;
    if closed != mode {
        // Not ours: whoever made it decides.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(closed));
    }
}

#[cfg(not(unix))]
fn close(_: &Path) {}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn others_read_nothing_whether_it_is_new_or_was_there() {
        let root = tempfile::tempdir().unwrap();
        let new = root.path().join("a/b");
        folder(&new).unwrap();
        assert_eq!((mode(&new), mode(&root.path().join("a"))), (0o700, 0o700));
        let mail = new.join("mail.eml");
        file(&mail).unwrap();
        assert_eq!(mode(&mail), 0o600);

        let old = root.path().join("old");
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
        folder(&old).unwrap();
        assert_eq!(mode(&old), 0o750);
        let secret = old.join("secret");
        fs::write(&secret, "x").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        file(&secret).unwrap();
        assert_eq!(mode(&secret), 0o640);
    }
}
