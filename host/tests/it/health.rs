//! What the health page says.

use axum::http::StatusCode;
use hogsend::db;

use crate::on_each_store;
use crate::support::Server;

on_each_store! {
    async fn health_names_every_component_and_plugin(server: Server) {
        let answer = server.get("/v1/health").await;
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
        for id in ["posthog", "resend", "postmark", "outbox", "lifecycle"] {
            assert!(ids.contains(&id), "{ids:?}");
        }
        let mut conn = server.app.db.conn().await.unwrap();
        db::worker_beat(&mut conn, uuid::Uuid::now_v7(), server.now()).await.unwrap();
        drop(conn);
        let body = server.get("/v1/health").await.json();
        assert_eq!(body["components"]["worker"]["status"], "up");
        assert!(body["components"]["worker"]["lastSeenAt"].is_string());
        server.stop().await;
    }
}

on_each_store! {
    async fn a_schema_that_is_behind_is_reported_as_such(server: Server) {
        server.run_sql("DELETE FROM _sqlx_migrations WHERE version = 2").await;
        let answer = server.get("/v1/health").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["status"], "migration_pending");
        assert_eq!(answer.json()["schema"]["engine"]["pending"][0], "0002_events_hypertable");
        server.stop().await;
    }
}
