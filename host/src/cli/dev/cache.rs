//! Where the embedded database puts its compiled program.

use std::path::Path;

use crate::cli::Environment;
use crate::cli::secret::make_folder;

/// The variable its library looks at (XDG base directories).
const CACHE: &str = "XDG_CACHE_HOME";

/// The library of the embedded database keeps 100 MB of compiled program in the user's cache folder,
/// which it takes from the environment alone. This begins the process anew with that folder in the
/// data folder, where it is found, moved and deleted with the rest. Returns where that is done
/// already or not possible.
pub fn in_data_folder(environment: &Environment, data_dir: &Path) {
    let cached = || -> anyhow::Result<Option<std::path::PathBuf>> {
        make_folder(data_dir)?;
        let folder = data_dir.canonicalize()?.join("cache");
        let now = environment.get(CACHE);
        Ok((now.as_deref() != folder.to_str()).then_some(folder))
    };
    // Whoever opens the data folder reports what is wrong with it.
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
    tracing::debug!(%error, "the embedded database uses the cache folder of the user");
}

#[cfg(not(target_os = "linux"))]
fn begin_anew(_: &Path) {}
