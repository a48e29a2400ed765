//! Transactions that meet each other.

use std::sync::atomic::{AtomicU32, Ordering};

use hogsend::db::{self, Tx};
use hogsend::worker;
use serde_json::json;

use crate::on_each_store;
use crate::support::{Server, Store};

/// People in the test of runs that trigger each other's person.
const PEOPLE: usize = 60;

/// The clock stands still, so a run that lost its advance would stay where it is until its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_trigger_each_others_person_never_wait_out_a_lease() {
    let server = Server::start(Store::native().await).await;
    let other = server.replica(&[]).await;
    for round in 0..3 {
        let events: Vec<_> = (0..PEOPLE)
            .map(|n| {
                let friend = format!("u{}", n ^ 1);
                json!({ "name": "s.cross", "userId": format!("u{n}"), "eventProperties": { "friend": friend } })
            })
            .collect();
        let answer = server
            .post("/v1/events/batch", &json!({ "events": events }))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        // The same people named in both orders, while their runs advance on two workers.
        let noise = |descending: bool| {
            let mut names: Vec<usize> = (0..PEOPLE).collect();
            if descending {
                names.reverse();
            }
            let events: Vec<_> = names
                .into_iter()
                .map(|n| {
                    json!({ "name": "s.noise", "userId": format!("u{n}"),
                            "idempotencyKey": format!("{round}-{n}"),
                            "contactProperties": { "round": round } })
                })
                .collect();
            json!({ "events": events })
        };
        let (up, down) = (noise(false), noise(true));
        let (one, two, up, down) = tokio::join!(
            worker::drain(&server.app),
            worker::drain(&other.app),
            server.post("/v1/events/batch", &up),
            other.post("/v1/events/batch", &down),
        );
        one.unwrap();
        two.unwrap();
        assert_eq!((up.status.as_u16(), down.status.as_u16()), (202, 202));
        server.drain().await;
        let open = "SELECT count(*) FROM journey_states WHERE journey_id = 's-cross' AND status <> 'completed'";
        assert_eq!(server.count(open).await, 0);
    }
    let met = "SELECT count(*) FROM user_events WHERE name = 's.met'";
    assert_eq!(server.count(met).await, 3 * PEOPLE as i64);
    let noise = "SELECT count(*) FROM user_events WHERE name = 's.noise'";
    assert_eq!(server.count(noise).await, 3 * PEOPLE as i64);
    other.app.db.close().await;
    server.stop().await;
}

/// Two transactions that lock rows in opposite orders wait for each other, and Postgres ends one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_loses_a_deadlock_runs_again() {
    let server = Server::start(Store::native().await).await;
    server
        .run_sql("CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL)")
        .await;
    server
        .run_sql("INSERT INTO pair VALUES (1, 0), (2, 0)")
        .await;
    let tries = AtomicU32::new(0);
    // Both hold their first row before either asks for its second; only on the first try.
    let both = tokio::sync::Barrier::new(2);
    let run = |first: i32, second: i32| {
        let (tries, both, db) = (&tries, &both, &server.app.db);
        let mut fresh = true;
        async move {
            db.transact(|mut tx: Tx| {
                let meet = std::mem::take(&mut fresh);
                async move {
                    tries.fetch_add(1, Ordering::Relaxed);
                    add(&mut tx, first).await?;
                    if meet {
                        both.wait().await;
                    }
                    add(&mut tx, second).await?;
                    Ok::<_, sqlx::Error>((tx, ()))
                }
            })
            .await
        }
    };
    let (one, two) = tokio::join!(run(1, 2), run(2, 1));
    one.unwrap();
    two.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert_eq!(server.count("SELECT sum(n) FROM pair").await, 4);
    server.stop().await;
}

on_each_store! {
    /// The embedded database has one connection, which has to be free again.
    async fn a_transaction_that_is_not_given_back_changes_nothing(server: Server) {
        server.run_sql("CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL)").await;
        server.run_sql("INSERT INTO pair VALUES (1, 0)").await;
        for rolls_back in [false, true] {
            let work = async |mut tx: Tx| {
                add(&mut tx, 1).await?;
                if rolls_back {
                    tx.rollback().await?;
                }
                db::Result::Ok((None::<Tx>, "nothing to do"))
            };
            assert_eq!(server.app.db.transact(work).await.unwrap(), "nothing to do");
            assert_eq!(server.count("SELECT sum(n) FROM pair").await, 0);
        }
        let work = async |mut tx: Tx| {
            add(&mut tx, 1).await?;
            db::Result::Ok((Some(tx), ()))
        };
        server.app.db.transact(work).await.unwrap();
        assert_eq!(server.count("SELECT sum(n) FROM pair").await, 1);
        server.stop().await;
    }
}

async fn add(tx: &mut Tx, id: i32) -> db::Result<()> {
    sqlx::query("UPDATE pair SET n = n + 1 WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
