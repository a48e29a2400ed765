//! Files and folders that only their owner may access: mails, secrets, the embedded database.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Creates a folder that only its owner may access, and its parents. An existing folder is closed to
/// others if this user owns it.
///
/// # Errors
///
/// The folder does not exist and cannot be created.
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

/// Creates or truncates a file that only its owner may access.
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

/// Removes the permissions of others. Those of the group may be intended, and a folder of another user
/// is not changed.
#[cfg(unix)]
fn close(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode();
    let closed = mode & !0o007;
    if closed != mode {
        // Owned by another user, who decides about its permissions.
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
