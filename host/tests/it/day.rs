//! A day of mails through an unreliable provider that accepts five requests a second, by workers
//! that are killed: no duplicates, none lost, and the ledger agrees.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use rand::Rng as _;
use serde_json::json;

use crate::support::process::{Process, free_port, worker_variables};
use crate::support::resend::{Resend, Weather};
use crate::support::{Server, Store, amount};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_mails_through_provider_faults_and_kills() {
    let mails = amount(600, 10_000);
    let resend = Resend::start().await;
    resend.weather(Weather {
        fault: 4,
        late_fault: 4,
        closed: 4,
        silence: 4,
        limit: 5,
    });
    let url = resend.url();
    let store = Store::native().await;
    let database_url = store.url().to_owned();
    let data = tempfile::tempdir().unwrap();
    let provider = [
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", url.as_str()),
    ];
    let server = Server::with(store, &provider).await;
    server.use_wall_clock();
    let mut variables = provider.to_vec();
    variables.extend(worker_variables(&database_url, data.path(), "8"));

    let began = Instant::now();
    stream::iter(0..mails)
        .for_each_concurrent(32, |n| {
            let server = &server;
            async move {
                let body = json!({ "event": "user.created", "userId": format!("d{n}"), "userEmail": format!("d{n}@example.com") });
                assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
            }
        })
        .await;
    let stored = began.elapsed();
    let open = "SELECT (SELECT count(*) FROM journey_states WHERE status IN ('active', 'waiting') AND current_node_id = 'start') + (SELECT count(*) FROM email_sends WHERE status IN ('queued', 'sending')) + (SELECT count(*) FROM email_batches WHERE outcome IS NULL)";
    let mut kills = 0;
    let mut first = Process::start("worker", free_port(), &variables);
    let mut second = Process::start("worker", free_port(), &variables);
    let deadline = Instant::now() + Duration::from_secs(60 + mails as u64 / 10);
    let mut next_kill = Instant::now();
    while server.count(open).await > 0 {
        assert!(
            Instant::now() < deadline,
            "{} are left",
            server.count(open).await
        );
        if Instant::now() >= next_kill {
            let victim = if kills % 2 == 0 {
                &mut first
            } else {
                &mut second
            };
            if kills > 0 {
                victim.kill();
                *victim = Process::start("worker", free_port(), &variables);
            }
            kills += 1;
            next_kill =
                Instant::now() + Duration::from_millis(rand::rng().random_range(500..4_000));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed() - stored;
    first.kill();
    second.kill();

    let accepted = resend.accepted();
    let (limited, faults) = resend.troubles();
    let requests = resend.seen().len();
    let sum = "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM email_sends GROUP BY status) AS sums";
    let ledger = server.text(sum).await;
    eprintln!(
        "{mails} mails in {:.1} s ({:.0} a second), {requests} answered requests, {limited} over the limit, {faults} went wrong, {kills} kills; ledger: {ledger}",
        took.as_secs_f64(),
        mails as f64 / took.as_secs_f64()
    );
    let mut people: HashMap<&str, usize> = HashMap::new();
    for (_, mail) in &accepted {
        *people.entry(mail["to"][0].as_str().unwrap()).or_default() += 1;
    }
    let twice: Vec<_> = people.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
    assert_eq!(people.len(), mails, "mails were lost");
    assert_eq!(ledger, format!("sent {mails}"));
    // Every mail of the ledger is one the provider accepted, with the id it returned.
    let mut conn = server.app.db.conn().await.unwrap();
    let known: Vec<(String, String)> =
        sqlx::query_as("SELECT to_email, message_id FROM email_sends")
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    drop(conn);
    let taken: HashMap<&str, &str> = accepted
        .iter()
        .map(|(id, mail)| (mail["to"][0].as_str().unwrap(), id.as_str()))
        .collect();
    for (to, id) in &known {
        assert_eq!(taken[to.as_str()], id);
    }
    assert!(faults > 0 && kills > 2, "the test shows nothing");
    server.stop().await;
}
