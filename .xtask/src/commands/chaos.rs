//! `cargo xtask chaos` and `cargo xtask long`.

use std::process::ExitCode;

use super::set_test_env;
use crate::cargo::{cargo, run, run_last};
use crate::servers::{Disk, Servers};

/// The seeds of the long runs; each gives a different sequence of kills.
const LONG: [&[&str]; 2] = [
    &["--seed", "11", "--mails", "10000", "--provider", "resend"],
    &["--seed", "12", "--mails", "10000", "--provider", "postmark"],
];

/// The tests about runs, which hold with each engine.
const JOURNEYS: [&str; 7] = [
    "admin_journeys::",
    "dead_letters::",
    "journeys::",
    "matrix::",
    "pauses::",
    "policy::",
    "steps::",
];

/// The tests that do less with each change.
const LONGER: [&str; 4] = [
    "day::",
    "kill::killed_again_and_again",
    "reload::reloads_under_load",
    "--nocapture",
];

/// One run with the given arguments.
pub fn chaos(args: &[String]) -> anyhow::Result<ExitCode> {
    let servers = Servers::start(Disk::DoesNotWait)?;
    build()?;
    run_last(program(&servers)?.args(args))
}

/// The runs that take too long for every change. They run in sequence and stop at the first failure.
pub fn long() -> anyhow::Result<ExitCode> {
    let servers = Servers::start(Disk::DoesNotWait)?;
    build()?;
    for args in LONG {
        run(program(&servers)?.args(args))?;
    }
    // Four days of journeys on a fast clock, while the workers are killed.
    integration(
        &servers,
        None,
        &["--ignored", "--nocapture", "kill_journeys"],
    )?;
    integration(&servers, Some("HOGSEND_TEST_LONG=1"), &LONGER)?;
    // The tests of journeys with the engine that is not the default.
    integration(&servers, Some("HOGSEND_TEST_ENGINE=hatchet"), &JOURNEYS)?;
    // A year with the one engine, then with the other.
    integration(&servers, None, &["--ignored", "--nocapture", "year::"])?;
    Ok(ExitCode::SUCCESS)
}

/// Runs some of the integration tests, with a further variable.
fn integration(servers: &Servers, variable: Option<&str>, args: &[&str]) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--workspace", "--test", "it", "--"])?;
    set_test_env(&mut command, servers, "debug")?;
    command.envs(variable.and_then(|one| one.split_once('=')));
    run(command.args(args))
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
    set_test_env(&mut command, servers, "debug")?;
    Ok(command)
}
