//! The metrics for Prometheus, with the gauges that only the database knows.
//!
//! A scrape never fails: what the database does not say in time is `NaN`, and the rest is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::TimeDelta;
use secrecy::SecretString;
use tokio::sync::Mutex;

use super::{ApiError, auth};
use crate::app::App;
use crate::db::{self, Backlog};
use crate::loops::BEAT;
use crate::mail::{self, Taking};
use crate::pauses::Pauses;
use crate::telemetry::metrics as figures;
use crate::worker::engine;

/// How long what the database said is used again, so that many scrapes cost no more than one.
const FRESH: Duration = Duration::from_secs(10);
/// The time limit of asking it.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Who gets the metrics.
#[derive(Clone)]
pub enum Access {
    /// Everybody who reaches the port.
    Open,
    /// Whoever sends this as a bearer token.
    Token(SecretString),
}

#[derive(Clone)]
struct Scrapes {
    app: App,
    access: Access,
    /// When the database was asked last. Held while it is asked: others wait for the answer.
    asked: Arc<Mutex<Option<Instant>>>,
}

/// The route `/metrics`.
pub fn router<S: Clone + Send + Sync + 'static>(app: &App, access: Access) -> Router<S> {
    let scrapes = Scrapes {
        app: app.clone(),
        access,
        asked: Arc::default(),
    };
    Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(scrapes)
}

async fn show_metrics(State(scrapes): State<Scrapes>, headers: HeaderMap) -> Response {
    if !scrapes.access.admits(&headers) {
        let challenge = HeaderValue::from_static("Bearer realm=\"metrics\"");
        return ApiError::new(
            StatusCode::UNAUTHORIZED,
            "The metrics need METRICS_TOKEN as bearer token",
        )
        .with_header(header::WWW_AUTHENTICATE, challenge)
        .into_response();
    }
    scrapes.refresh().await;
    let kind = [
        (header::CONTENT_TYPE, figures::MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (kind, figures::render()).into_response()
}

impl Access {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Self::Token(token) = self else {
            return true;
        };
        auth::bears(headers, token)
    }
}

impl Scrapes {
    /// Asks for what other processes know, unless that was done just before.
    async fn refresh(&self) {
        let app = &self.app;
        let (open, idle) = app.db.connections();
        figures::DATABASE_CONNECTIONS.set(&["used"], f64::from(open.saturating_sub(idle)));
        figures::DATABASE_CONNECTIONS.set(&["idle"], f64::from(idle));
        let most = u32::try_from(app.config.database_pool_size).unwrap_or(u32::MAX);
        figures::DATABASE_CONNECTIONS_MAX.set(&[], f64::from(most));
        if let Some(up) = app.cache.is_up() {
            figures::CACHE_UP.set(&[], flag(up));
        }
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let told = tokio::time::timeout(PATIENCE, ask(app)).await;
        let told = matches!(told, Ok(Ok(())));
        figures::DATABASE_UP.set(&[], flag(told));
        if told {
            *asked = Some(Instant::now());
        } else {
            // The next scrape asks again.
            *asked = None;
            for gauge in OF_THE_DATABASE {
                gauge.forget();
            }
        }
    }
}

/// What is unknown while the database does not answer.
static OF_THE_DATABASE: [&figures::Gauge; 8] = [
    &figures::SCHEMA_IN_SYNC,
    &figures::RUNS,
    &figures::QUEUE_DUE,
    &figures::QUEUE_OLDEST,
    &figures::PROVIDER_UP,
    &figures::WORKERS,
    &figures::ENGINE_UP,
    &figures::PAUSES,
];

/// Every query reads an index, and counts up to a limit.
async fn ask(app: &App) -> db::Result<()> {
    let mut conn = app.db.conn().await?;
    let in_sync = db::schema_state(&mut conn).await?.in_sync();
    figures::SCHEMA_IN_SYNC.set(&[], flag(in_sync));
    if !in_sync {
        // Before a migration a table may not exist.
        return Ok(());
    }
    let now = app.clock.now();
    let queues = db::queues(&mut conn, now).await?;
    let each: [(&str, Backlog); 4] = [
        ("runs", queues.runs),
        ("mails", queues.mails),
        ("captures", queues.captures),
        ("webhooks", queues.webhooks),
    ];
    for (kind, backlog) in each {
        figures::QUEUE_DUE.set(&[kind], backlog.due as f64);
        figures::QUEUE_OLDEST.set(&[kind], backlog.oldest_seconds(now) as f64);
    }
    // What is gone since, such as a provider that is no longer active, is not known any more.
    for gauge in [&figures::RUNS, &figures::PROVIDER_UP, &figures::ENGINE_UP] {
        gauge.forget();
    }
    let catalog = app.catalog();
    let journeys: Vec<String> = catalog
        .journeys()
        .map(|entry| entry.definition.id.clone())
        .collect();
    for (journey, state, count) in db::runs_by_state(&mut conn, &journeys).await? {
        figures::RUNS.set(&[&journey, &state], count as f64);
    }
    for provider in mail::provider_states(app, &mut conn, now).await? {
        figures::PROVIDER_UP.set(&[&provider.id], flag(provider.taking() == Taking::Up));
    }
    let missed = TimeDelta::from_std(BEAT * 3).unwrap_or_default();
    let workers = db::workers_seen(&mut conn, now, missed).await?;
    figures::WORKERS.set(&[], workers.count as f64);
    let engines = db::engines_seen(&mut conn, now, missed).await?;
    for kind in engine::KINDS {
        let mut own = engines
            .iter()
            .filter(|one| one.kind.as_deref().unwrap_or(engine::unreported()) == *kind)
            .peekable();
        if own.peek().is_some() || *kind == engine::chosen(&app.config) {
            figures::ENGINE_UP.set(&[kind], flag(own.any(|one| one.up)));
        }
    }
    let pauses = Pauses::load(&mut conn, now).await?;
    figures::PAUSES.set(&[], pauses.lasting().count() as f64);
    Ok(())
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_admitted() {
        let access = Access::Token("a token of tests".into());
        let admits = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            access.admits(&headers)
        };
        assert!(admits("Bearer a token of tests"));
        assert!(admits("bearer  a token of tests "));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer a token of test",
            "Basic a token of tests",
            "a token of tests",
        ] {
            assert!(!admits(wrong), "{wrong}");
        }
        assert!(!access.admits(&HeaderMap::new()));
        assert!(Access::Open.admits(&HeaderMap::new()));
    }
}
