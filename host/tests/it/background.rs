//! Background work: what a stop does to it.

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{Server, Store};
use hogsend::worker;

/// A run waits for an answer that never comes; another worker may take it over at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_back_the_run_it_cannot_wait_for() {
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
