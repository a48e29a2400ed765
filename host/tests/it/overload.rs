//! More than can be answered: the rest is turned away soon, and nobody who is well suffers.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use serde_json::json;
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Store;
use crate::support::admin::{KEY, server};
use crate::support::process::{Process, free_port, until};

/// As many as are worked on and wait, and 300 more.
const REQUESTS: usize = 512 + 2_048 + 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_turned_away_and_what_is_taken_is_stored() {
    let server = std::sync::Arc::new(server().await);
    // The database stands still for events.
    let mut conn = server.app.db.conn().await.unwrap();
    let mut blocker = conn.begin().await.unwrap();
    sqlx::query("LOCK TABLE user_events IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *blocker)
        .await
        .unwrap();
    let requests: Vec<_> = (0..REQUESTS)
        .map(|n| {
            let server = server.clone();
            tokio::spawn(async move {
                let body = json!({ "event": "e", "userId": format!("u{n}") });
                let answer = server.call(Method::POST, "/v1/ingest", KEY, Some(&body));
                let answer = answer.await;
                (
                    answer.status,
                    answer.headers.get(header::RETRY_AFTER).cloned(),
                )
            })
        })
        .collect();
    // Everyone who does not work by now is told, while the database still stands.
    let turned_away = REQUESTS - 512;
    until("the rest is turned away", async || {
        requests.iter().filter(|one| one.is_finished()).count() == turned_away
    })
    .await;
    for (path, status) in [
        ("/v1/health", StatusCode::OK),
        ("/v1/email/unsubscribe?token=x", StatusCode::BAD_REQUEST),
        (
            "/v1/t/c/00000000-0000-0000-0000-000000000000",
            StatusCode::NOT_FOUND,
        ),
    ] {
        assert_eq!(server.get(path).await.status, status, "{path}");
    }
    let contacts = server
        .call(Method::GET, "/v1/admin/contacts", KEY, None)
        .await;
    assert_eq!(contacts.status, StatusCode::OK);
    blocker.rollback().await.unwrap();
    drop(conn);
    let (mut taken, mut refused) = (0, 0);
    for one in futures_util::future::join_all(requests).await {
        match one.unwrap() {
            (StatusCode::ACCEPTED, None) => taken += 1,
            (StatusCode::SERVICE_UNAVAILABLE, Some(after)) => {
                assert_eq!(after, "2");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((taken, refused), (512, turned_away));
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 512);
    std::sync::Arc::into_inner(server).unwrap().stop().await;
}

/// 2,000 connections that say little: half of them trickle a head, half of them a body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_clients_keep_nobody_waiting() {
    let limit = hogsend::http::open_file_limit();
    assert!(
        limit.is_none_or(|limit| limit > 4_096),
        "{limit:?} files are too few for this test"
    );
    let store = Store::native().await;
    hogsend::db::migrate(store.db()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let variables = [
        ("DATABASE_URL", store.url()),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
        (
            "BETTER_AUTH_SECRET",
            "a secret of tests, long enough for all",
        ),
        ("ADMIN_API_KEY", KEY),
    ];
    let api = Process::start("api", free_port(), &variables);
    let http = hogsend::http_client::http_client();
    until("the API answers", async || {
        http.get(api.url("/v1/health")).send().await.is_ok()
    })
    .await;

    let mut slow = Vec::new();
    for n in 0..2_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
        let said = if n % 2 == 0 {
            "POST /v1/events HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned()
        } else {
            format!(
                "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
                 content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{\"name\":"
            )
        };
        stream.write_all(said.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for n in 0..50 {
        let body = json!({ "event": "e", "userId": format!("u{n}") });
        let answer = http
            .post(api.url("/v1/ingest"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .timeout(Duration::from_secs(10))
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
    }
    // They are all still there: not one was answered or cut off to make room.
    let mut buffer = [0; 16];
    for stream in &mut slow {
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut buffer)).await;
        assert!(read.is_err(), "{read:?}");
    }
    drop(api);
    store.remove().await;
}
