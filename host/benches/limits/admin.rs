//! The lists and reports of a running `hogsend api` over 200,000 people, a million mails and two
//! million events, against one pass over the table of mails.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::http::{KEY, answers, free_port, start, variables};
use super::ingest::{database, drop_database};

const TIMES: usize = 12;

/// Typical queries: everything, rare rows, no rows, one contact, all time.
const PATHS: &[&str] = &[
    "contacts",
    "contacts?search=user777",
    "contacts?search=nobody",
    "contacts/user-5/timeline",
    "journeys/journey-3/states",
    "journeys/journey-3/states?status=failed",
    "events",
    "events?name=rare",
    "events?userId=user-5",
    "emails",
    "emails?status=failed",
    "emails?templateKey=none",
    "emails?userId=user-5",
    "emails?to=user5@people.example",
    "metrics/overview",
    "metrics/journeys",
    "metrics/emails",
    "metrics/emails?since=2020-01-01T00:00:00Z",
    "metrics/emails/deliverability",
    "metrics/events",
    "dlq",
];

pub async fn bench() {
    let (mut admin, name, url) = database().await;
    let data = std::env::temp_dir().join(format!("hogsend-bench-admin-{}", std::process::id()));
    let variables = variables(&url, &data);
    let migrated = start("migrate", free_port(), &variables).wait();
    assert!(migrated.expect("migrations").success());
    let mut conn = PgConnection::connect(&url).await.expect("a connection");
    for statement in [SEED, "VACUUM ANALYZE"] {
        sqlx::raw_sql(statement)
            .execute(&mut conn)
            .await
            .expect("rows");
    }
    let mut passes = Vec::new();
    for _ in 0..TIMES {
        let started = Instant::now();
        sqlx::query("SELECT sum(attempts) FROM email_sends")
            .execute(&mut conn)
            .await
            .expect("a pass");
        passes.push(started.elapsed());
    }
    let pass = half(&mut passes);
    println!(
        "admin: a pass over a million mails takes {:.1} ms",
        milliseconds(pass)
    );

    let port = free_port();
    let mut api = start("api", port, &variables);
    answers(port).await;
    let client = hogsend::http_client::http_client();
    let ask = async |path: &str| {
        let started = Instant::now();
        let answer = client
            .get(format!("http://127.0.0.1:{port}/v1/admin/{path}"))
            .bearer_auth(KEY)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let bytes = answer.bytes().await.expect("a body").len();
        (started.elapsed(), bytes)
    };
    for path in PATHS {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            times.push(ask(path).await.0);
        }
        let middle = half(&mut times);
        println!(
            "admin: {path}: p50 {:.1} ms, most {:.1} ms; ratio to a pass {:.2}",
            milliseconds(middle),
            milliseconds(times[TIMES - 1]),
            middle.as_secs_f64() / pass.as_secs_f64()
        );
    }
    let (took, bytes) = ask("contacts/export?format=csv").await;
    println!(
        "admin: 200000 contacts exported in {:.1} s, {} MiB",
        took.as_secs_f64(),
        bytes >> 20
    );
    let _ = api.kill();
    let _ = api.wait();
    let _ = conn.close().await;
    let _ = std::fs::remove_dir_all(data);
    drop_database(&mut admin, &name).await;
}

/// The median; sorts `times`.
fn half(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const SEED: &str = include_str!("admin.sql");
