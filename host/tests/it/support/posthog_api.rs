//! A server that answers queries of past events as PostHog's query API does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const KEY: &str = "phx_hush-0123";

#[derive(Clone)]
pub struct PostHogApi {
    url: String,
    inner: Arc<Mutex<Inner>>,
    /// A permit for each query that may be answered.
    open: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    /// By time and id.
    events: Vec<Past>,
    seen: usize,
    /// The statuses of the next answers, with `Retry-After`.
    next: VecDeque<(u16, Option<&'static str>)>,
}

/// An event as PostHog keeps it.
#[derive(Clone)]
pub struct Past {
    pub at: DateTime<Utc>,
    pub uuid: String,
    pub name: String,
    pub user: String,
    pub properties: Value,
    pub person: Value,
}

impl Past {
    pub fn new(at: &str, uuid: &str, name: &str, user: &str) -> Self {
        Self {
            at: at.parse().unwrap(),
            uuid: uuid.into(),
            name: name.into(),
            user: user.into(),
            properties: json!({}),
            person: json!({ "email": format!("{user}@example.com") }),
        }
    }
}

impl PostHogApi {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::default(),
            open: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2)),
        };
        let router = Router::new()
            .route("/api/projects/{project}/query/", post(query))
            .with_state(api.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        api
    }

    /// The environment variables with which the host reads here.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("POSTHOG_HOST", self.url.clone()),
            ("POSTHOG_PERSONAL_API_KEY", KEY.into()),
            ("POSTHOG_PROJECT_ID", "7".into()),
        ]
    }

    pub fn has(&self, events: impl IntoIterator<Item = Past>) {
        let mut inner = self.inner.lock().unwrap();
        inner.events.extend(events);
        inner
            .events
            .sort_by(|a, b| (a.at, &a.uuid).cmp(&(b.at, &b.uuid)));
    }

    /// Answers the next query with this status and `Retry-After`.
    pub fn next(&self, status: u16, retry_after: Option<&'static str>) {
        self.inner
            .lock()
            .unwrap()
            .next
            .push_back((status, retry_after));
    }

    /// From now on answers so many queries; the further ones wait.
    pub fn answer_only(&self, queries: usize) {
        let all = self.open.available_permits();
        assert_eq!(self.open.forget_permits(all), all);
        self.open.add_permits(queries);
    }

    /// How many queries came.
    pub fn seen(&self) -> usize {
        self.inner.lock().unwrap().seen
    }
}

async fn query(
    State(api): State<PostHogApi>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    api.inner.lock().unwrap().seen += 1;
    if headers["authorization"] != format!("Bearer {KEY}") || project != "7" {
        let said = json!({ "type": "authentication_error", "code": "permission_denied" });
        return (StatusCode::FORBIDDEN, Json(said)).into_response();
    }
    api.open.acquire().await.unwrap().forget();
    if let Some((status, retry_after)) = api.inner.lock().unwrap().next.pop_front() {
        let status = StatusCode::from_u16(status).unwrap();
        let said = Json(json!({ "type": "throttled_error", "detail": "Request was throttled." }));
        return match retry_after {
            Some(after) => (status, [("retry-after", after)], said).into_response(),
            None => (status, said).into_response(),
        };
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let sql = body["query"]["query"].as_str().unwrap();
    let values = body["query"]["values"].as_object().unwrap();
    let time = |name: &str| -> Option<DateTime<Utc>> { values.get(name)?.as_str()?.parse().ok() };
    let (since, until) = (time("since").unwrap(), time("until").unwrap());
    let after = time("at").map(|at| (at, values["id"].as_str().unwrap().to_owned()));
    let names = values.iter().filter(|(name, _)| name.starts_with("event_"));
    let names: Vec<&str> = names.map(|(_, value)| value.as_str().unwrap()).collect();
    let limit: usize = sql.rsplit(' ').next().unwrap().parse().unwrap();
    let inner = api.inner.lock().unwrap();
    let fits = |event: &&Past| {
        (since..=until).contains(&event.at)
            && (names.is_empty() || names.contains(&event.name.as_str()))
            && after
                .as_ref()
                .is_none_or(|after| (event.at, event.uuid.clone()) > *after)
    };
    let rows: Vec<Value> = inner
        .events
        .iter()
        .filter(fits)
        .take(limit)
        .map(|event| {
            json!([
                event.uuid,
                event.name,
                event.user,
                event.at.to_rfc3339(),
                event.properties.to_string(),
                format!("person-of-{}", event.user),
                event.person.to_string()
            ])
        })
        .collect();
    Json(json!({ "results": rows, "hasMore": rows.len() == limit })).into_response()
}
