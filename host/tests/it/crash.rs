//! Plugins that end the worker's process, and runs that cannot be recorded.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hogsend::clock::Clock;
use hogsend::worker;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::process::until;
use crate::support::{Server, Store};

/// Leases of a minute last half a second.
const FACTOR: i32 = 120;

/// A worker with the journeys of tests in a process that a journey may end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it, as a process of its own"]
async fn a_worker_of_its_own() {
    let (Ok(url), Ok(clock)) = (
        std::env::var("HOGSEND_CRASH_DATABASE"),
        std::env::var("HOGSEND_TEST_CLOCK"),
    ) else {
        return;
    };
    let server = Server::with(Store::at(&url).await, &[("HOGSEND_TEST_CLOCK", &clock)]).await;
    let _ = worker::run(server.app.clone(), CancellationToken::new()).await;
}

struct Worker(Child);

impl Worker {
    fn start(url: &str, clock: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::a_worker_of_its_own"])
            .env("HOGSEND_CRASH_DATABASE", url)
            .env("HOGSEND_TEST_CLOCK", clock)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn over(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_its_worker_three_times_is_left_alone_and_the_others_go_on() {
    let wall = Clock::system().now().to_rfc3339();
    let clock = format!("2026-03-02T09:00:00Z/{wall}/{FACTOR}");
    let server = Server::with(Store::native().await, &[("HOGSEND_TEST_CLOCK", &clock)]).await;
    let url = server.database_url().to_owned();
    for n in 0..6 {
        let mut event = json!({ "event": "t.abort", "userId": format!("u{n}"), "properties": {} });
        if n == 3 {
            event["properties"]["fatal"] = json!("yes");
        }
        assert_eq!(server.post("/v1/ingest", &event).await.status, 202);
    }
    for _ in 0..3 {
        let mut worker = Worker::start(&url, &clock);
        let mut status = None;
        while status.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            status = worker.over();
        }
        assert!(!status.unwrap().success());
    }
    let mut fourth = Worker::start(&url, &clock);
    let stuck = "SELECT count(*) FROM journey_states WHERE status = 'stuck'";
    until("the run is stuck", async || server.count(stuck).await == 1).await;
    let others = "SELECT count(*) FROM journey_states WHERE status = 'waiting' AND deaths = 0";
    until("the others wait", async || server.count(others).await == 5).await;
    assert!(fourth.over().is_none());
    drop(fourth);

    let who = "SELECT c.external_id || ' ' || s.stuck_reason FROM journey_states s
               JOIN contacts c ON c.id = s.contact_id WHERE s.status = 'stuck'";
    assert_eq!(server.text(who).await, "u3 worker_died");
    let why = server
        .text("SELECT error_message FROM journey_states WHERE status = 'stuck'")
        .await;
    assert!(
        why.starts_with("3 workers ended") && why.contains("test-journeys"),
        "{why}"
    );
    server.stop().await;
}

/// The store refuses a step each time; the run does not go round in circles for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_cannot_be_recorded_is_stuck_after_the_fifth_time() {
    let server = Server::start(Store::native().await).await;
    server
        .run_sql("ALTER TABLE journey_steps ADD CHECK (kind <> 'sleep')")
        .await;
    let event = json!({ "event": "t.abort", "userId": "u", "properties": {} });
    assert_eq!(server.post("/v1/ingest", &event).await.status, 202);
    let failures = "SELECT failures::bigint FROM journey_states";
    for times in 1..5 {
        server.drain().await;
        assert_eq!(server.count(failures).await, times);
        assert_eq!(
            server.text("SELECT status FROM journey_states").await,
            "active"
        );
        server.clock.advance(Duration::from_secs(3_600));
    }
    server.drain().await;
    let stood = "SELECT status || ' ' || stuck_reason FROM journey_states";
    assert_eq!(server.text(stood).await, "stuck unrecordable");
    let why = server
        .text("SELECT error_message FROM journey_states")
        .await;
    assert!(why.contains("journey_steps"), "{why}");
    let logged = "SELECT count(*) FROM journey_logs WHERE to_status = 'stuck'";
    assert_eq!(server.count(logged).await, 1);
    server.stop().await;
}

/// A run of a journey that no plugin brings is looked at less and less often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_its_plugin_is_looked_at_every_hour_in_the_end() {
    let server = Server::start(Store::native().await).await;
    let event = json!({ "event": "t.abort", "userId": "u", "properties": {} });
    assert_eq!(server.post("/v1/ingest", &event).await.status, 202);
    server
        .run_sql("UPDATE journey_states SET journey_id = 'gone'")
        .await;
    let wait = "SELECT extract(epoch FROM wake_at - updated_at)::bigint FROM journey_states";
    let mut waits = Vec::new();
    for _ in 0..10 {
        server.drain().await;
        let since = server.count(wait).await;
        waits.push(since);
        let now = server
            .count("SELECT extract(epoch FROM updated_at)::bigint FROM journey_states")
            .await;
        let passed = server.now().timestamp() - now;
        server
            .clock
            .advance(Duration::from_secs((since - passed).unsigned_abs()));
    }
    assert_eq!(waits[..4], [60, 120, 240, 480]);
    assert_eq!(waits[9] - waits[8], 3_600);
    assert_eq!(server.app.loops.journeys_without_plugin(), ["gone"]);
    server.stop().await;
}
