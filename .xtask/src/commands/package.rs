//! `cargo xtask package`: the crates for authors of plugins, as crates.io would get them.

use std::process::{Command, ExitCode};

use crate::cargo::{DEV_PROFILE, cargo, run, run_last};

/// The published crates; each depends on those before it only.
const CRATES: [&str; 6] = [
    "hogsend-plugin-api",
    "hogsend-semantics",
    "hogsend-render",
    "hogsend-mime",
    "hogsend-plugin-kit",
    "hogsend-plugin-kit-message",
];

/// Packs them and builds them from the packed files. `args` go to `cargo package`.
pub fn package(args: &[String]) -> anyhow::Result<ExitCode> {
    run_last(command()?.args(args))
}

/// Packs them and builds each from its packed files alone, with the others as packed, so a file, feature or
/// dependency that a package lacks is found.
///
/// Only this proves that what is packed builds: `--no-verify` and `--list` look at no code, and the workspace
/// finds the crates by their paths. It costs little, because cargo builds the packages into the target folder
/// of the workspace with its profile and its lock file: nothing but these crates compiles.
pub fn check() -> anyhow::Result<()> {
    println!("==> packages");
    run(command()?.arg("--quiet"))
}

fn command() -> anyhow::Result<Command> {
    let mut command = cargo(&["package", "--allow-dirty"])?;
    command.args(DEV_PROFILE);
    for name in CRATES {
        command.args(["--package", name]);
    }
    Ok(command)
}
