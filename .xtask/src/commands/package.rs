//! `cargo xtask package`: the crates for authors of plugins, as crates.io would get them.

use std::process::ExitCode;

use crate::cargo::{cargo, run_last};

/// The published crates; each depends on those before it only.
const CRATES: [&str; 6] = [
    "hogsend-plugin-api",
    "hogsend-semantics",
    "hogsend-render",
    "hogsend-mime",
    "hogsend-plugin-kit",
    "hogsend-plugin-kit-message",
];

/// Packs and builds them from the packed files. `args` go to `cargo package`.
pub fn package(args: &[String]) -> anyhow::Result<ExitCode> {
    let mut command = cargo(&["package", "--allow-dirty"])?;
    for name in CRATES {
        command.args(["--package", name]);
    }
    run_last(command.args(args))
}
