//! Four days of journeys under workers that are killed again and again are at every moment where they
//! are under one that lives.
//!
//! The clock runs fast and stops every two hours, until all that is due has been done. So what takes
//! long, be it a kill or a busy machine, makes a step at most two hours late; the journeys leave more
//! room than that around the moments at which the runs are compared.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use hogsend::clock::Clock;
use rand::Rng as _;
use serde_json::json;

use crate::support::process::{Process, free_port, until, worker_variables};
use crate::support::{Server, Store};

/// An hour a second.
const FACTOR: i32 = 3_600;
/// Half a second of that clock.
const LEASE_SECONDS: &str = "1800";
const PEOPLE: usize = 30;
/// Workers that are killed before the clock stops, as long as there is something to do.
const KILLS: usize = 10;
/// A machine that does much else may take longer, and then more kills fall before the first step.
const READY_MAX: Duration = Duration::from_secs(3);

/// How far apart the moments are at which the clock stops. In the last hour before each nobody is
/// killed: leases of those who were end in it.
const STOPS: TimeDelta = TimeDelta::hours(2);
const KILLED_FOR: TimeDelta = TimeDelta::hours(1);
/// When people go on, and the first runs are compared.
const HALFWAY: TimeDelta = TimeDelta::hours(6);
/// When what is left sleeps for days.
const END: TimeDelta = TimeDelta::hours(106);

fn beginning() -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

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

/// Every run with its steps, and every mail, by person.
struct Ends {
    runs: Vec<String>,
    mails: Vec<String>,
}

impl Ends {
    async fn of(server: &Server) -> Self {
        let runs = "SELECT string_agg(line, ', ' ORDER BY line) FROM (
            SELECT c.external_id || ' ' || s.journey_id || ' ' || s.status
                   || ' ' || (SELECT count(*) FROM journey_steps t WHERE t.state_id = s.id) AS line
            FROM journey_states s JOIN contacts c ON c.id = s.contact_id) AS lines";
        let mails = "SELECT string_agg(line, ', ' ORDER BY line) FROM (
            SELECT to_email || ' ' || template_key || ' ' || status AS line FROM email_sends) AS lines";
        let lines = async |sql| {
            let text = server.text(sql).await;
            text.split(", ").map(str::to_owned).collect::<Vec<_>>()
        };
        Self {
            runs: lines(runs).await,
            mails: lines(mails).await,
        }
    }
}

/// The lines that `all` has more often than `others`.
fn beyond<'a>(all: &'a [String], others: &[String]) -> Vec<&'a str> {
    let mut others: Vec<&str> = others.iter().map(String::as_str).collect();
    let new = all.iter().filter(|line| {
        let same = others.iter().position(|other| other == line);
        same.map(|at| others.swap_remove(at)).is_none()
    });
    new.map(String::as_str).collect()
}

/// What the killed workers left undone, and what they did beyond what is right.
fn compare(moment: &str, found: &Ends, expected: &Ends) {
    for (found, expected) in [
        (&found.runs, &expected.runs),
        (&found.mails, &expected.mails),
    ] {
        let differences = (beyond(found, expected), beyond(expected, found));
        assert_eq!(
            differences,
            (Vec::new(), Vec::new()),
            "{moment}: too much, and missing"
        );
    }
}

/// Workers in processes of their own, one after the other.
struct Workers<'a> {
    server: &'a Server,
    variables: [(&'a str, &'a str); 5],
    kills: usize,
    /// Runs and mails that somebody held who was killed.
    cut_off: i64,
}

impl Workers<'_> {
    /// Lets a worker live until `done`, with a clock that runs on from where the one before was killed
    /// and stands at `stop`; then kills it.
    async fn live(&mut self, stop: DateTime<Utc>, done: impl AsyncFn() -> bool) {
        let (now, wall) = (self.server.now(), Clock::system().now());
        let clock = [now, wall].map(|at| at.to_rfc3339()).join("/");
        let clock = format!("{clock}/{FACTOR}/{}", stop.to_rfc3339());
        let mut variables = self.variables.to_vec();
        variables.push(("HOGSEND_TEST_CLOCK", &clock));
        let mut worker = Process::start("worker", free_port(), &variables);
        while !done().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        worker.kill();
        let shown = Clock::parse(&clock).unwrap().now();
        let went_on = (shown - now).to_std().unwrap_or_default();
        self.server.clock.advance(went_on);
        self.kills += 1;
        self.cut_off += held(self.server).await;
    }

    /// Kills workers, each at a moment nobody chose, while there is something to do before the clock
    /// stops.
    async fn kill(&mut self, stop: DateTime<Utc>, ready: Duration) {
        for _ in 0..KILLS {
            if undone(self.server, stop).await == 0 {
                break;
            }
            // From before it has connected to well after it has begun to work.
            let longest = ready + Duration::from_millis(250);
            let lives = rand::rng().random_range(Duration::from_millis(20)..longest);
            let end = Instant::now() + lives;
            self.live(stop, async || Instant::now() >= end).await;
        }
    }

    /// Brings the clock to `moment` and lets a worker that lives do all that is due by then.
    async fn settle(&self, moment: DateTime<Utc>) {
        let left = (moment - self.server.now()).to_std().unwrap_or_default();
        self.server.clock.advance(left);
        // The database may still hold what a worker had locked that was killed just now.
        until("all is done that is due", async || {
            self.server.drain().await;
            undone(self.server, moment).await == 0
        })
        .await;
    }
}

/// Runs and mails that somebody holds.
async fn held(server: &Server) -> i64 {
    server
        .count(
            "SELECT (SELECT count(*) FROM journey_states WHERE claim IS NOT NULL)
                  + (SELECT count(*) FROM email_sends WHERE claim IS NOT NULL)",
        )
        .await
}

/// Runs and mails that are due by then or that somebody holds.
async fn undone(server: &Server, moment: DateTime<Utc>) -> i64 {
    let mut conn = server.app.db.conn().await.unwrap();
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM journey_states WHERE claim IS NOT NULL OR wake_at <= $1)
              + (SELECT count(*) FROM email_sends WHERE claim IS NOT NULL OR next_attempt_at <= $1)",
    )
    .bind(moment)
    .fetch_one(&mut *conn)
    .await
    .unwrap()
}

/// The moments at which the clock stops, up to the end.
fn stops() -> impl Iterator<Item = TimeDelta> {
    (1..).map(|n| STOPS * n).take_while(|stop| *stop <= END)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo xtask long"]
async fn journeys_end_the_same_whoever_is_killed() {
    let calm = Server::with(Store::native().await, &[]).await;
    begin(&calm).await;
    calm.drain().await;
    let mut halfway = None;
    for stop in stops() {
        let left = (beginning() + stop - calm.now()).to_std().unwrap();
        calm.advance(left).await;
        if stop == HALFWAY {
            halfway = Some(Ends::of(&calm).await);
            go_on(&calm).await;
        }
    }
    let (halfway, expected) = (halfway.unwrap(), Ends::of(&calm).await);
    calm.stop().await;
    for end in ["exited", "completed"] {
        let line = format!("churn-prevention {end}");
        let there = expected.runs.iter().any(|run| run.contains(&line));
        assert!(there, "{line}: {:?}", expected.runs);
    }

    let store = Store::native().await;
    let database_url = store.url().to_owned();
    let folder = tempfile::tempdir().unwrap();
    // One folder for all, as on one machine.
    let data = [("HOGSEND_DATA_DIR", folder.path().to_str().unwrap())];
    let server = Server::with(store, &data).await;
    let mut workers = Workers {
        server: &server,
        variables: worker_variables(&database_url, folder.path(), LEASE_SECONDS),
        kills: 0,
        cut_off: 0,
    };
    begin(&server).await;
    // How long a worker takes here and now from its start to its first mail.
    let began = Instant::now();
    let sent = "SELECT count(*) FROM email_sends WHERE status = 'sent'";
    workers
        .live(beginning(), async || server.count(sent).await > 0)
        .await;
    let ready = began.elapsed().min(READY_MAX);
    for stop in stops() {
        let moment = beginning() + stop;
        workers.kill(moment - STOPS + KILLED_FOR, ready).await;
        workers.settle(moment).await;
        if stop == HALFWAY {
            compare("halfway", &Ends::of(&server).await, &halfway);
            go_on(&server).await;
        }
    }
    let found = Ends::of(&server).await;
    let files = std::fs::read_dir(folder.path().join("outbox")).unwrap();
    eprintln!(
        "{} runs, {} kills that cut off {} runs and mails, {} mails, {} twice, {} lost",
        found.runs.len(),
        workers.kills,
        workers.cut_off,
        found.mails.len(),
        beyond(&found.mails, &expected.mails).len(),
        beyond(&expected.mails, &found.mails).len(),
    );
    compare("at the end", &found, &expected);
    assert_eq!(files.count() as i64, server.count(sent).await);
    assert!(
        workers.cut_off > 0,
        "no kill fell into any work: the test shows nothing"
    );
    server.stop().await;
}
