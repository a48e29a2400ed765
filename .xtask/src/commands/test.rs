//! `cargo xtask test`.

use std::process::ExitCode;

use super::set_test_env;
use crate::cargo::{cargo, run, run_last};
use crate::servers::{Disk, Servers};

pub fn test(args: &[String]) -> anyhow::Result<ExitCode> {
    let servers = Servers::start(Disk::DoesNotWait)?;
    let mut command = cargo(&["test"])?;
    if names_packages(args) {
        run(cargo(&["build", "--workspace", "--lib", "--bins"])?.args(["--test", "it"]))?;
    } else {
        build_all()?;
        command.arg("--workspace");
    }
    set_test_env(&mut command, &servers, "debug")?;
    if args.is_empty() {
        // One run names every test that fails.
        run(command.arg("--no-fail-fast"))?;
        super::examples::check()?;
        super::package::check()?;
        return Ok(ExitCode::SUCCESS);
    }
    run_last(command.args(args))
}

/// Builds what the tests need: they also run the binary and load the plugin libraries, which `cargo test`
/// does not build. Together with the tests, so that both use the same features and no dependency compiles
/// twice.
pub(super) fn build_all() -> anyhow::Result<()> {
    run(cargo(&["build", "--workspace", "--lib", "--bins"])?.arg("--tests"))
}

/// Whether the arguments select packages: cargo ignores `-p` together with `--workspace`.
fn names_packages(args: &[String]) -> bool {
    let mut own = args.iter().take_while(|arg| *arg != "--");
    own.any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::names_packages;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn packages_are_seen_in_cargos_own_arguments_only() {
        assert!(names_packages(&args("-p hogsend")));
        assert!(names_packages(&args("--package=hogsend some_test")));
        assert!(!names_packages(&args("some_test -- -p")));
        assert!(!names_packages(&args("")));
    }
}
