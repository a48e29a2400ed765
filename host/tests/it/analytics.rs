//! Person properties from PostHog's API.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method};
use axum::routing::get;
use serde_json::{Value, json};

use crate::support::admin::{KEY, call, get as get_admin};
use crate::support::{Server, Store};

type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// PostHog's list of people, asked for one.
async fn people(
    State(requests): State<Requests>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> axum::Json<Value> {
    let key = headers["authorization"].to_str().unwrap().to_owned();
    requests.lock().unwrap().push((query[0].1.clone(), key));
    axum::Json(
        json!({ "results": [{ "id": "p", "properties": { "seats": 7, "email": "other@example.com" } }] }),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_begins_with_what_posthog_knows_asked_once() {
    let requests = Requests::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/api/projects/{id}/persons/", get(people))
        .with_state(requests.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let redis = std::env::var("HOGSEND_TEST_REDIS_URL").unwrap();
    let variables = [
        ("POSTHOG_HOST", host.as_str()),
        ("POSTHOG_PERSONAL_API_KEY", "phx_x"),
        ("REDIS_URL", &redis),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    // A person of this test alone: Redis is shared.
    let user = format!("u&{}", uuid::Uuid::new_v4());
    for event in ["t.hourly", "t.slow"] {
        let body = json!({ "name": event, "userId": user, "contactProperties": { "email": "own@example.com" } });
        server.post("/v1/events", &body).await;
        server.drain().await;
    }
    assert_eq!(
        *requests.lock().unwrap(),
        [(user.clone(), "Bearer phx_x".to_owned())]
    );
    assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE (person->'properties'->>'seats')::int = 7").await, 2);
    // The contact's own word counts more.
    assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE person->'properties'->>'email' = 'own@example.com'").await, 2);
    let mut redis = redis::Client::open(redis)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let ttl: i64 = redis::cmd("TTL")
        .arg(format!("posthog:person:{user}"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!((290..=300).contains(&ttl), "{ttl}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_posthog_keeps_nobody_out() {
    let variables = [
        ("POSTHOG_HOST", "http://127.0.0.1:1"),
        ("POSTHOG_PERSONAL_API_KEY", "phx_x"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    server
        .post("/v1/events", &json!({ "name": "t.once", "userId": "u" }))
        .await;
    server.drain().await;
    assert_eq!(
        server.text("SELECT status FROM journey_states").await,
        "completed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_analytics_refuses_is_kept_and_told_again_on_request() {
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let told = Requests::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let (refusing, telling) = (refuses.clone(), told.clone());
    let router = Router::new().fallback(async move |body: String| {
        if refusing.load(std::sync::atomic::Ordering::SeqCst) {
            return (axum::http::StatusCode::UNAUTHORIZED, "no such project");
        }
        telling.lock().unwrap().push((body, String::new()));
        (axum::http::StatusCode::OK, "{}")
    });
    tokio::spawn(axum::serve(listener, router).into_future());
    let variables = [
        ("POSTHOG_HOST", host.as_str()),
        ("POSTHOG_API_KEY", "phc_x"),
        ("ADMIN_API_KEY", KEY),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let body = json!({ "name": "t.mail", "userId": "ann", "email": "ann@example.com" });
    let answer = server.call(Method::POST, "/v1/events", KEY, Some(&body));
    assert_eq!(answer.await.status, 202);
    server.drain().await;
    let dead = get_admin(&server, "/dlq?type=analytics").await.json();
    assert_eq!(dead["total"], 1, "{dead}");
    assert_eq!(dead["dlq"][0]["subject"], "email.sent");
    let error = dead["dlq"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("posthog: "), "{error}");
    assert!(!error.contains("phc_x"));

    refuses.store(false, std::sync::atomic::Ordering::SeqCst);
    let path = format!("/dlq/{}/retry", dead["dlq"][0]["id"].as_str().unwrap());
    let retried = call(&server, Method::POST, &path, json!({})).await;
    assert_eq!(retried.status, 202);
    server.drain().await;
    assert_eq!(get_admin(&server, "/dlq").await.json()["total"], 0);
    assert!(told.lock().unwrap()[0].0.contains("email.sent"));
    server.stop().await;
}
