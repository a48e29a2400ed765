//! Durable ingest by 32 concurrent clients, against a bare multi-row insert of the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hogsend::cache::Cache;
use hogsend::catalog::Catalog;
use hogsend::clock::Clock;
use hogsend::contacts::Person;
use hogsend::crew::Crew;
use hogsend::db::{self, Db, NewIdentity};
use hogsend::http_client::http_client;
use hogsend::ingest::{Ingestor, NewEvent};
use hogsend::installed::{Installed, Snapshot};
use hogsend::plugins::{Discovered, Performer};
use hogsend::purpose::ByPurpose;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 32;
const EVENTS: usize = 20_000;
/// People the events are about.
const PEOPLE: usize = 2_000;

pub async fn bench() {
    let (mut conn, name, url) = database().await;
    let db = Db::connect(&url.clone().into(), 16)
        .await
        .expect("a connection");
    db::migrate(&db).await.expect("a schema");

    // The limit: inserts of rows of the same width into a table with the same indexes, in
    // statements of as many rows as there are clients, with the fastest number of connections.
    let mut best = (0, 0.0);
    let mut single = 0.0;
    for connections in [1, 2, 3, 4] {
        let rate = bare(&url, connections).await;
        println!(
            "ingest: bare inserts of {CLIENTS} rows, {connections} connections: {rate:.0} rows/s"
        );
        if connections == 1 {
            single = rate;
        }
        if rate > best.1 {
            best = (connections, rate);
        }
    }
    let ingestor = ingestor(&db).await;
    let first = durable(&ingestor, 0, PEOPLE).await;
    println!(
        "ingest: {CLIENTS} clients, one event a request, of people never seen: {first:.0} events/s"
    );
    let ingested = durable(&ingestor, PEOPLE, EVENTS).await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM user_events WHERE source = 'bench'")
        .fetch_one(&mut *db.conn().await.expect("a connection"))
        .await
        .expect("a count");
    assert_eq!(
        stored as usize,
        PEOPLE + EVENTS,
        "every accepted event is stored"
    );
    println!(
        "ingest: {CLIENTS} clients, one event a request, of people seen before: {ingested:.0} events/s"
    );
    println!(
        "ingest: ratio to one bare connection: {:.2} (limit 0.3), to {} of them: {:.2}",
        ingested / single,
        best.0,
        ingested / best.1
    );

    db.close().await;
    drop_database(&mut conn, &name).await;
}

/// A database for this benchmark: a connection to its server, its name and its URL.
pub async fn database() -> (PgConnection, String, String) {
    let admin = std::env::var("HOGSEND_TEST_DATABASE_URL").expect("run with `cargo xtask bench`");
    let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
    let mut conn = PgConnection::connect(&admin).await.expect("the server");
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut conn)
        .await
        .expect("a database");
    let server = admin.rsplit_once('/').expect("a database name").0;
    let url = format!("{server}/{name}");
    (conn, name, url)
}

pub async fn drop_database(conn: &mut PgConnection, name: &str) {
    let _ = sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(conn)
        .await;
}

fn properties(n: usize) -> Value {
    json!({ "$lib": "web", "plan": "pro", "path": format!("/some/page/{n}"), "n": n, "text": "x".repeat(380) })
}

async fn bare(url: &str, connections: usize) -> f64 {
    let mut setup = PgConnection::connect(url).await.expect("a connection");
    for statement in [
        "DROP TABLE IF EXISTS bare",
        "CREATE TABLE bare (LIKE user_events INCLUDING ALL)",
    ] {
        sqlx::query(statement)
            .execute(&mut setup)
            .await
            .expect("a table");
    }
    let mut pool = Vec::new();
    for _ in 0..connections {
        pool.push(PgConnection::connect(url).await.expect("a connection"));
    }
    let started = Instant::now();
    let share = EVENTS / connections;
    let writers = pool.into_iter().enumerate().map(|(writer, mut conn)| {
        tokio::spawn(async move {
            let mut written = 0;
            while written < share {
                let rows = CLIENTS.min(share - written);
                let ids: Vec<_> = (0..rows).map(|_| uuid::Uuid::now_v7()).collect();
                let names = vec!["page.viewed".to_owned(); rows];
                let bodies: Vec<Value> = (0..rows)
                    .map(|n| properties(writer * share + written + n))
                    .collect();
                sqlx::query(
                    "INSERT INTO bare SELECT id, id, 'bench', name, body, 0, now(), now()
                     FROM unnest($1::uuid[], $2::text[], $3::jsonb[]) AS r (id, name, body)",
                )
                .bind(&ids)
                .bind(&names)
                .bind(&bodies)
                .execute(&mut conn)
                .await
                .expect("an insert");
                written += rows;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    (share * connections) as f64 / started.elapsed().as_secs_f64()
}

async fn ingestor(db: &Db) -> Ingestor {
    let data = std::env::temp_dir().join("hogsend-bench");
    let clock = Clock::system();
    let (found, _) = Discovered::find(None, &data);
    let performer = Performer::new(
        http_client(),
        Arc::new(Cache::connect(None, clock.clone())),
        data,
    );
    let registry = found
        .start(
            &BTreeMap::new(),
            &ByPurpose::default(),
            &[],
            performer,
            clock.clone(),
        )
        .await
        .expect("the plugins");
    let installed = Installed::new(Snapshot {
        catalog: Arc::new(Catalog::new(&registry, None).expect("the journeys")),
        plugins: registry,
        ..Snapshot::default()
    });
    let ingestor = Ingestor::new(db, &clock, &installed);
    let mut crew = Crew::new(CancellationToken::new());
    ingestor.start(&mut crew);
    tokio::spawn(crew.ended());
    ingestor
}

/// Ingests `count` events numbered from `first`, each in its own request, and returns how many were
/// answered, and so committed, per second.
async fn durable(ingestor: &Ingestor, first: usize, count: usize) -> f64 {
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let ingestor = ingestor.clone();
        tokio::spawn(async move {
            for number in (first + client..first + count).step_by(CLIENTS) {
                let Value::Object(properties) = properties(number) else {
                    unreachable!()
                };
                let event = NewEvent {
                    source: "bench".into(),
                    trust: Default::default(),
                    historical: false,
                    caught_up: false,
                    dedupe_key: Some(number.to_string()),
                    name: "page.viewed".into(),
                    person: Person::Names(NewIdentity {
                        external_id: Some(format!("person-{}", number % PEOPLE)),
                        email: Some(format!("person-{}@example.com", number % PEOPLE)),
                        ..NewIdentity::default()
                    }),
                    properties,
                    contact_properties: Default::default(),
                    lists: Default::default(),
                    occurred_at: None,
                    depth: 0,
                    unfit: Vec::new(),
                    traceparent: None,
                };
                ingestor.ingest(vec![event]).await.expect("stored");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    count as f64 / started.elapsed().as_secs_f64()
}
