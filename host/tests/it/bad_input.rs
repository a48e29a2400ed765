//! Every bad input gets a clear 4xx, and nothing is stored.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::{Server, Store, posthog};

on_each_store! {
    async fn malformed_events_are_refused_by_field_and_nothing_is_stored(server: Server) {
        let long = "n".repeat(10_000);
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!({ "d": deep });
        }
        let cases: Vec<(Vec<u8>, &str, &str)> = vec![
            (b"{".to_vec(), "", "not valid JSON"),
            (b"".to_vec(), "", "not valid JSON"),
            (b"[]".to_vec(), "", "JSON object"),
            (b"{} {}".to_vec(), "", "not valid JSON"),
            (b"{\"event\":\"a\xff\",\"userId\":\"u\"}".to_vec(), "", "not valid JSON"),
            (vec![b'['; 100_000], "", ""),
            (json!({ "userId": "u" }).to_string().into(), "event", "required"),
            (json!({ "event": "a" }).to_string().into(), "userId", "required"),
            (json!({ "event": 5, "userId": "u" }).to_string().into(), "event", "expected a string"),
            (json!({ "event": "a", "userId": "u", "properties": [1] }).to_string().into(), "properties", "expected a map"),
            (json!({ "event": long, "userId": "u" }).to_string().into(), "event", "at most 200"),
            (json!({ "event": " ", "userId": "u" }).to_string().into(), "event", "empty"),
            (json!({ "event": "a", "userId": "u", "properties": { "x": deep } }).to_string().into(), "properties.x.d.d", "nested"),
            (json!({ "event": "a", "userId": "u", "userEmail": "not an address" }).to_string().into(), "userEmail", "e-mail address"),
            (json!({ "event": "a", "userId": "u", "timestamp": "yesterday" }).to_string().into(), "timestamp", "RFC 3339"),
            (json!({ "event": "a", "userId": "u", "timestamp": "9999-01-01T00:00:00Z" }).to_string().into(), "timestamp", "future"),
            (json!({ "event": "a", "userId": "u", "timestamp": "0001-01-01T00:00:00Z" }).to_string().into(), "timestamp", "1970"),
            (b"{\"event\":\"a\",\"userId\":\"u\",\"properties\":{\"n\":1e999}}".to_vec(), "", "number out of range"),
        ];
        for (body, path, message) in cases {
            let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
            let answer = server.post_raw("/v1/ingest", body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}: {}", answer.text());
            let error = answer.json();
            assert_eq!(error["success"], false);
            assert_eq!(error["error"]["name"], "ValidationError");
            let issue = &error["error"]["issues"][0];
            assert!(issue["path"].as_str().unwrap().starts_with(path), "{shown}: {error}");
            let all = error["error"]["issues"].to_string();
            assert!(all.contains(message), "{shown}: {error}");
        }
        let answer = server.post("/v1/events", &json!({ "name": "a" })).await;
        assert_eq!(answer.json()["error"]["message"], "email or userId is required");
        nothing_stored(&server).await;
        server.stop().await;
    }
}

async fn nothing_stored(server: &Server) {
    for table in [
        server.count("SELECT count(*) FROM user_events").await,
        server.count("SELECT count(*) FROM contacts").await,
        server.count("SELECT count(*) FROM event_keys").await,
        server.count("SELECT count(*) FROM journey_states").await,
    ] {
        assert_eq!(table, 0);
    }
}

on_each_store! {
    async fn webhooks_are_refused_with_what_is_wrong(server: Server) {
        let unknown = server.post("/v1/webhooks/nobody", &json!({})).await;
        assert_eq!((unknown.status, unknown.json()), (StatusCode::NOT_FOUND, json!({ "error": "Unknown webhook source" })));
        let good = posthog("1", "a", "u", "a@b.co", "A");
        let mut cases: Vec<(Vec<u8>, &str)> = vec![(b"{".to_vec(), ""), (b"{}".to_vec(), "event")];
        for (pointer, value, word) in [
            ("/event/event", json!(5), "event"),
            ("/event/distinct_id", Value::Null, "distinct_id"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            cases.push((bad.to_string().into(), word));
        }
        for (body, word) in cases {
            let answer = server.post_raw("/v1/webhooks/posthog", body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{word}: {}", answer.text());
            assert_eq!(answer.json()["error"], "Invalid payload");
            assert!(answer.json()["details"].as_str().unwrap().contains(word), "{}", answer.text());
        }
        nothing_stored(&server).await;
        server.stop().await;
    }
}

on_each_store! {
    async fn wrong_methods_types_sizes_and_routes_are_named(server: Server) {
        let large = format!("{{\"event\":\"a\",\"userId\":\"u\",\"properties\":{{\"x\":\"{}\"}}}}", "x".repeat(2 * 1024 * 1024));
        for path in ["/v1/ingest", "/v1/events", "/v1/webhooks/posthog"] {
            let answer = server.post_raw(path, large.clone().into_bytes()).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
            assert!(answer.json()["error"].as_str().unwrap().contains("1024 KiB"));
        }
        let request = Request::post("/v1/ingest").header("content-type", "text/plain").body(Body::from("{}"));
        let answer = server.request(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let request = Request::builder().method(Method::DELETE).uri("/v1/ingest").body(Body::empty());
        let answer = server.request(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers["allow"], "POST");
        assert!(answer.json()["error"].is_string());
        let answer = server.get("/nowhere").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::NOT_FOUND, json!({ "error": "Not found" })));
        assert!(answer.headers.contains_key("x-request-id"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        nothing_stored(&server).await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_or_key_is_refused_and_nothing_is_stored() {
    let variables = [
        ("POSTHOG_WEBHOOK_SECRET", "hush-hush"),
        ("ADMIN_API_KEY", "hsk_right"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let webhook = posthog("1", "a", "u", "a@b.co", "A").to_string();
    let event = json!({ "event": "a", "userId": "u" }).to_string();
    let post = async |path: &str, header: Option<(&str, &str)>, body: &str| {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        server
            .request(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    for wrong in [
        None,
        Some(("x-posthog-webhook-secret", "hush")),
        Some(("authorization", "Bearer hush-hushh")),
        Some(("authorization", "hush-hush")),
    ] {
        let answer = post("/v1/webhooks/posthog", wrong, &webhook).await;
        assert_eq!(
            (answer.status, answer.json()),
            (
                StatusCode::UNAUTHORIZED,
                json!({ "error": "Invalid webhook secret" })
            )
        );
    }
    for wrong in [
        None,
        Some(("authorization", "Bearer hsk_wrong")),
        Some(("authorization", "Basic hsk_right")),
    ] {
        let answer = post("/v1/ingest", wrong, &event).await;
        assert_eq!(
            (answer.status, answer.json()),
            (StatusCode::UNAUTHORIZED, json!({ "error": "Unauthorized" }))
        );
    }
    nothing_stored(&server).await;
    assert_eq!(
        post(
            "/v1/webhooks/posthog",
            Some(("x-posthog-webhook-secret", "hush-hush")),
            &webhook
        )
        .await
        .status,
        200
    );
    assert_eq!(
        post(
            "/v1/webhooks/posthog",
            Some(("authorization", "Bearer hush-hush")),
            &webhook
        )
        .await
        .status,
        200
    );
    assert_eq!(
        post(
            "/v1/ingest",
            Some(("authorization", "Bearer hsk_right")),
            &event
        )
        .await
        .status,
        202
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_nothing_is_open() {
    let variables = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://elsewhere/x"),
        ("RESEND_API_KEY", "re_x"),
        ("RESEND_FROM_EMAIL", "a@b.co"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let webhook = server
        .post(
            "/v1/webhooks/posthog",
            &posthog("1", "a", "u", "a@b.co", "A"),
        )
        .await;
    assert_eq!(webhook.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        server
            .post("/v1/ingest", &json!({ "event": "a", "userId": "u" }))
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(server.get("/outbox").await.status, StatusCode::NOT_FOUND);
    assert!(
        server
            .get("/v1/health")
            .await
            .headers
            .contains_key("strict-transport-security")
    );
    nothing_stored(&server).await;
    server.stop().await;
}
