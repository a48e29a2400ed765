//! Whether the process and what it leans on are well.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::since_start;
use crate::db::{self, SchemaState};
use crate::plugins::Origin;
use crate::worker::BEAT;
use crate::worker::engine::{Embedded, Engine};

/// Bound of each probe.
const PROBE: Duration = Duration::from_millis(1_500);

/// Whether the process and what it leans on are well.
#[derive(Serialize, ToSchema)]
pub struct HealthOut {
    status: Health,
    /// Seconds since the start.
    uptime: f64,
    timestamp: DateTime<Utc>,
    version: &'static str,
    components: Components,
    schema: Schema,
    plugins: Vec<PluginOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Health {
    Healthy,
    /// Without Redis, a worker or the database.
    Degraded,
    MigrationPending,
}

#[derive(Serialize, ToSchema)]
struct Components {
    database: Component,
    redis: Component,
    worker: WorkerComponent,
    engine: EngineComponent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Component {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WorkerComponent {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
struct EngineComponent {
    #[schema(example = "embedded")]
    kind: &'static str,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Up,
    Down,
}

#[derive(Serialize, ToSchema)]
struct Schema {
    engine: SchemaOut,
}

/// How far the database is behind the program.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SchemaOut {
    applied: Option<String>,
    required: Option<String>,
    in_sync: bool,
    pending: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct PluginOut {
    id: String,
    version: String,
    #[schema(value_type = Vec<String>)]
    kinds: Vec<Kind>,
    #[schema(value_type = String, example = "linked")]
    origin: Origin,
}

impl Component {
    fn up(latency: Duration) -> Self {
        Self {
            status: Status::Up,
            latency_ms: Some(latency.as_millis() as u64),
        }
    }

    const DOWN: Self = Self {
        status: Status::Down,
        latency_ms: None,
    };
}

/// 200 while the database answers and its schema is in sync; 503 otherwise. Without Redis or a
/// worker the status is `degraded`, and still 200.
#[utoipa::path(
    get, path = "/v1/health", tag = "health",
    responses((status = 200, description = "The database answers and its schema is in sync", body = HealthOut), (status = 503, description = "It does not, or is not", body = HealthOut)),
)]
pub async fn show_health(State(app): State<App>) -> (StatusCode, Json<HealthOut>) {
    let (database, redis) = tokio::join!(
        tokio::time::timeout(PROBE, probe_database(&app)),
        tokio::time::timeout(PROBE, app.cache.ping()),
    );
    let probe = database.ok().and_then(Result::ok);
    let redis = match redis {
        Ok(Ok(latency)) => Component::up(latency),
        _ => Component::DOWN,
    };
    let now = app.clock.now();
    let last_seen = probe.as_ref().and_then(|probe| probe.worker_last_seen);
    let missed = TimeDelta::from_std(BEAT * 3).unwrap_or_default();
    let worker_up = last_seen.is_some_and(|seen| now - seen <= missed);
    let in_sync = probe.as_ref().is_some_and(|probe| probe.schema.in_sync());
    let status = match &probe {
        Some(_) if !in_sync => Health::MigrationPending,
        Some(_) if worker_up && redis.status == Status::Up => Health::Healthy,
        _ => Health::Degraded,
    };
    let code = if in_sync {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let worker = if worker_up { Status::Up } else { Status::Down };
    let plugins = app.plugins.info().iter().map(|plugin| PluginOut {
        id: plugin.id.clone(),
        version: plugin.version.clone(),
        kinds: plugin.kinds.clone(),
        origin: plugin.origin,
    });
    let plugins = plugins.collect();
    let database = probe
        .as_ref()
        .map_or(Component::DOWN, |probe| Component::up(probe.latency));
    let schema = probe.map(|probe| probe.schema);
    let body = HealthOut {
        status,
        uptime: since_start().as_secs_f64(),
        timestamp: now,
        version: env!("CARGO_PKG_VERSION"),
        components: Components {
            database,
            redis,
            worker: WorkerComponent {
                status: worker,
                last_seen_at: last_seen,
            },
            engine: EngineComponent {
                kind: Embedded::KIND,
                status: worker,
            },
        },
        schema: Schema {
            engine: SchemaOut {
                applied: schema.as_ref().and_then(|schema| schema.applied.clone()),
                required: schema.as_ref().and_then(|schema| schema.required.clone()),
                in_sync,
                pending: schema.map(|schema| schema.pending).unwrap_or_default(),
            },
        },
        plugins,
    };
    (code, Json(body))
}

struct Probe {
    latency: Duration,
    schema: SchemaState,
    worker_last_seen: Option<DateTime<Utc>>,
}

async fn probe_database(app: &App) -> db::Result<Probe> {
    let mut conn = app.db.conn().await?;
    let started = std::time::Instant::now();
    let schema = db::schema_state(&mut conn).await?;
    let latency = started.elapsed();
    // Before the first migration there is no table to ask.
    let worker_last_seen = if schema.in_sync() {
        db::worker_last_seen(&mut conn).await?
    } else {
        None
    };
    Ok(Probe {
        latency,
        schema,
        worker_last_seen,
    })
}
