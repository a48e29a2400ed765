//! Calls that end the process they run in.

use std::cell::{Cell, RefCell};

use hogsend::clock::Clock;

use super::{Host, Place};
use crate::support::process::{Process, free_port, until, worker_variables};

/// Two minutes a second.
const FACTOR: i32 = 120;

/// Where workers die, their leases have to end soon: after half a second. Where they live, no call may take
/// longer than its lease, also one that waits until a child is started again.
fn lease_seconds(place: Place) -> &'static str {
    match place {
        Place::Inside => "60",
        Place::Apart => "3600",
    }
}

/// Lets workers in processes of their own work until `done`, one after the other. Returns how many of them
/// died; each must have failed, else what supervises it would not start it again.
async fn work_until(host: &Host, clock: &str, place: Place, done: &'static str) -> usize {
    let data = tempfile::tempdir().unwrap();
    let url = host.server.database_url();
    let mut variables = worker_variables(url, data.path(), lease_seconds(place)).to_vec();
    variables.extend([
        ("HOGSEND_TEST_CLOCK", clock),
        ("PLUGIN_DIR", host.folder.path().to_str().unwrap()),
        ("EMAIL_PROVIDER", "faults"),
        ("EMAIL_FROM", "Acme <hello@acme.test>"),
    ]);
    let mut deaths = 0;
    loop {
        let worker = RefCell::new(Process::start("worker", free_port(), &variables));
        let is_over = || worker.borrow_mut().is_over();
        let finished = Cell::new(false);
        until("the worker dies or has finished", async || {
            finished.set(host.server.count(done).await == 1);
            finished.get() || is_over()
        })
        .await;
        if finished.get() {
            assert!(!is_over(), "it died after {deaths} others");
            return deaths;
        }
        assert!(!worker.borrow_mut().succeeded(), "it ended with status 0");
        deaths += 1;
    }
}

fn clock() -> String {
    let wall = Clock::system().now().to_rfc3339();
    format!("2026-03-02T09:00:00Z/{wall}/{FACTOR}")
}

/// How many workers die of it.
fn expected_deaths(place: Place) -> usize {
    match place {
        Place::Inside => 3,
        Place::Apart => 0,
    }
}

/// Even one that ends it as if all were well.
pub async fn a_run_that_ends_its_process_is_stuck_and_the_others_go_on(place: Place) {
    let clock = clock();
    let host = Host::start(place, &[("HOGSEND_TEST_CLOCK", &clock)]).await;
    for (user, fault) in [("ann", "none"), ("bob", "exit"), ("cy", "none")] {
        host.happens("faults.run", user, fault).await;
    }
    let done = "SELECT (count(*) FILTER (WHERE status = 'stuck') = 1
                        AND count(*) FILTER (WHERE status = 'waiting') = 2)::int::bigint
                FROM journey_states";
    let deaths = work_until(&host, &clock, place, done).await;
    assert_eq!(deaths, expected_deaths(place));
    let runs = host.runs().await;
    let named = match place {
        Place::Inside => "3 workers died while calling faults, advance, step 0",
        Place::Apart => "ended the plugin's process 5 times, the last time so: plugin 'faults'",
    };
    for part in ["ann waiting", "bob stuck worker_died", "cy waiting", named] {
        assert!(runs.contains(part), "{part}: {runs}");
    }
    host.server.stop().await;
}

pub async fn a_mail_that_ends_its_process_is_given_up_and_the_others_are_sent(place: Place) {
    let clock = clock();
    let host = Host::start(place, &[("HOGSEND_TEST_CLOCK", &clock)]).await;
    for (user, fault) in [("ann", "none"), ("bob", "abort"), ("cy", "none")] {
        host.happens("faults.receipt", user, fault).await;
    }
    let over = "SELECT (count(*) = 3)::int::bigint FROM email_sends
                WHERE status NOT IN ('queued', 'sending')";
    let deaths = work_until(&host, &clock, place, over).await;
    assert_eq!(deaths, expected_deaths(place));
    let (mails, reason) = match place {
        // The provider may have it.
        Place::Inside => (
            "ann sent, bob ambiguous, cy sent",
            "3 workers died while calling faults, send",
        ),
        // It had asked for nothing, so nothing was sent.
        Place::Apart => (
            "ann sent, bob failed, cy sent",
            "given up after 5 attempts: plugin 'faults'",
        ),
    };
    assert_eq!(host.mails().await, mails);
    let said = host
        .server
        .text("SELECT max(reason) FROM email_sends WHERE status <> 'sent'")
        .await;
    assert!(said.starts_with(reason), "{said}");
    host.server.stop().await;
}
