//! The health of the process and of its dependencies.

mod out;
mod probe;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use self::out::HealthOut;
use super::auth;
use super::serve::draining::Draining;
use crate::app::App;
use crate::http::wire::openapi::Routes;
use utoipa_axum::routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(show_health))
        .routes(routes!(show_live))
        .routes(routes!(show_ready))
}

/// Marks requests on `HEALTH_PORT`, which only operators can reach.
#[derive(Clone, Copy)]
pub struct Operator;

/// Shows the health of the installation.
///
/// 200 while the database answers and its schema is up to date; 503 otherwise. Without a worker, with an
/// engine or a configured Redis that does not answer, or with a blocked provider, the status is `degraded`
/// and the code still 200. Without a key or session the response contains only the statuses.
#[utoipa::path(
    get, path = "/v1/health", tag = "health",
    responses((status = 200, description = "The database answers and its schema is up to date", body = HealthOut), (status = 503, description = "The database does not answer, or its schema is not up to date", body = HealthOut)),
)]
pub async fn show_health(
    State(app): State<App>,
    operator: Option<Extension<Operator>>,
    parts: Parts,
) -> (StatusCode, Json<HealthOut>) {
    let known = async {
        match operator {
            Some(_) => true,
            None => {
                let known = auth::is_known(&app, &parts);
                let known = tokio::time::timeout(probe::PROBE, known).await;
                known.unwrap_or_default()
            }
        }
    };
    let (known, health) = tokio::join!(known, probe::look(&app));
    let code = if health.serves() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let health = if known {
        health
    } else {
        health.for_strangers()
    };
    (code, Json(health))
}

#[derive(Serialize, ToSchema)]
pub struct AliveOut {
    #[schema(example = "live")]
    status: &'static str,
}

/// Liveness: the process answers, whatever the state of its dependencies.
#[utoipa::path(
    get, path = "/v1/health/live", tag = "health",
    responses((status = 200, description = "The process answers", body = AliveOut)),
)]
pub async fn show_live() -> Json<AliveOut> {
    Json(AliveOut { status: "live" })
}

/// Readiness: whether requests should be routed to this process. It is ready while the database
/// answers, its schema is up to date, and the process is not shutting down.
#[utoipa::path(
    get, path = "/v1/health/ready", tag = "health",
    responses((status = 200, description = "The process can serve requests", body = AliveOut), (status = 503, description = "The process cannot serve requests, or is shutting down", body = AliveOut)),
)]
pub async fn show_ready(
    State(app): State<App>,
    draining: Option<Extension<Draining>>,
) -> impl IntoResponse {
    let stops = draining.is_some_and(|draining| draining.0.0.is_cancelled());
    let (code, status) = if stops {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if probe::is_ready(&app).await {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    (code, Json(AliveOut { status }))
}

/// The same endpoints for `HEALTH_PORT`, which only operators can reach: they show all details without
/// a key.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/health", get(show_health))
        .route("/v1/health/live", get(show_live))
        .route("/v1/health/ready", get(show_ready))
        .layer(Extension(Operator))
        .with_state(app)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::out::*;

    #[test]
    fn strangers_are_told_how_the_parts_are_and_nothing_else() {
        let names = SchemaNames {
            applied: Some(Some("0001_x".into())),
            required: Some(Some("0002_y".into())),
            pending: Some(vec!["0002_y".into()]),
        };
        let component = |status| Component {
            status,
            latency_ms: Some(3),
        };
        let told = HealthOut {
            status: Health::Degraded,
            uptime: 1.5,
            timestamp: chrono::DateTime::UNIX_EPOCH,
            components: Components {
                database: component(Status::Up),
                redis: component(Status::Off),
                worker: WorkerComponent {
                    status: Status::Down,
                    last_seen_at: Some(chrono::DateTime::UNIX_EPOCH),
                    count: Some(0),
                },
                engine: EngineComponent {
                    kind: Some("embedded".into()),
                    status: Status::Down,
                    version: Some("1".into()),
                    lag_seconds: Some(9),
                },
            },
            schema: Schema {
                engine: SchemaOut {
                    in_sync: false,
                    names: names.clone(),
                },
                client: SchemaOut {
                    in_sync: true,
                    names,
                },
            },
            details: Details {
                version: Some("1"),
                providers: Some(Vec::new()),
                queue: None,
                plugins: Some(Vec::new()),
                pending_changes: Some(1),
                event_aliases: Some([("signed_up".into(), "user.created".into())].into()),
                paused: Some(Vec::new()),
                findings: Some(vec!["No worker is running.".into()]),
            },
        };
        let told = serde_json::to_value(told.for_strangers()).unwrap();
        assert_eq!(
            told,
            json!({
                "status": "degraded", "uptime": 1.5, "timestamp": "1970-01-01T00:00:00Z",
                "components": {
                    "database": { "status": "up" }, "redis": { "status": "off" },
                    "worker": { "status": "down" }, "engine": { "status": "down" },
                },
                "schema": { "engine": { "inSync": false }, "client": { "inSync": true } },
            })
        );
    }
}
