//! Whether the process and what it leans on are well.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::since_start;
use crate::db::{self, SchemaState};
use crate::worker::BEAT;
use crate::worker::engine::{Embedded, Engine};

/// Bound of each probe.
const PROBE: Duration = Duration::from_millis(1_500);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
}

impl Component {
    fn up(latency: Duration) -> Self {
        Self {
            status: "up",
            latency_ms: Some(latency.as_millis() as u64),
        }
    }

    const DOWN: Self = Self {
        status: "down",
        latency_ms: None,
    };
}

/// 200 while the database answers and its schema is in sync; 503 otherwise. Without Redis or a
/// worker the status is `degraded`, and still 200.
pub async fn show_health(State(app): State<App>) -> (StatusCode, Json<Value>) {
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
        Some(_) if !in_sync => "migration_pending",
        Some(_) if worker_up && redis.status == "up" => "healthy",
        _ => "degraded",
    };
    let code = if in_sync {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let engine = if worker_up { "up" } else { "down" };
    let mut worker = json!({ "status": if worker_up { "up" } else { "down" } });
    if let Some(seen) = last_seen {
        worker["lastSeenAt"] = json!(seen);
    }
    let schema = probe.as_ref().map(|probe| &probe.schema);
    let plugins: Vec<Value> = app
        .plugins
        .info()
        .iter()
        .map(|plugin| {
            json!({
                "id": plugin.id, "version": plugin.version,
                "kinds": plugin.kinds, "origin": plugin.origin,
            })
        })
        .collect();
    let body = json!({
        "status": status,
        "uptime": since_start().as_secs_f64(),
        "timestamp": now,
        "version": env!("CARGO_PKG_VERSION"),
        "components": {
            "database": probe.as_ref().map_or(Component::DOWN, |probe| Component::up(probe.latency)),
            "redis": redis,
            "worker": worker,
            "engine": { "kind": Embedded::KIND, "status": engine },
        },
        "schema": { "engine": {
            "applied": schema.and_then(|schema| schema.applied.clone()),
            "required": schema.and_then(|schema| schema.required.clone()),
            "inSync": in_sync,
            "pending": schema.map(|schema| schema.pending.clone()).unwrap_or_default(),
        }},
        "plugins": plugins,
    });
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
