//! The OpenAPI document and its page.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Server, Store};

const ADMIN: (&str, &str) = ("ADMIN_API_KEY", "the-key-of-the-environment");

async fn start() -> Server {
    Server::with(Store::native().await, &[ADMIN]).await
}

/// Method, path and operation of everything in the document.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_ascii_uppercase().parse().unwrap();
            all.push((method, path.clone(), operation.clone()));
        }
    }
    all
}

/// A path with something in the place of its parameters.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            "01900000-0000-7000-8000-000000000000"
        } else {
            part
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn call(server: &Server, method: &Method, path: &str, key: Option<&str>) -> StatusCode {
    let mut request = Request::builder()
        .method(method)
        .uri(filled(path))
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    let answer = server
        .request(request.body(Body::from("{}")).unwrap())
        .await;
    answer.status
}

#[tokio::test]
async fn the_document_is_as_it_was_agreed_on() {
    let server = start().await;
    let document = server.get("/openapi.json").await.json();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_json_snapshot!("openapi", document));
    server.stop().await;
}

#[tokio::test]
async fn every_operation_of_the_document_is_routed_and_told_in_full() {
    let server = start().await;
    let document = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let status = call(&server, &method, &path, Some(ADMIN.1)).await;
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{name}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{name}: {id} is taken");
        assert!(operation["summary"].is_string(), "{name} says nothing");
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}");
    }
    // References lead somewhere.
    let text = document.to_string();
    for found in text.split("\"$ref\":\"#").skip(1) {
        let pointer = found.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    server.stop().await;
}

/// Routes of the contract are written with `routes!`, which takes no handler without a path item.
#[test]
fn no_route_goes_past_the_document() {
    let source = include_str!("../../src/http/router.rs");
    let (contract, development) = source.split_once("fn development(").unwrap();
    assert!(!contract.contains(".route("), "write it with routes!");
    let (development, rest) = development.split_once("\n}").unwrap();
    assert!(!rest.contains(".route("), "write it with routes!");
    for route in development.split(".route(\"").skip(1) {
        let known = ["/\"", "/openapi.json", "/docs", "/outbox"];
        assert!(known.iter().any(|path| route.starts_with(path)), "{route}");
    }
}

#[tokio::test]
async fn every_operation_takes_the_scope_the_document_tells() {
    let server = start().await;
    let scopes = ["read", "journey-admin", "full-admin", "ingest", "events"];
    let mut keys = Vec::new();
    for scope in scopes {
        let request = Request::post("/v1/admin/api-keys")
            .header(header::AUTHORIZATION, format!("bearer {}", ADMIN.1))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(
                json!({ "name": scope, "scopes": [scope] }).to_string(),
            ));
        let made = server.request(request.unwrap()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        keys.push(made.json()["key"].as_str().unwrap().to_owned());
    }
    let document = server.get("/openapi.json").await.json();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let anonymous = call(&server, &method, &path, None).await;
        let Some(security) = operation["security"].as_array() else {
            let open = [
                "/v1/health",
                "/v1/webhooks/",
                "/v1/email/",
                "/v1/t/",
                "/api/auth/",
            ];
            assert!(
                open.iter().any(|start| path.starts_with(start)),
                "{name} is open to all"
            );
            continue;
        };
        assert_eq!(anonymous, StatusCode::UNAUTHORIZED, "{name}");
        let needed = security.iter().filter_map(|one| one["key"][0].as_str());
        let needed: Vec<&str> = needed.collect();
        let takes = |scope: &str| needed.contains(&scope);
        for (scope, key) in scopes.iter().zip(&keys) {
            let enough = match *scope {
                "full-admin" => true,
                "journey-admin" => takes("journey-admin") || takes("read"),
                "ingest" => takes("ingest") || takes("events"),
                scope => takes(scope),
            };
            let status = call(&server, &method, &path, Some(key)).await;
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{name} with {scope}");
            let refused = status == StatusCode::FORBIDDEN;
            assert_eq!(
                refused, !enough,
                "{name} needs {needed:?}, came with {scope}: {status}"
            );
            // The limits are another test's.
            server.clock.advance(std::time::Duration::from_secs(1));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_page_brings_all_it_needs_and_production_has_none() {
    let server = start().await;
    let page = server.get("/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    let text = page.text();
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "{text}"
    );
    for part in text.split("=\"/").skip(1) {
        let path = format!("/{}", part.split('"').next().unwrap());
        let file = server.get(&path).await;
        assert_eq!(file.status, StatusCode::OK, "{path}");
        assert!(file.body.len() > 100, "{path}");
        let policy = &file.headers[header::CONTENT_SECURITY_POLICY];
        assert!(policy.to_str().unwrap().contains("script-src 'self';"));
    }
    server.stop().await;

    let production = Server::with(
        Store::native().await,
        &[
            ("NODE_ENV", "production"),
            ("DATABASE_URL", "postgres://localhost/unused"),
            ("RESEND_API_KEY", "re_test"),
            ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
        ],
    )
    .await;
    for path in ["/", "/docs", "/openapi.json", "/docs/start.js", "/outbox"] {
        assert_eq!(
            production.get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    production.stop().await;
}

#[tokio::test]
async fn the_document_lists_the_words_that_the_store_takes() {
    let server = start().await;
    let document = server.get("/openapi.json").await.json();
    for (schema, table, column) in [
        ("EmailStatus", "email_sends", "status"),
        ("StateStatus", "journey_states", "status"),
        ("DeliveryStatus", "webhook_deliveries", "status"),
        ("DeliveryStatus", "alert_history", "status"),
        ("ImportStatus", "import_jobs", "status"),
        ("SuppressionReason", "suppressions", "reason"),
    ] {
        let mut conn = server.app.db.conn().await.unwrap();
        let rule: String = sqlx::query_scalar(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint
             WHERE conrelid = $1::regclass AND conname = $2",
        )
        .bind(table)
        .bind(format!("{table}_{column}_check"))
        .fetch_one(&mut *conn)
        .await
        .unwrap_or_else(|error| panic!("{table}.{column}: {error}"));
        let stored: BTreeSet<&str> = rule.split('\'').skip(1).step_by(2).collect();
        let told = document["components"]["schemas"][schema]["enum"].as_array();
        let told = told.unwrap_or_else(|| panic!("{schema} is no enumeration"));
        let told: BTreeSet<&str> = told.iter().filter_map(Value::as_str).collect();
        assert_eq!(told, stored, "{table}.{column}");
    }
    server.stop().await;
}
