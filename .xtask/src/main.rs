//! The chores of this repository, run as `cargo xtask <chore>`.
//!
//! Each starts the Postgres and Redis it needs on free ports and stops them again, so a checkout
//! and a Rust toolchain are all it takes, and two checkouts never meet.

use std::process::ExitCode;

mod cargo;
mod commands;
mod servers;

const USAGE: &str = "\
Usage: cargo xtask <chore>

  test [args…]      build the workspace and run its tests; args go to `cargo test`
  bench [args…]     run the host's benches; args go to `cargo bench`
  chaos [args…]     kill the API and the worker at random under load; `chaos --help` names the args
  long              the long runs of chaos, whose figures are in docs/reference/chaos.md
  services          start Postgres and Redis, print their URLs, stay until Ctrl-C
  prepare           write .sqlx/, the facts the checked queries are compiled from
  prepare --check   fail when .sqlx/ is not what `prepare` would write

Servers that HOGSEND_TEST_DATABASE_URL and HOGSEND_TEST_REDIS_URL name are used as they are.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let chore = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let done = match chore.as_str() {
        "test" => commands::test(&args),
        "bench" => commands::bench(&args),
        "chaos" => commands::chaos(&args),
        "long" => commands::long(),
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
