//! What the health page says.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hogsend::db;
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::admin::KEY;
use crate::support::process::{Process, free_port, until};
use crate::support::{Answer, Server, Store};

/// What is told to the first administrator, who just signed up.
async fn whole(server: &Server) -> Answer {
    let account = json!({ "name": "Ann", "email": "ann@example.com", "password": "correct horse" });
    let path = "/api/auth/sign-up/email";
    let signed_up = server.post(path, &account).await;
    let signed_up = match signed_up.status {
        StatusCode::OK => signed_up,
        _ => server.post("/api/auth/sign-in/email", &account).await,
    };
    let cookie = signed_up.headers[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let request = Request::get("/v1/health").header(header::COOKIE, cookie);
    server.request(request.body(Body::empty()).unwrap()).await
}

on_each_store! {
    async fn health_names_every_component_and_plugin(server: Server) {
        let answer = whole(&server).await;
        assert_eq!(answer.status, StatusCode::OK);
        let body = answer.json();
        // No worker has signed in and nobody answers at the Redis address.
        assert_eq!(body["status"], "degraded");
        assert_eq!(body["components"]["database"]["status"], "up");
        assert_eq!(body["components"]["redis"]["status"], "down");
        assert_eq!(body["components"]["worker"]["status"], "down");
        assert_eq!(body["components"]["engine"]["kind"], "embedded");
        assert_eq!(body["schema"]["engine"]["inSync"], true);
        assert_eq!(body["schema"]["engine"]["applied"], body["schema"]["engine"]["required"]);
        assert!(body["uptime"].is_f64());
        let ids: Vec<_> = body["plugins"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
        for id in ["posthog", "resend", "postmark", "ses", "mailgun", "outbox", "lifecycle"] {
            assert!(ids.contains(&id), "{ids:?}");
        }
        let mut conn = server.app.db.conn().await.unwrap();
        let failing = ["Background work fails.".to_owned()];
        let beat = db::Beat { findings: &failing, ..db::Beat::default() };
        db::worker_beat(&mut conn, uuid::Uuid::now_v7(), &beat, server.now()).await.unwrap();
        drop(conn);
        let body = whole(&server).await.json();
        assert_eq!(body["components"]["worker"]["status"], "up");
        assert_eq!(body["components"]["worker"]["count"], 1);
        assert!(body["components"]["worker"]["lastSeenAt"].is_string());
        assert_eq!(body["components"]["engine"]["lagSeconds"], 0);
        let client = &body["schema"]["client"];
        assert_eq!(*client, body["schema"]["engine"]);
        let findings = body["findings"].as_array().unwrap();
        assert!(findings[0].as_str().unwrap().starts_with("Redis is unavailable ("), "{findings:?}");
        assert_eq!(findings[1], failing[0]);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_schema_that_is_behind_is_reported_as_such(server: Server) {
        server.run_sql("DELETE FROM _sqlx_migrations WHERE version = 2").await;
        let answer = server.get("/v1/health").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["status"], "migration_pending");
        assert_eq!(answer.json()["schema"]["engine"], json!({ "inSync": false }));
        assert_eq!(server.get("/v1/health/live").await.status, StatusCode::OK);
        let ready = server.get("/v1/health/ready").await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        server.stop().await;
    }
}

#[tokio::test]
async fn strangers_learn_how_it_is_and_callers_with_a_key_what_it_is() {
    let server = Server::with(
        Store::native().await,
        &[("ADMIN_API_KEY", KEY), ("REDIS_URL", "off")],
    )
    .await;
    for key in ["", "hsk_wrong", "wrong"] {
        let answer = server
            .call(axum::http::Method::GET, "/v1/health", key, None)
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        let mut body = answer.json();
        assert!(body["uptime"].take().is_f64() && body["timestamp"].take().is_string());
        let status = |status: &str| json!({ "status": status });
        assert_eq!(
            body,
            json!({
                "status": "degraded", "uptime": null, "timestamp": null,
                "components": {
                    "database": status("up"), "redis": status("off"), "worker": status("down"),
                    "engine": status("down"),
                },
                "schema": { "engine": { "inSync": true }, "client": { "inSync": true } },
            })
        );
    }
    let answer = server
        .call(axum::http::Method::GET, "/v1/health", KEY, None)
        .await;
    let body = answer.json();
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["findings"].as_array().unwrap().len(), 1, "{body}");
    // Redis that is off is no fault.
    let mut conn = server.app.db.conn().await.unwrap();
    let beat = db::Beat::default();
    db::worker_beat(&mut conn, uuid::Uuid::now_v7(), &beat, server.now())
        .await
        .unwrap();
    drop(conn);
    let healthy = server.get("/v1/health").await.json();
    assert_eq!(healthy["status"], "healthy");
    server.stop().await;
}

/// A worker tells all on its port; an API that is to stop says so before it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_tells_of_its_health_and_a_stopping_api_is_not_ready() {
    let store = Store::native().await;
    db::migrate(store.db()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let (health_port, api_health) = (free_port().to_string(), free_port().to_string());
    let variables = |port| {
        [
            ("DATABASE_URL", store.url()),
            ("HOGSEND_DATA_DIR", data.path().to_str().unwrap()),
            (
                "BETTER_AUTH_SECRET",
                "a secret of tests, long enough for all",
            ),
            ("HEALTH_PORT", port),
        ]
    };
    let worker = Process::start("worker", free_port(), &variables(&health_port));
    let mut api = Process::start("api", free_port(), &variables(&api_health));
    let http = hogsend::http_client::http_client();
    let ask = async |url: String| {
        let answer = http.get(url).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((
            status,
            answer.headers().get("connection").cloned(),
            answer.json::<Value>().await.ok()?,
        ))
    };
    let own = format!("http://127.0.0.1:{health_port}/v1/health");
    until("the worker tells that all is well", async || {
        ask(own.clone())
            .await
            .is_some_and(|(_, _, body)| body["status"] == "healthy" && body["version"].is_string())
    })
    .await;
    let ready = api.url("/v1/health/ready");
    until("the API is ready", async || {
        ask(ready.clone())
            .await
            .is_some_and(|(status, ..)| status == 200)
    })
    .await;
    let stopping = api.url("/v1/health/ready");
    api.ask_to_end();
    until("the API says that it stops", async || {
        ask(stopping.clone())
            .await
            .is_some_and(|(status, connection, body)| {
                // The request before may have met the end half way.
                let stops = body["status"] == "stopping";
                assert!(
                    !stops || status == 503 && connection.is_some_and(|value| value == "close")
                );
                stops
            })
    })
    .await;
    // It still answers meanwhile, and ends by itself.
    assert_eq!(ask(api.url("/v1/health/live")).await.unwrap().0, 200);
    assert_eq!(api.wait(), Some(0));
    drop(worker);
    store.remove().await;
}
