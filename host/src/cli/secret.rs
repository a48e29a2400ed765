//! The secret of a development installation.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::SecretString;

/// The secret kept in the data folder, made at the first start: links in mails go on working after
/// a restart, and nobody has to set anything up.
pub fn of_data_folder(folder: &Path) -> anyhow::Result<SecretString> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the data folder {}", folder.display()))?;
    let path = folder.join("secret");
    let name = || format!("cannot keep a secret in {}", path.display());
    if !path.exists() {
        let random: [u8; 32] = rand::random();
        let made = folder.join(format!("secret.{}", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&made).with_context(name)?;
        file.write_all(STANDARD.encode(random).as_bytes())
            .with_context(name)?;
        file.sync_all().with_context(name)?;
        // Of two processes that start at once, the first to link wins and both read its file.
        let _ = fs::hard_link(&made, &path);
        let _ = fs::remove_file(&made);
    }
    let secret = fs::read_to_string(&path).with_context(name)?;
    anyhow::ensure!(
        secret.len() >= 32,
        "{} is damaged: delete it",
        path.display()
    );
    Ok(secret.into())
}
