//! Faults of journeys, and of what analytics knows of a person.

use std::time::Duration;

use super::{Host, Place};
use crate::support::process::until;

const MINUTE: Duration = Duration::from_secs(60);

/// Each call of it costs a thread or a process, so there are few.
pub async fn a_run_that_never_returns_is_stuck_and_the_others_go_on(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.run", "ann", "loop").await;
    host.happens("faults.run", "bob", "none").await;
    host.server.drain().await;
    let bob = "SELECT count(*) FROM journey_states WHERE status = 'waiting'";
    assert_eq!(host.server.count(bob).await, 1);
    let stuck = "SELECT count(*) FROM journey_states WHERE status = 'stuck'";
    until("the run is stuck", async || {
        host.server.advance(MINUTE).await;
        host.server.count(stuck).await == 1
    })
    .await;
    let runs = host.runs().await;
    for part in ["ann stuck worker_died", "did not end 5 times", "within 5s"] {
        assert!(runs.contains(part), "{part}: {runs}");
    }
    host.server.stop().await;
}

/// A clock that stands still within a call makes such loops natural.
pub async fn a_loop_of_steps_ends_its_run(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.run", "ann", "checkpoints").await;
    host.happens("faults.run", "bob", "patches").await;
    host.server.drain().await;
    let runs = host.runs().await;
    assert_eq!(runs.matches("failed").count(), 2, "{runs}");
    assert_eq!(runs.matches("more than 2000 steps").count(), 2, "{runs}");
    let most = "SELECT coalesce(max(seq), 0)::bigint FROM journey_steps";
    assert!(host.server.count(most).await < 2_000);
    host.server.stop().await;
}

pub async fn text_that_cannot_be_stored_costs_no_run(place: Place) {
    let host = Host::start(place, &[]).await;
    host.happens("faults.run", "odd", "person").await;
    host.happens("faults.run", "bob", "long key").await;
    host.server.drain().await;
    assert_eq!(host.runs().await, "bob waiting, odd waiting");
    let kept =
        "SELECT (properties->>'plan') || ' ' || (properties->>'odd\u{fffd}name') FROM contacts
                WHERE external_id = 'odd'";
    assert_eq!(host.server.text(kept).await, "pro odd\u{fffd}value");
    let refused =
        "SELECT count(*) FROM journey_steps WHERE result->'Err'->>'code' = 'key_too_long'";
    assert_eq!(host.server.count(refused).await, 1);
    host.server.advance(MINUTE * 60).await;
    assert_eq!(host.runs().await, "bob completed, odd completed");
    host.server.stop().await;
}
