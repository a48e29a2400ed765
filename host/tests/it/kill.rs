//! A worker killed at any moment, again and again: one mail for each decision, none lost.

use std::time::Duration;

use rand::Rng as _;

use crate::support::process::{Process, free_port, until, worker_variables};
use crate::support::resend::Resend;
use crate::support::{Server, Store, amount};

/// How often it is killed, with each change and in the long tests.
const KILLS: (usize, usize) = (50, 200);
/// A machine that does much else may take longer, and then more kills fall before the first mail.
const READY_MAX: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_every_decision_is_one_accepted_mail() {
    let kills = amount(KILLS.0, KILLS.1);
    let resend = Resend::start().await;
    // The provider takes a mail at once and answers late, so that kills fall between its
    // acceptance and our commit.
    resend.answer_after(Duration::from_millis(40));
    let url = resend.url();
    let store = Store::native().await;
    let database_url = store.url().to_owned();
    let data = tempfile::tempdir().unwrap();
    let provider = [
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", url.as_str()),
    ];
    // This process only takes events in; the workers that are killed do the rest.
    let server = Server::with(store, &provider).await;
    server.use_wall_clock();
    let mut variables = provider.to_vec();
    variables.extend(worker_variables(&database_url, data.path(), "2"));

    // How long a worker takes here and now from its start to its first mail.
    let body = serde_json::json!({
        "event": "user.created", "userId": "first", "userEmail": "first@example.com",
    });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    let began = std::time::Instant::now();
    let mut worker = Process::start("worker", free_port(), &variables);
    until("a mail is accepted", async || !resend.accepted().is_empty()).await;
    let ready = began.elapsed().min(READY_MAX);
    worker.kill();

    let mut decisions = 1;
    for round in 0..kills {
        for n in 0..3 {
            let user = format!("k{round}-{n}");
            let body = serde_json::json!({
                "event": "user.created", "userId": user, "userEmail": format!("{user}@example.com"),
            });
            assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
            decisions += 1;
        }
        let mut worker = Process::start("worker", free_port(), &variables);
        // From before it has connected to well after it has sent.
        let longest = ready + Duration::from_millis(250);
        let lives = rand::rng().random_range(Duration::from_millis(20)..longest);
        tokio::time::sleep(lives).await;
        worker.kill();
    }
    let interrupted = server
        .count("SELECT count(*) FROM email_attempts WHERE ended_at IS NULL")
        .await;
    let mut worker = Process::start("worker", free_port(), &variables);
    until("every decision ended", async || {
        server
            .count("SELECT count(*) FROM email_sends WHERE status IN ('queued', 'sending')")
            .await
            == 0
            && server.count("SELECT count(*) FROM email_sends").await == decisions
            && server
                .count("SELECT count(*) FROM journey_states WHERE status = 'waiting'")
                .await
                == decisions
    })
    .await;
    worker.kill();

    let accepted = resend.accepted();
    let requests = resend.seen().len();
    eprintln!(
        "{kills} kills, {decisions} decisions, {} accepted mails, {requests} answered requests, {interrupted} attempts cut off",
        accepted.len()
    );
    assert_eq!(
        accepted.len() as i64,
        decisions,
        "a mail was lost or sent twice"
    );
    let mut people: Vec<_> = accepted
        .iter()
        .map(|(_, mail)| mail["to"][0].as_str().unwrap())
        .collect();
    people.sort_unstable();
    people.dedup();
    assert_eq!(people.len() as i64, decisions);
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
            .await,
        decisions
    );
    assert!(
        interrupted > 0,
        "no kill fell into an attempt: the test shows nothing"
    );
    server.stop().await;
}
