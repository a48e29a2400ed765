//! Every process replaced one after another under load, as a deployment does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::Store;
use crate::support::process::{Process, free_port, until, worker_variables};
use crate::support::resend::{Resend, Seen};

/// Clients that send events at the same time.
const CLIENTS: usize = 3;
/// Between two events of a client.
const PAUSE: Duration = Duration::from_millis(30);
/// Every fourth event leads to a mail, the others to a run of three steps.
const MAIL_EVERY: usize = 4;
/// Every third event is sent again with its key, to another API where one is ready.
const AGAIN_EVERY: usize = 3;

async fn is_ready(http: &reqwest::Client, port: u16) -> bool {
    let url = format!("http://127.0.0.1:{port}/v1/health/ready");
    let answer = http.get(url).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

/// Clients behind a load balancer that sends a request only to an API that says it is ready.
struct Clients {
    http: reqwest::Client,
    apis: [u16; 2],
    /// Events that an API accepted.
    accepted: AtomicUsize,
    stop: CancellationToken,
}

impl Clients {
    /// Sends the event to an API that is ready, to that at `turn` first.
    async fn send(&self, turn: usize, event: &Value) {
        loop {
            for at in 0..self.apis.len() {
                let port = self.apis[(turn + at) % self.apis.len()];
                if !is_ready(&self.http, port).await {
                    continue;
                }
                let url = format!("http://127.0.0.1:{port}/v1/ingest");
                let answer = self.http.post(url).json(event).send().await;
                let answer = answer.expect("an API that was ready did not answer");
                assert_eq!(answer.status(), 202, "an API that was ready refused");
                return;
            }
            // The one has become ready and the other has stopped since each was asked.
            tokio::task::yield_now().await;
        }
    }

    /// Sends events until it is stopped. Returns how many.
    async fn run(&self, client: usize) -> usize {
        let mut sent = 0;
        while !self.stop.is_cancelled() {
            let user = format!("c{client}-{sent}");
            let mut event = json!({
                "event": "test.signup", "userId": user, "idempotencyKey": user,
                "properties": { "plan": "pro" },
            });
            if sent % MAIL_EVERY == 0 {
                event["event"] = "user.created".into();
                event["userEmail"] = format!("{user}@example.com").into();
            }
            self.send(client + sent, &event).await;
            if sent % AGAIN_EVERY == 0 {
                self.send(client + sent + 1, &event).await;
            }
            sent += 1;
            self.accepted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        sent
    }

    /// Waits until further events are accepted.
    async fn go_on(&self, meanwhile: &str) {
        let before = self.accepted.load(Ordering::Relaxed);
        until(meanwhile, async || {
            self.accepted.load(Ordering::Relaxed) >= before + CLIENTS
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_replaced_one_after_another_under_load_lose_and_repeat_nothing() {
    let resend = Resend::start().await;
    let url = resend.url();
    let store = Store::native().await;
    let database_url = store.url().to_owned();
    let data = tempfile::tempdir().unwrap();
    let mut variables = vec![
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", url.as_str()),
    ];
    // A lease that would end later than the test: what a worker leaves, it has to hand over.
    variables.extend(worker_variables(&database_url, data.path(), "60"));
    let count = async |sql: &'static str| -> i64 {
        let mut conn = store.db().conn().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap()
    };

    let http = hogsend::http_client::http_client();
    // For each process the port where it says that it is ready.
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let start = |at: usize| {
        if at < 2 {
            return Process::start("api", ports[at], &variables);
        }
        let health = ports[at].to_string();
        let mut variables = variables.clone();
        variables.push(("HEALTH_PORT", health.as_str()));
        Process::start("worker", free_port(), &variables)
    };
    let mut processes = [start(0), start(1), start(2), start(3)];
    for port in ports {
        until("every process is ready", async || {
            is_ready(&http, port).await
        })
        .await;
    }

    let clients = Arc::new(Clients {
        http: http.clone(),
        apis: [ports[0], ports[1]],
        accepted: AtomicUsize::new(0),
        stop: CancellationToken::new(),
    });
    let loads: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let clients = clients.clone();
            tokio::spawn(async move { clients.run(client).await })
        })
        .collect();
    for at in [0, 2, 1, 3] {
        clients.go_on("events are accepted by all").await;
        processes[at].ask_to_end();
        clients.go_on("events are accepted while one stops").await;
        assert_eq!(processes[at].wait(), Some(0));
        clients.go_on("events are accepted without it").await;
        processes[at] = start(at);
        until("it is back", async || is_ready(&http, ports[at]).await).await;
    }
    clients.stop.cancel();
    let (mut events, mut mails) = (0, 0);
    for load in loads {
        let sent = load.await.expect("a request failed");
        events += sent;
        mails += sent.div_ceil(MAIL_EVERY);
    }
    let runs = i64::try_from(events - mails).unwrap();
    let (events, mails) = (
        i64::try_from(events).unwrap(),
        i64::try_from(mails).unwrap(),
    );

    until("every run ended and every mail is sent", async || {
        count("SELECT count(*) FROM journey_states WHERE status = 'completed'").await == runs
            && count("SELECT count(*) FROM email_sends WHERE status = 'sent'").await == mails
    })
    .await;
    for process in &mut processes {
        process.ask_to_end();
    }
    for process in &mut processes {
        assert_eq!(process.wait(), Some(0));
    }
    let stored = "SELECT count(*) FROM user_events WHERE name IN ('test.signup', 'user.created')";
    assert_eq!(
        count(stored).await,
        events,
        "an event was lost or stored twice"
    );
    // What the steps of the runs did, in the order of the steps.
    let fired = "SELECT count(*) FROM user_events WHERE name = 'journey.welcome_fired'";
    assert_eq!(count(fired).await, runs, "a step was repeated");
    let completed = "SELECT count(*) FROM user_events WHERE name = 'journey.completed'";
    assert_eq!(count(completed).await, runs, "a step was repeated");
    assert_eq!(count("SELECT count(*) FROM email_sends").await, mails);
    let cut_off = "SELECT count(*) FROM email_attempts WHERE ended_at IS NULL";
    assert_eq!(count(cut_off).await, 0, "a worker stopped amid an attempt");
    assert_eq!(resend.accepted().len() as i64, mails);
    let carried = |seen: Seen| seen.body.as_array().map_or(1, Vec::len);
    let attempted: usize = resend.seen().into_iter().map(carried).sum();
    assert_eq!(attempted as i64, mails, "a mail was attempted twice");
    eprintln!("{events} events, {runs} runs and {mails} mails while four processes were replaced");
    store.remove().await;
}
