//! Plugins that crash the worker's process, and runs that cannot be recorded.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hogsend::clock::Clock;
use hogsend::db::{self, PluginCall};
use hogsend::ids::Claim;
use hogsend::worker;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::process::until;
use crate::support::{Server, Store};

/// Leases of a minute last half a second.
const FACTOR: i32 = 120;

/// A worker with the tests' journeys, in its own process so that a journey may crash it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it, as a process of its own"]
async fn a_worker_of_its_own() {
    let (Ok(url), Ok(clock)) = (
        std::env::var("HOGSEND_CRASH_DATABASE"),
        std::env::var("HOGSEND_TEST_CLOCK"),
    ) else {
        return;
    };
    let mut variables = vec![("HOGSEND_TEST_CLOCK", clock.as_str())];
    let at = std::env::var("HOGSEND_CRASH_AT").unwrap_or_default();
    if !at.is_empty() {
        variables.extend(courier(&at));
    }
    let server = Server::with(Store::at(&url).await, &variables).await;
    let _ = worker::run(server.app.clone(), CancellationToken::new()).await;
}

/// The provider that crashes the process in method `at`.
fn courier(at: &str) -> [(&str, &str); 2] {
    [("EMAIL_PROVIDER", "crash"), ("CRASH_AT", at)]
}

struct Worker(Child);

impl Worker {
    fn start(url: &str, clock: &str, at: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::a_worker_of_its_own"])
            .env("HOGSEND_CRASH_DATABASE", url)
            .env("HOGSEND_TEST_CLOCK", clock)
            .env("HOGSEND_CRASH_AT", at)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits until the process has crashed.
    async fn crashes(mut self) {
        let mut over = || {
            let over = self.over().is_some();
            async move { over }
        };
        until("the worker ends", &mut over).await;
        assert!(!self.over().unwrap().success());
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
async fn a_run_that_crashes_its_worker_three_times_is_stuck_and_the_others_continue() {
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
        Worker::start(&url, &clock, "").crashes().await;
    }
    let mut fourth = Worker::start(&url, &clock, "");
    let stuck = "SELECT count(*) FROM journey_states WHERE status = 'stuck'";
    until("the run is stuck", async || server.count(stuck).await == 1).await;
    let others = "SELECT count(*) FROM journey_states WHERE status = 'waiting'";
    until("the others wait", async || server.count(others).await == 5).await;
    let counted = "SELECT count(*) FROM plugin_calls";
    until("nothing is held against them", async || {
        server.count(counted).await == 0
    })
    .await;
    assert!(fourth.over().is_none());
    drop(fourth);

    let who = "SELECT c.external_id || ' ' || s.stuck_reason FROM journey_states s
               JOIN contacts c ON c.id = s.contact_id WHERE s.status = 'stuck'";
    assert_eq!(server.text(who).await, "u3 worker_died");
    let why = server
        .text("SELECT error_message FROM journey_states WHERE status = 'stuck'")
        .await;
    assert!(
        why.starts_with("3 workers died") && why.contains("test-journeys"),
        "{why}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_crashes_its_worker_three_times_fails_and_the_others_are_sent() {
    let cases = [
        // The provider does not have it: no attempt had begun.
        ("prepare", "failed 1, sent 5"),
        ("send", "ambiguous 1, sent 5"),
        // One request carries them all.
        ("send_batch", "ambiguous 6"),
    ];
    for (at, expected) in cases {
        let wall = Clock::system().now().to_rfc3339();
        let clock = format!("2026-03-02T09:00:00Z/{wall}/{FACTOR}");
        let mut variables = vec![("HOGSEND_TEST_CLOCK", clock.as_str())];
        variables.extend(courier(at));
        let server = Server::with(Store::native().await, &variables).await;
        let url = server.database_url().to_owned();
        for n in 0..6 {
            let user = if n == 3 { "fatal" } else { "u" };
            let event = json!({
                "event": "t.mail", "userId": format!("{user}{n}"),
                "userEmail": format!("{user}{n}@example.com"),
                "properties": { "category": "journey" },
            });
            assert_eq!(server.post("/v1/ingest", &event).await.status, 202);
        }
        // The mails are written before the first worker starts, so that it claims all of them.
        while hogsend::runs::advance_due(&server.app).await.unwrap() > 0 {}
        for _ in 0..3 {
            Worker::start(&url, &clock, at).crashes().await;
        }
        let mut fourth = Worker::start(&url, &clock, at);
        let open = "SELECT count(*) FROM email_sends WHERE status IN ('queued', 'sending')";
        until("every mail is over", async || server.count(open).await == 0).await;
        assert!(fourth.over().is_none(), "{at}");
        drop(fourth);
        let ends = "SELECT string_agg(line, ', ' ORDER BY line) FROM (
            SELECT status || ' ' || count(*) AS line FROM email_sends GROUP BY status) AS lines";
        assert_eq!(server.text(ends).await, expected, "{at}");
        let reason = "SELECT min(reason) FROM email_sends WHERE status <> 'sent'";
        let reason = server.text(reason).await;
        let named = format!("3 workers died while calling crash, {at}");
        assert!(reason.starts_with(&named), "{at}: {reason}");
        server.stop().await;
    }
}

/// A worker that is stopped during a call did not die in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_cancelled_by_a_stop_is_not_counted() {
    let server = Server::start(Store::native().await).await;
    let call = PluginCall {
        subject: uuid::Uuid::new_v4(),
        claim: Claim::new(server.now()),
        name: "test-journeys, advance, step 0".into(),
    };
    let answer = std::future::pending::<()>();
    let called = server.app.calls.noted("run", call.clone(), answer);
    let broken_off = tokio::time::timeout(Duration::from_millis(1), called).await;
    assert!(broken_off.is_err());
    server.app.calls.take_back().await.unwrap();
    let mut conn = server.app.db.conn().await.unwrap();
    let deaths = db::calls_died(&mut conn, &[call.subject]).await.unwrap();
    assert!(deaths.is_empty(), "{deaths:?}");
    drop(conn);

    // A call that returns clears its own count, not that of another call.
    let died = async |name: &str| {
        let call = PluginCall {
            name: name.into(),
            ..call.clone()
        };
        server.app.calls.switch(None, Some(&call)).await.unwrap();
        let mut conn = server.app.db.conn().await.unwrap();
        let deaths = db::calls_died(&mut conn, &[call.subject]).await.unwrap();
        let one = &deaths[&call.subject];
        (one.count, one.call.clone().unwrap())
    };
    let returned = async |name: &str| {
        let call = PluginCall {
            name: name.into(),
            ..call.clone()
        };
        let answer = std::future::ready(());
        server.app.calls.noted("run", call, answer).await.unwrap();
    };
    assert_eq!(
        died("p, advance, step 1").await,
        (1, "p, advance, step 1".into())
    );
    returned("p, advance, step 0").await;
    assert_eq!(
        died("p, advance, step 1").await,
        (2, "p, advance, step 1".into())
    );
    returned("p, advance, step 1").await;
    assert_eq!(
        died("p, advance, step 1").await,
        (1, "p, advance, step 1".into())
    );
    assert_eq!(
        died("p, advance, step 2").await,
        (1, "p, advance, step 2".into())
    );
    server.stop().await;
}

/// The database refuses a step each time; the run must not be retried forever.
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

/// A run whose journey no plugin provides is checked less and less often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_its_plugin_is_checked_every_hour_in_the_end() {
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
