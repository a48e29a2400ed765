//! The key of a development installation, so that its API can be called at once.

use crate::keys::KEY_FILE;
use std::path::Path;

use secrecy::SecretString;

use super::secret;

/// The key kept in the data folder, made at the first start.
pub fn of_data_folder(folder: &Path) -> anyhow::Result<SecretString> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let made = || {
        format!(
            "hsk_dev_{}",
            URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
        )
    };
    secret::kept(folder, KEY_FILE, made)
}
