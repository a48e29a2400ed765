//! What a plugin of an event source is given, and what it may answer.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

use crate::support::{Server, Store};

const EVENTS: &str = "SELECT count(*) FROM user_events";

#[tokio::test]
async fn a_plugin_gets_the_request_as_it_came() {
    let server = Server::start(Store::native().await).await;
    let path = "/v1/webhooks/test-journeys?a=%2Fb&utm_source=x&a=c";
    let request = Request::post(path).body(Body::from(" not {json\u{fffd} "));
    let answer = server.request(request.unwrap()).await;
    assert_eq!(answer.json()["event"], "test.seen", "{}", answer.text());
    let seen = server
        .text("SELECT properties::text FROM user_events")
        .await;
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(
        seen,
        json!({ "method": "POST", "path": "/v1/webhooks/test-journeys",
                "query": "a=%2Fb&utm_source=x&a=c", "body": " not {json\u{fffd} " })
    );
    server.stop().await;
}

#[tokio::test]
async fn a_challenge_is_answered_as_plain_text_and_a_get_stores_nothing() {
    let server = Server::start(Store::native().await).await;
    let path = "/v1/webhooks/test-journeys";
    let answer = server.get(&format!("{path}?challenge=1158201444")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.text(), "1158201444");
    let long = format!("{path}?challenge={}", "x".repeat(20_000));
    assert_eq!(server.get(&long).await.text().chars().count(), 4_096);
    let events = server.get(path).await;
    assert_eq!(
        (&events.json()["ok"], &events.json()["skipped"]),
        (&json!(true), &json!(true))
    );
    let head = server.call(Method::HEAD, path, "", None).await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(server.count(EVENTS).await, 0);
    // What comes by POST is no challenge.
    let posted = server
        .post(&format!("{path}?challenge=1"), &json!({}))
        .await;
    assert_eq!(posted.json()["skipped"], true);
    for unknown in ["/v1/webhooks/nothing", "/v1/webhooks/outbox"] {
        assert_eq!(
            server.get(unknown).await.status,
            StatusCode::NOT_FOUND,
            "{unknown}"
        );
    }
    let wrong = Request::get(path)
        .header("x-test-secret", "wrong")
        .body(Body::empty());
    assert_eq!(
        server.request(wrong.unwrap()).await.status,
        StatusCode::UNAUTHORIZED
    );
    server.stop().await;
}
