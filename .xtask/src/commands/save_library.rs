//! `cargo xtask save-library`: keeps libraries as this release builds them, for the tests of later ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

use crate::cargo::{cargo, root, run, target_dir};

/// The fixtures, and whether each is made to look as if it were built with [`LATER`].
const FIXTURES: [(&str, bool); 2] = [("faults", false), ("newer", true)];
/// As long as the version of the plugin API, in whose place it is written.
const LATER: &str = "1.99.0-rc1";
/// The smallest library that still unwinds, so that panics become errors.
const PROFILE: [&str; 6] = [
    "profile.saved.inherits='release'",
    "profile.saved.opt-level='z'",
    "profile.saved.lto='fat'",
    "profile.saved.codegen-units=1",
    "profile.saved.strip='symbols'",
    "profile.saved.panic='unwind'",
];
/// Of zstd; the files are made once and stay in the repository.
const LEVEL: i32 = 22;

/// Builds the fixtures and writes them to `host/tests/fixtures/saved`, named after the version of the plugin
/// API.
pub fn save_library(args: &[String]) -> anyhow::Result<ExitCode> {
    ensure!(
        args.is_empty(),
        "`cargo xtask save-library` takes no arguments"
    );
    if !cfg!(all(
        target_arch = "x86_64",
        target_os = "linux",
        target_env = "gnu"
    )) {
        bail!("libraries are saved for x86_64 Linux with glibc: run this there");
    }
    let version = api_version()?;
    let minor: Vec<&str> = version.split('.').take(2).collect();
    let minor = minor.join(".");
    for (fixture, later) in FIXTURES {
        let package = format!("hogsend-plugin-{fixture}");
        let mut command = cargo(&["build", "--profile", "saved", "--package", &package])?;
        for line in PROFILE {
            command.args(["--config", line]);
        }
        command
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", rename_paths());
        run(&mut command)?;
        let built = format!("libhogsend_plugin_{fixture}.so");
        let built = target_dir()?.join("saved").join(built);
        let mut bytes =
            fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        if later {
            rename(&mut bytes, &version)?;
        }
        let packed = zstd::encode_all(bytes.as_slice(), LEVEL)?;
        let name = format!("{fixture}-{minor}.so.zst");
        let to = root().join("host/tests/fixtures/saved").join(&name);
        fs::write(&to, &packed).with_context(|| format!("cannot write {}", to.display()))?;
        println!(
            "{}: {} KiB, {} KiB packed",
            to.display(),
            bytes.len() / 1024,
            packed.len() / 1024
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Flags that keep the paths of this machine out of the messages of panics.
fn rename_paths() -> String {
    let of_user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or(of_user).unwrap_or_default();
    let renamed = [(cargo_home, "/cargo"), (root(), "/hogsend")];
    let flags = renamed.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    flags.join("\u{1f}")
}

/// The version of the plugin API.
fn api_version() -> anyhow::Result<String> {
    let file = root().join("plugin-api/Cargo.toml");
    let text = fs::read_to_string(&file)?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    let version = version.with_context(|| format!("{} has no version", file.display()))?;
    Ok(version.to_owned())
}

/// Writes [`LATER`] wherever the library has the version.
fn rename(bytes: &mut [u8], version: &str) -> anyhow::Result<()> {
    let (old, new) = (version.as_bytes(), LATER.as_bytes());
    ensure!(
        old.len() == new.len(),
        "'{LATER}' must be as long as the version {version}: change both it and the test of `newer`"
    );
    let places: Vec<usize> = (0..bytes.len().saturating_sub(old.len()))
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    ensure!(!places.is_empty(), "the library does not name its version");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    Ok(())
}
