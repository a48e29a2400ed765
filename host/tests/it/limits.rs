//! How often a caller may come.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use serde_json::json;

use crate::support::{Answer, Server, Store};

const ADMIN: &str = "the key of the environment";
const KEYS: &str = "/v1/admin/api-keys";

fn number(answer: &Answer, name: &str) -> u64 {
    answer.headers[name].to_str().unwrap().parse().unwrap()
}

async fn list(server: &Server, key: &str) -> Answer {
    server.call(Method::GET, KEYS, key, None).await
}

#[tokio::test]
async fn a_hundred_admin_requests_a_minute_are_answered_and_refused_ones_do_not_count() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", ADMIN)]).await;
    for taken in 1..=100 {
        let answer = list(&server, ADMIN).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(number(&answer, "x-ratelimit-limit"), 100);
        assert_eq!(number(&answer, "x-ratelimit-remaining"), 100 - taken);
        if taken == 50 {
            server.clock.advance(Duration::from_secs(30));
        }
    }
    for _ in 0..60 {
        let refused = list(&server, ADMIN).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.json()["error"], "Too many requests");
        assert_eq!(number(&refused, "retry-after"), 30);
        assert_eq!(number(&refused, "x-ratelimit-remaining"), 0);
    }
    // The first fifty leave the window.
    server.clock.advance(Duration::from_secs(30));
    assert_eq!(
        number(&list(&server, ADMIN).await, "x-ratelimit-remaining"),
        49
    );
    // Events are not limited, and say nothing of limits.
    let event = json!({ "event": "test.signup", "userId": "u1" });
    let answer = server
        .call(Method::POST, "/v1/ingest", ADMIN, Some(&event))
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(!answer.headers.contains_key("x-ratelimit-limit"));
    server.stop().await;
}

#[tokio::test]
async fn redis_counts_for_all_replicas_and_each_key_apart() {
    let redis = std::env::var("HOGSEND_TEST_REDIS_URL").unwrap();
    let variables = [
        ("ADMIN_API_KEY", ADMIN),
        ("REDIS_URL", redis.as_str()),
        ("RATE_LIMIT_ADMIN", "4"),
        ("RATE_LIMIT_EVENTS", "1"),
    ];
    let one = Server::with(Store::native().await, &variables).await;
    let other = one.replica(&variables).await;
    // Keys of this test's own: the Redis is shared with others.
    let mut keys = Vec::new();
    for _ in 0..2 {
        // Made as the environment's key would be limited over all tests.
        let made = hogsend_key(&one).await;
        keys.push(made);
    }
    for (server, remaining) in [(&one, 3), (&other, 2), (&one, 1), (&other, 0)] {
        assert_eq!(
            number(&list(server, &keys[0]).await, "x-ratelimit-remaining"),
            remaining
        );
    }
    let refused = list(&one, &keys[0]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers[header::RETRY_AFTER], "60");
    assert_eq!(
        list(&other, &keys[0]).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(list(&one, &keys[1]).await.status, StatusCode::OK);
    let event = json!({ "event": "test.signup", "userId": "u1" });
    for status in [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS] {
        let answer = one
            .call(Method::POST, "/v1/ingest", &keys[0], Some(&event))
            .await;
        assert_eq!(answer.status, status);
    }
    one.clock.advance(Duration::from_secs(60));
    assert_eq!(list(&one, &keys[0]).await.status, StatusCode::OK);
    other.stop().await;
    one.stop().await;
}

/// A full-admin key, made without counting for anybody.
async fn hogsend_key(server: &Server) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let random: [u8; 32] = *uuid::Uuid::new_v4()
        .as_bytes()
        .repeat(2)
        .first_chunk()
        .unwrap();
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
    let key = format!("hsk_{secret}");
    let mut conn = server.app.db.conn().await.unwrap();
    sqlx::query("INSERT INTO api_keys (id, name, key_hash, key_prefix, scopes, created_at) VALUES ($1, 'test', $2, 'hsk_', '{full-admin}', now())")
        .bind(uuid::Uuid::new_v4())
        .bind(sha2::Sha256::digest(&key).to_vec())
        .execute(&mut *conn)
        .await
        .unwrap();
    key
}
