//! `cargo xtask bench`.

use std::process::ExitCode;

use super::set_test_env;
use crate::cargo::{cargo, run, run_last};
use crate::servers::{Disk, Servers};

pub fn bench(args: &[String]) -> anyhow::Result<ExitCode> {
    let servers = Servers::start(Disk::Waits)?;
    run(&mut cargo(&[
        "build",
        "--release",
        "--workspace",
        "--exclude",
        "xtask",
    ])?)?;
    let mut command = cargo(&["bench", "-p", "hogsend"])?;
    set_test_env(&mut command, &servers, "release")?;
    run_last(command.args(args))
}
