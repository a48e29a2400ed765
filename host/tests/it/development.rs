//! What `hogsend dev` shows on its own machine, and to nobody else.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Answer, Server, Store, posthog};

const PAGES: [&str; 6] = [
    "/",
    "/outbox",
    "/docs",
    "/docs/start.js",
    "/docs/theme.css",
    "/openapi.json",
];

async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    server.request(request).await
}

#[tokio::test]
async fn the_start_page_shows_the_next_step_and_recent_activity() {
    let server = Server::with(
        Store::native().await,
        &[("EVENT_ALIASES", "signed_up=user.created")],
    )
    .await;
    let page = server.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    for told in [
        "0 events",
        "curl -X POST http://localhost:3002/v1/webhooks/posthog",
        "href=\"/docs\"",
        "href=\"/outbox\"",
        "<code>signed_up</code> is stored as <code>user.created</code>",
    ] {
        assert!(
            page.text().contains(told),
            "{told} is not in {}",
            page.text()
        );
    }
    server
        .post(
            "/v1/ingest",
            &json!({ "event": "usr.created", "userId": "u" }),
        )
        .await;
    let page = server.get("/").await.text();
    assert!(
        page.contains("1 event,") && page.contains("did you mean <code>user.created</code>"),
        "{page}"
    );
    server.stop().await;
}

#[tokio::test]
async fn other_host_names_and_proxies_get_no_page_and_no_foreign_page_reads_one() {
    let server = Server::start(Store::native().await).await;
    for path in PAGES {
        for refused in [
            &[("host", "evil.test")][..],
            &[("host", "localhost.evil.test:3002")],
            &[
                ("host", "localhost:3002"),
                ("x-forwarded-for", "203.0.113.9"),
            ],
        ] {
            let answer = ask(&server, Method::GET, path, refused, Value::Null).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {refused:?}");
        }
        let own = [("host", "localhost:3002"), ("origin", "https://evil.test")];
        let answer = ask(&server, Method::GET, path, &own, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
    // The API answers under every host name.
    let foreign = [("host", "evil.test"), ("origin", "https://app.example.com")];
    let answer = ask(&server, Method::GET, "/v1/health", &foreign, Value::Null).await;
    assert_ne!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.headers.contains_key("access-control-allow-origin"));
    server.stop().await;
}

#[tokio::test]
async fn other_websites_cannot_use_the_routes_that_development_leaves_open() {
    let server = Server::start(Store::native().await).await;
    let event = json!({ "event": "a.b", "userId": "u" });
    let hook = posthog("1", "a.b", "u", "u@example.com", "U");
    for (path, body) in [("/v1/ingest", &event), ("/v1/webhooks/posthog", &hook)] {
        for origin in ["https://evil.test", "null", "http://localhost.evil.test"] {
            let answer = ask(
                &server,
                Method::POST,
                path,
                &[("origin", origin)],
                body.clone(),
            )
            .await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {origin}");
        }
    }
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
    for origin in ["http://localhost:5173", "http://127.0.0.1:8080"] {
        let answer = ask(
            &server,
            Method::POST,
            "/v1/ingest",
            &[("origin", origin)],
            event.clone(),
        )
        .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mail_is_shown_with_working_links_and_a_missing_one_with_a_way_back() {
    let server = Server::start(Store::native().await).await;
    server
        .post(
            "/v1/webhooks/posthog",
            &posthog("1", "user.created", "u", "u@example.com", "U"),
        )
        .await;
    server.drain().await;
    let id = server.text("SELECT id::text FROM email_sends").await;
    let page = server.get(&format!("/outbox/{id}")).await.text();
    assert!(
        page.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""),
        "{page}"
    );
    let mail = server.get(&format!("/outbox/{id}/html")).await;
    assert!(mail.text().contains("<base target=\"_blank\">"));
    let policy = mail.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("sandbox allow-popups allow-popups-to-escape-sandbox;"),
        "{policy}"
    );
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let answer = ask(&server, Method::GET, "/outboxes", &browser, Value::Null).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("<a href=\"/outbox\">"),
        "{}",
        answer.text()
    );
    let answer = server.get("/v1/nothing").await;
    assert_eq!(answer.json(), json!({ "error": "Not found" }));
    for lost in [
        "/outbox/nonsense",
        "/outbox/00000000-0000-0000-0000-000000000000",
    ] {
        let answer = server.get(lost).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(
            answer.text().contains("<a href=\"/outbox\">"),
            "{}",
            answer.text()
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn event_aliases_are_stored_under_the_canonical_name() {
    let server = Server::with(
        Store::native().await,
        &[("EVENT_ALIASES", "signed_up=user.created")],
    )
    .await;
    server
        .post(
            "/v1/webhooks/posthog",
            &posthog("1", "signed_up", "u1", "u1@example.com", "U"),
        )
        .await;
    let event = json!({ "name": "signed_up", "userId": "u2", "email": "u2@example.com" });
    server.post("/v1/events", &event).await;
    server.post("/v1/events/batch", &json!({ "events": [{ "name": "signed_up", "userId": "u3", "email": "u3@example.com" }] })).await;
    server.drain().await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'user.created'")
            .await,
        3
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'signed_up'")
            .await,
        0
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_states WHERE journey_id = 'activation-welcome'")
            .await,
        3
    );
    // No journey listens for these names, and the page says so.
    for _ in 0..2 {
        server
            .post(
                "/v1/ingest",
                &json!({ "event": "user_created", "userId": "u4" }),
            )
            .await;
    }
    server
        .post(
            "/v1/ingest",
            &json!({ "event": "something.else", "userId": "u4" }),
        )
        .await;
    let unheard = server.app.naming.unheard();
    assert_eq!(unheard.len(), 2);
    assert_eq!(
        (unheard[0].name.as_str(), unheard[0].count),
        ("user_created", 2)
    );
    assert_eq!(unheard[0].nearest.as_deref(), Some("user.created"));
    assert_eq!(unheard[1].nearest, None);
    server.stop().await;
}

#[tokio::test]
async fn reserved_event_names_are_refused_from_callers() {
    let server = Server::start(Store::native().await).await;
    for name in [
        "email.clicked",
        "journey.completed",
        "segment.entered",
        "contact.created",
        "campaign.sent",
    ] {
        let event = json!({ "event": name, "userId": "u" });
        let answer = server.post("/v1/ingest", &event).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(answer.json()["error"]["issues"][0]["path"], "event");
        let event = json!({ "name": name, "userId": "u" });
        let answer = server.post("/v1/events", &event).await;
        assert_eq!(
            answer.json()["error"]["issues"][0]["path"],
            "name",
            "{}",
            answer.text()
        );
        let answer = server
            .post("/v1/events/batch", &json!({ "events": [event] }))
            .await;
        assert_eq!(
            answer.json()["error"]["issues"][0]["path"],
            "events.0.name",
            "{}",
            answer.text()
        );
        let answer = server
            .post(
                "/v1/webhooks/posthog",
                &posthog(name, name, "u", "u@example.com", "U"),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(
            answer.json()["reason"]
                .as_str()
                .unwrap()
                .contains("Hogsend's own events"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
    server
        .post(
            "/v1/ingest",
            &json!({ "event": "emails.read", "userId": "u" }),
        )
        .await;
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 1);
    server.stop().await;
}
