//! `cargo xtask chaos` and `cargo xtask long`.

use std::process::ExitCode;

use super::tell_tests;
use crate::cargo::{cargo, run, run_last};
use crate::servers::Servers;

/// Seeds of the long runs; each is another history of kills.
const LONG: [&[&str]; 2] = [
    &["--seed", "11", "--mails", "10000", "--provider", "resend"],
    &["--seed", "12", "--mails", "10000", "--provider", "postmark"],
];

/// One run as the arguments say.
pub fn chaos(args: &[String]) -> anyhow::Result<ExitCode> {
    let servers = Servers::start()?;
    build()?;
    run_last(program(&servers)?.args(args))
}

/// What takes too long for every change: one run after the other, stops at the first that fails.
pub fn long() -> anyhow::Result<ExitCode> {
    let servers = Servers::start()?;
    build()?;
    for args in LONG {
        run(program(&servers)?.args(args))?;
    }
    // Four days of journeys, whose workers are killed while the clock runs fast.
    let mut journeys = cargo(&["test", "--workspace", "--test", "it", "--"])?;
    tell_tests(&mut journeys, &servers, "debug")?;
    run(journeys.args(["--ignored", "--nocapture", "kill_journeys"]))?;
    Ok(ExitCode::SUCCESS)
}

fn build() -> anyhow::Result<()> {
    run(&mut cargo(&[
        "build",
        "--workspace",
        "--lib",
        "--bins",
        "--test",
        "chaos",
        "--test",
        "it",
    ])?)
}

fn program(servers: &Servers) -> anyhow::Result<std::process::Command> {
    let mut command = cargo(&["test", "--workspace", "--test", "chaos", "--"])?;
    tell_tests(&mut command, servers, "debug")?;
    Ok(command)
}
