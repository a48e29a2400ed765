//! The table of events as a hypertable of TimescaleDB. It runs where the server of the tests has the extension
//! (CONTRIBUTING.md says how to give one), and does nothing elsewhere.

use std::time::Duration;

use axum::http::Method;
use hogsend::worker;
use serde_json::json;

use crate::support::admin::{KEY, call, get};
use crate::support::process;
use crate::support::{Server, Store};

const DAY: Duration = Duration::from_secs(86_400);

/// A server on a hypertable; None where there is no TimescaleDB.
async fn server(more: &[(&str, &str)]) -> Option<Server> {
    let more = [&[("ADMIN_API_KEY", KEY)], more].concat();
    let server = Server::with(Store::native().await, &more).await;
    let installed = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'";
    if server.count(installed).await == 0 {
        eprintln!("not run: the server of the tests has no TimescaleDB");
        server.stop().await;
        return None;
    }
    Some(server)
}

fn migrate(server: &Server) -> String {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DATABASE_URL", server.database_url())];
    let (code, said) = process::run(folder.path(), &["migrate"], &variables);
    assert_eq!(code, Some(0), "{said}");
    said
}

async fn happens(server: &Server, user: &str, key: &str, days_ago: u32) {
    let body = json!({
        "event": "bought", "userId": user, "idempotencyKey": key, "userEmail": format!("{user}@example.com"),
        "timestamp": (server.now() - DAY * days_ago).to_rfc3339(),
    });
    let answer = server
        .call(Method::POST, "/v1/ingest", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

const EVENTS: &str = "SELECT count(*) FROM user_events";
const CHUNKS: &str =
    "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'user_events'";
const COMPRESSED: &str = "SELECT count(*) FROM timescaledb_information.chunks
                          WHERE hypertable_name = 'user_events' AND is_compressed";
const COMPRESS: &str = "SELECT compress_chunk(chunk) FROM show_chunks('user_events') AS chunk";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_events_are_read_joined_deduplicated_and_erased() {
    let Some(server) = server(&[("TRUSTED_SOURCES", "posthog")]).await else {
        return;
    };
    let said = migrate(&server);
    assert!(
        said.contains("TimescaleDB compresses events after 90 days"),
        "{said}"
    );
    assert!(!migrate(&server).contains("compresses"), "once is enough");
    for (user, days_ago) in [("ann", 100), ("ann", 60), ("bob", 100), ("eve", 100)] {
        happens(&server, user, &format!("{user} {days_ago}"), days_ago).await;
    }
    server.run_sql(COMPRESS).await;
    assert_eq!(server.count(COMPRESSED).await, 2);

    // What was stored is known, and a late event goes into a chunk that is compressed.
    happens(&server, "ann", "ann 100", 100).await;
    happens(&server, "ann", "ann late", 100).await;
    assert_eq!(server.count(EVENTS).await, 5);
    let of = async |user: &str| {
        let page = get(&server, &format!("/events?userId={user}&limit=1")).await;
        page.json()["total"].as_u64().unwrap()
    };
    assert_eq!((of("ann").await, of("bob").await), (3, 1));

    // Eve turns out to be Bob: her events become his.
    let same = json!({ "event": {
        "uuid": "0190d6a0-0000-7000-8000-000000000001", "event": "$merge_dangerously", "distinct_id": "bob",
        "properties": { "alias": "eve" },
    } });
    let joined = server.post("/v1/webhooks/posthog", &same).await;
    assert_eq!(joined.status, 200, "{}", joined.text());
    assert_eq!(of("bob").await, 3, "with the event that joined them");

    let erased = call(&server, Method::DELETE, "/contacts/ann", json!({})).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(server.count(EVENTS).await, 3);
    // Not with NOT IN, whose rows TimescaleDB 2.26 counts wrong in compressed chunks.
    let hers = "SELECT count(*) FROM user_events e WHERE NOT EXISTS (
                    SELECT FROM contacts c WHERE c.id = e.contact_id AND c.external_id = 'bob')";
    assert_eq!(server.count(hers).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_past_retention_are_dropped_whole() {
    let Some(server) = server(&[("RETENTION_EVENTS_DAYS", "100")]).await else {
        return;
    };
    migrate(&server);
    happens(&server, "ann", "first", 0).await;
    server.advance(DAY * 50).await;
    happens(&server, "ann", "second", 0).await;
    assert_eq!(server.count(CHUNKS).await, 2);
    server.run_sql(COMPRESS).await;
    server.advance(DAY * 60).await;
    worker::tidy(&server.app).await.unwrap();
    assert_eq!(
        (server.count(EVENTS).await, server.count(CHUNKS).await),
        (1, 1)
    );
    // A duplicate of an event whose chunk is gone is still one.
    happens(&server, "ann", "second", 0).await;
    assert_eq!(server.count(EVENTS).await, 1);
    server.stop().await;
}
