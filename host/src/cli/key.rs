//! The API key of a development installation, which is created automatically.

use crate::keys::KEY_FILE;
use std::path::Path;

use secrecy::SecretString;

use super::secret;

/// The key in the data folder, created at the first start.
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
