//! The developer tasks of this repository, run as `cargo xtask <task>`.
//!
//! Each starts the servers it needs (Postgres, Redis, SMTP) on free ports and stops them again. It
//! needs only a checkout and a Rust toolchain, and two checkouts do not interfere.

use std::process::ExitCode;

mod cargo;
mod commands;
mod servers;

const USAGE: &str = "\
Usage: cargo xtask <task>

  test [args…]      build the workspace and run its tests; args go to `cargo test`
  bench [args…]     run the host's benches; args go to `cargo bench`
  chaos [args…]     kill the API and the worker at random under load; `chaos --help` lists the args
  long              run the long chaos runs, whose figures are in docs/reference/chaos.md
  examples          build, test and load the crates in examples/ and those of `hogsend plugin new`;
                    `--built` uses the binary of the host that is there
  package [args…]   pack and build the crates for authors of plugins; args go to `cargo package`
  save-library      keep the test libraries as this release builds them, in host/tests/fixtures/saved
  services          start Postgres, Redis and SMTP, print their addresses, run until Ctrl-C
  prepare           write .sqlx/, the data the query macros are compiled from
  prepare --check   fail if .sqlx/ differs from what `prepare` would write

To use running servers, set HOGSEND_TEST_DATABASE_URL, HOGSEND_TEST_REDIS_URL and HOGSEND_TEST_SMTP.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let done = match task.as_str() {
        "test" => commands::test(&args),
        "bench" => commands::bench(&args),
        "chaos" => commands::chaos(&args),
        "long" => commands::long(),
        "examples" => commands::examples(&args),
        "package" => commands::package(&args),
        "save-library" => commands::save_library(&args),
        "services" => commands::services(),
        "prepare" => commands::prepare(&args),
        "help" | "-h" | "--help" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
