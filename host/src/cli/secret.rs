//! Secrets of a development installation, and the data folder that stores them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::SecretString;

use crate::private;

/// The secret in the data folder, created at the first start, so that links in mails keep working
/// after a restart without any setup.
pub fn of_data_folder(folder: &Path) -> anyhow::Result<SecretString> {
    kept(folder, "secret", || {
        STANDARD.encode(rand::random::<[u8; 32]>())
    })
}

/// The text of a file in the data folder that only its owner may read; created with `make` if it does
/// not exist.
pub(super) fn kept(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> String,
) -> anyhow::Result<SecretString> {
    make_folder(folder)?;
    let path = folder.join(name);
    let about = || format!("cannot store a secret in {}", path.display());
    if !path.exists() {
        let made = folder.join(format!("{name}.{}", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&made).with_context(about)?;
        file.write_all(make().as_bytes()).with_context(about)?;
        file.sync_all().with_context(about)?;
        // If two processes start at once, the first to link wins and both read its file.
        let _ = fs::hard_link(&made, &path);
        let _ = fs::remove_file(&made);
    }
    let secret = fs::read_to_string(&path).with_context(about)?;
    anyhow::ensure!(
        secret.len() >= 32,
        "{} is damaged: delete it",
        path.display()
    );
    Ok(secret.into())
}

/// Creates the data folder with access for its owner only, since it contains mails, a database and
/// secrets.
pub(super) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    private::folder(folder)
        .with_context(|| format!("cannot create the data folder {}", folder.display()))
}
