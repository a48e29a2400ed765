//! The cache folder of the embedded database.

use std::path::Path;

use crate::cli::Environment;
use crate::cli::secret::make_folder;

/// The variable that determines it (XDG base directories).
const CACHE: &str = "XDG_CACHE_HOME";

/// The embedded database caches 100 MB of compiled code in the user's cache folder, which only the
/// environment determines. This restarts the process with the cache folder inside the data folder, so
/// that it is moved and deleted together with it. Returns if that has already happened or is not
/// possible.
pub fn in_data_folder(environment: &Environment, data_dir: &Path) {
    let cached = || -> anyhow::Result<Option<std::path::PathBuf>> {
        make_folder(data_dir)?;
        let folder = data_dir.canonicalize()?.join("cache");
        let now = environment.get(CACHE);
        Ok((now.as_deref() != folder.to_str()).then_some(folder))
    };
    // Problems with the data folder are reported when it is opened.
    if let Ok(Some(folder)) = cached() {
        begin_anew(&folder);
    }
}

#[cfg(target_os = "linux")]
fn begin_anew(folder: &Path) {
    use std::os::unix::process::CommandExt as _;

    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(CACHE, folder)
        .exec();
    tracing::debug!(%error, "the embedded database uses the user's cache folder");
}

#[cfg(not(target_os = "linux"))]
fn begin_anew(_: &Path) {}
