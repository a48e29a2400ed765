//! Background work: a stop, and a clock that was set back.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::process::until;
use crate::support::{Server, Store};
use hogsend::worker;

/// A run waits for an HTTP answer that never comes; after the stop another worker may claim it at
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_releases_a_run_that_does_not_end_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let server = Server::with(Store::native().await, &[("STEPS_URL", &url)]).await;
    let body = json!({ "event": "s.http", "userId": "u", "userEmail": "u@example.com" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);

    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(server.app.clone(), stop.clone()));
    let (_request, _) = silent.accept().await.unwrap();
    let claimed = "SELECT count(*) FROM journey_states WHERE claim IS NOT NULL";
    assert_eq!(server.count(claimed).await, 1);
    stop.cancel();
    assert_eq!(working.await.unwrap(), Ok(()));

    assert_eq!(server.count(claimed).await, 0);
    let due = "SELECT count(*) FROM journey_states WHERE wake_at <= '2026-03-02T09:00:00Z'";
    assert_eq!(server.count(due).await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_does_not_delay_a_dead_workers_run() {
    let server = Server::start(Store::native().await).await;
    server.clock.advance(Duration::from_secs(3_600));
    let body = json!({ "event": "t.mail", "userId": "u", "userEmail": "u@example.com", "properties": { "category": "journey" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server
        .run_sql("UPDATE journey_states SET claim = gen_random_uuid(), wake_at = wake_at + interval '1 minute'")
        .await;
    // Its clock is an hour behind the one that gave the lease.
    let back = server.replica(&[]).await;
    let stop = CancellationToken::new();
    let working = tokio::spawn(worker::run(back.app.clone(), stop.clone()));
    until("the run has ended", async || {
        back.text("SELECT status FROM journey_states").await == "completed"
    })
    .await;
    stop.cancel();
    assert_eq!(working.await.unwrap(), Ok(()));
    back.app.db.close().await;
    server.stop().await;
}
