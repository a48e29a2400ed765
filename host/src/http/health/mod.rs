//! Whether the process and what it leans on are well.

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

/// The caller came by a door for those who run the installation.
#[derive(Clone, Copy)]
pub struct Operator;

/// 200 while the database answers and its schema is in sync; 503 otherwise. Without a worker,
/// with a Redis that is set and away, or with a blocked provider, the status is `degraded`, and still 200. Strangers are told the
/// statuses alone; with a key or session the answer has all of it.
#[utoipa::path(
    get, path = "/v1/health", tag = "health",
    responses((status = 200, description = "The database answers and its schema is in sync", body = HealthOut), (status = 503, description = "It does not, or is not", body = HealthOut)),
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

/// Says that the process answers, whatever it leans on.
#[utoipa::path(
    get, path = "/v1/health/live", tag = "health",
    responses((status = 200, description = "The process answers", body = AliveOut)),
)]
pub async fn show_live() -> Json<AliveOut> {
    Json(AliveOut { status: "live" })
}

/// Says whether requests are to be routed here: the database answers, its schema is in sync, and the
/// process is not about to stop.
#[utoipa::path(
    get, path = "/v1/health/ready", tag = "health",
    responses((status = 200, description = "It can serve", body = AliveOut), (status = 503, description = "It cannot, or is about to stop", body = AliveOut)),
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

/// The same three on a port of their own, for those who run the installation alone: all of it is told
/// without a key.
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
                    kind: Some("embedded"),
                    status: Status::Down,
                    version: Some("1"),
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
