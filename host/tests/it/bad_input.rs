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
            (json!({ "event": "a", "userId": "u", "userEmail": "not an address" }).to_string().into(), "userEmail", "email address"),
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
        assert_eq!(answer.json()["error"]["message"], "email, userId or anonymousId is required");
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
async fn in_production_every_route_needs_a_key_or_secret() {
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

/// Every time parameter, with the usual mistakes.
#[tokio::test]
async fn an_invalid_time_is_refused_with_the_expected_form() {
    let variables = [("ADMIN_API_KEY", "k"), ("RATE_LIMIT_ADMIN", "0")];
    let server = Server::with(Store::native().await, &variables).await;
    let document = server.get("/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap().to_owned();
            if ["since", "until"].contains(&name.as_str()) {
                routes.push((path.replace("{id}", "test-onboarding"), name));
            }
        }
    }
    assert!(routes.len() >= 8, "{routes:?}");
    for (path, name) in &routes {
        for wrong in [
            "-9999-01-01T00:00:00Z",
            "%2B99999-01-01T00:00:00Z",
            "262142-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "yesterday",
            "1767225600",
            "",
            "%00",
        ] {
            let query = format!("{path}?{name}={wrong}");
            let answer = server.call(Method::GET, &query, "k", None).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
            let issue = &answer.json()["error"]["issues"][0];
            assert_eq!(issue["path"], name.as_str(), "{query}");
            assert!(
                issue["message"].as_str().unwrap().contains("RFC 3339"),
                "{query}: {issue}"
            );
        }
        for right in [
            "2026-01-31T09:30:00Z",
            "2026-01-31T09:30:00%2B02:00",
            "2026-01-31T09:30:00+02:00",
            "2026-01-31T09:30:00.123-11:30",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            let query = format!("{path}?{name}={right}");
            let answer = server.call(Method::GET, &query, "k", None).await;
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{query}");
            let text = answer.text();
            assert!(
                answer.status == StatusCode::OK || !text.contains("RFC 3339"),
                "{query}: {text}"
            );
        }
    }
    let mail = |not_after: &str| {
        json!({ "to": "ann@example.com", "template": "password-reset", "notAfter": not_after,
                "props": { "url": "https://acme.test/reset" } })
    };
    for wrong in ["-9999-01-01T00:00:00Z", "+99999-01-01T00:00:00Z", "soon"] {
        let answer = server
            .call(Method::POST, "/v1/emails", "k", Some(&mail(wrong)))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(answer.json()["error"]["issues"][0]["path"], "notAfter");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_reported_and_not_blamed_on_the_request() {
    let server = Server::with(Store::native().await, &[("ADMIN_API_KEY", "k")]).await;
    // The error with which Postgres reports a full disk.
    server
        .run_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;",
        )
        .await;
    server
        .run_sql("CREATE TRIGGER full_disk BEFORE INSERT ON user_events FOR EACH ROW EXECUTE FUNCTION full_disk()")
        .await;
    server
        .run_sql("CREATE TRIGGER full_disk BEFORE INSERT ON api_keys FOR EACH ROW EXECUTE FUNCTION full_disk()")
        .await;
    let event = json!({ "event": "e", "userId": "u1" });
    let key = json!({ "name": "x", "scopes": ["read"] });
    for (path, body) in [("/v1/ingest", event), ("/v1/admin/api-keys", key)] {
        let answer = server.call(Method::POST, path, "k", Some(&body)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("disk is full"), "{error}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    server.stop().await;
}

/// A replayed request.
#[tokio::test]
async fn a_webhook_without_an_id_is_stored_once() {
    let server = Server::start(Store::native().await).await;
    let events = "SELECT count(*) FROM user_events WHERE source = 'posthog'";
    let hook = |user: &str, timed: bool| {
        let mut hook = posthog(
            "0",
            "test.signup",
            user,
            &format!("{user}@example.com"),
            "Ann",
        );
        let event = hook["event"].as_object_mut().unwrap();
        event.remove("uuid");
        if timed {
            event.insert("timestamp".into(), "2026-03-02T08:59:58Z".into());
        }
        hook
    };
    // An event with a timestamp is the same event forever.
    for wait in [0, 1, 299, 86_400] {
        server.clock.advance(std::time::Duration::from_secs(wait));
        let answer = server.post("/v1/webhooks/posthog", &hook("u1", true)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    assert_eq!(server.count(events).await, 1);
    assert_eq!(
        server
            .post("/v1/webhooks/posthog", &hook("u2", true))
            .await
            .status,
        200
    );
    assert_eq!(server.count(events).await, 2);
    // Without a timestamp it may happen again, but not right away.
    server
        .post("/v1/webhooks/posthog", &hook("u3", false))
        .await;
    server
        .post("/v1/webhooks/posthog", &hook("u3", false))
        .await;
    assert_eq!(server.count(events).await, 3);
    server.clock.advance(std::time::Duration::from_secs(600));
    server
        .post("/v1/webhooks/posthog", &hook("u3", false))
        .await;
    assert_eq!(server.count(events).await, 4);
    server.stop().await;
}
