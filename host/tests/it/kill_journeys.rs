//! Three days of journeys under workers that are killed again and again end as they do under one
//! that lives.

use std::time::Duration;

use hogsend::clock::Clock;
use rand::Rng as _;
use serde_json::json;

use crate::support::process::{Process, free_port, worker_variables};
use crate::support::{Server, Store};

/// Two hours a second.
const FAST: u32 = 7_200;
/// An hour a second, so that a busy machine keeps up with the clock.
const MEDIUM: u32 = 3_600;
/// Ten minutes a second, while the test waits for all to have come equally far.
const SLOW: u32 = 600;
const PEOPLE: usize = 30;

async fn begin(server: &Server) {
    for n in 0..PEOPLE {
        let user = format!("k{n:02}");
        for event in [
            "user.created",
            "payment.failed",
            "checkout.started",
            "test.signup",
        ] {
            let body = json!({ "event": event, "userId": user, "userEmail": format!("{user}@example.com"),
                               "properties": { "plan": "pro" } });
            assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
        }
    }
}

async fn go_on(server: &Server) {
    for n in 0..PEOPLE {
        let event = ["feature.used", "payment.succeeded", "order.completed"][n % 3];
        let body = json!({ "event": event, "userId": format!("k{n:02}") });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    }
}

/// Every run and every mail, by person.
async fn ends(server: &Server) -> (String, String) {
    let runs = "SELECT string_agg(line, ', ' ORDER BY line) FROM (
        SELECT c.external_id || ' ' || s.journey_id || ' ' || s.status
               || ' ' || (SELECT count(*) FROM journey_steps t WHERE t.state_id = s.id) AS line
        FROM journey_states s JOIN contacts c ON c.id = s.contact_id) AS lines";
    let mails = "SELECT string_agg(line, ', ' ORDER BY line) FROM (
        SELECT to_email || ' ' || template_key || ' ' || status AS line FROM email_sends) AS lines";
    (server.text(runs).await, server.text(mails).await)
}

/// The lines one of them has and the other has not.
fn differences(found: &str, expected: &str) -> Vec<String> {
    let lines = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let (found, expected) = (lines(found), lines(expected));
    let extra = found.iter().filter(|line| !expected.contains(line));
    let extra = extra.map(|line| format!("+ {line}"));
    let missing = expected.iter().filter(|line| !found.contains(line));
    let missing = missing.map(|line| format!("- {line}"));
    let mut all: Vec<String> = extra.chain(missing).collect();
    if all.is_empty() && found.len() != expected.len() {
        all.push(format!(
            "{} lines instead of {}",
            found.len(),
            expected.len()
        ));
    }
    all
}

/// Workers in processes of their own, one after the other, each with a clock that runs on from where
/// the one before it was killed.
struct Workers<'a> {
    server: &'a Server,
    variables: [(&'a str, &'a str); 5],
}

impl Workers<'_> {
    async fn live(&self, factor: u32, done: impl AsyncFn() -> bool) {
        let wall = Clock::system().now().to_rfc3339();
        let clock = format!("{}/{wall}/{factor}", self.server.now().to_rfc3339());
        let mut variables = self.variables.to_vec();
        variables.push(("HOGSEND_TEST_CLOCK", &clock));
        let began = std::time::Instant::now();
        let mut worker = Process::start("worker", free_port(), &variables);
        while !done().await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        worker.kill();
        self.server.clock.advance(began.elapsed() * factor);
    }

    /// Kills one worker after the other until the clock has gone on for so many hours.
    async fn kill_until(&self, hours: i64) -> usize {
        let end = begin_time() + chrono::TimeDelta::hours(hours);
        let mut kills = 0;
        while self.server.now() < end {
            let lives = Duration::from_millis(rand::rng().random_range(50..600));
            let until = std::time::Instant::now() + lives;
            self.live(FAST, async || std::time::Instant::now() >= until)
                .await;
            kills += 1;
        }
        kills
    }

    /// Lets a worker live until everyone has come that far, or for as long as a busy machine may take.
    async fn reach(&self, expected: &(String, String), factor: u32) -> (String, String) {
        let until = std::time::Instant::now() + Duration::from_secs(180);
        self.live(factor, async || {
            ends(self.server).await == *expected || std::time::Instant::now() >= until
        })
        .await;
        ends(self.server).await
    }
}

fn begin_time() -> chrono::DateTime<chrono::Utc> {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, with a clock that a busy machine cannot follow: cargo xtask long"]
async fn journeys_end_the_same_whoever_is_killed() {
    let calm = Server::with(Store::native().await, &[]).await;
    begin(&calm).await;
    calm.drain().await;
    calm.advance(Duration::from_secs(6 * 3_600)).await;
    let halfway = ends(&calm).await;
    go_on(&calm).await;
    for _ in 0..100 {
        calm.advance(Duration::from_secs(3_600)).await;
    }
    let expected = ends(&calm).await;
    calm.stop().await;
    assert!(
        expected.0.contains("churn-prevention exited"),
        "{}",
        expected.0
    );
    assert!(
        expected.0.contains("churn-prevention completed"),
        "{}",
        expected.0
    );

    let store = Store::native().await;
    let database_url = store.url().to_owned();
    let data = tempfile::tempdir().unwrap();
    let server = Server::with(store, &[]).await;
    let workers = Workers {
        server: &server,
        // Half a second of the fast clock.
        variables: worker_variables(&database_url, data.path(), "3600"),
    };
    begin(&server).await;
    let mut kills = workers.kill_until(6).await;
    // What comes next ends runs, so everyone has to have come as far as under the calm worker. The
    // next thing is due after a day, which this leaves far away.
    workers.reach(&halfway, SLOW).await;
    go_on(&server).await;
    kills += workers.kill_until(84).await;
    // What the killed ones left is done first, or the clock would run ahead of it.
    let began = std::time::Instant::now();
    let caught_up = Duration::from_secs(10);
    workers
        .live(SLOW, async || began.elapsed() >= caught_up)
        .await;
    let found = workers.reach(&expected, MEDIUM).await;
    assert_eq!(differences(&found.0, &expected.0), Vec::<String>::new());
    assert_eq!(differences(&found.1, &expected.1), Vec::<String>::new());
    println!(
        "{kills} kills, {} mails",
        server.count("SELECT count(*) FROM email_sends").await
    );
    let files = std::fs::read_dir(data.path().join("outbox"))
        .unwrap()
        .count() as i64;
    let sent = server
        .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
        .await;
    assert_eq!(files, sent);
    server.stop().await;
}
