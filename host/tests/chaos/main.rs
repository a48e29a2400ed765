//! Chaos: thousands of mails while the API and the worker are killed with SIGKILL at random.
//!
//! A seeded program. It starts the real binary with its own database and a counting provider, lets
//! people sign up, merge, unsubscribe and be erased while it keeps killing both processes, waits
//! until nothing is due, and then compares the accepted sign-ups with the provider's mails. `cargo
//! test` runs a short version; `cargo xtask chaos` takes the arguments below.

mod fleet;
mod people;
mod plan;
mod provider;
mod verdict;

use std::process::ExitCode;

use plan::{Asked, Plan};

fn main() -> ExitCode {
    let plans = match plan::read(std::env::args().skip(1)) {
        Ok(Asked::Run(plans)) => plans,
        Ok(Asked::Nothing) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", plan::USAGE);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // The first TLS provider installed applies to the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut failed = false;
    for plan in plans {
        let report = runtime.block_on(run(&plan));
        println!("{report}");
        failed |= !report.is_clean();
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// One run from an empty database to its verdict.
async fn run(plan: &Plan) -> verdict::Report {
    let provider = provider::Provider::start(plan.provider).await;
    let fleet = fleet::Fleet::start(plan, &provider).await;
    let load = people::live(plan, fleet.url());
    let (people, kills) = fleet.kill_until(plan, load).await;
    fleet.settle().await;
    let report = verdict::judge(plan, &people, &provider, &fleet, kills).await;
    fleet.end().await;
    report
}
