//! Secrets of a development installation, and the folder they are kept in.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::SecretString;

use crate::private;

/// The secret kept in the data folder, made at the first start: links in mails go on working after
/// a restart, and nobody has to set anything up.
pub fn of_data_folder(folder: &Path) -> anyhow::Result<SecretString> {
    kept(folder, "secret", || {
        STANDARD.encode(rand::random::<[u8; 32]>())
    })
}

/// The text of a file of the data folder that its owner alone may read; made with `make` where it is
/// not there.
pub(super) fn kept(
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> String,
) -> anyhow::Result<SecretString> {
    make_folder(folder)?;
    let path = folder.join(name);
    let about = || format!("cannot keep a secret in {}", path.display());
    if !path.exists() {
        let made = folder.join(format!("{name}.{}", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&made).with_context(about)?;
        file.write_all(make().as_bytes()).with_context(about)?;
        file.sync_all().with_context(about)?;
        // Of two processes that start at once, the first to link wins and both read its file.
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

/// Makes the data folder, for its owner alone: it holds mails, a database and secrets.
pub(super) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    private::folder(folder)
        .with_context(|| format!("cannot create the data folder {}", folder.display()))
}
