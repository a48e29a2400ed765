//! A server that answers as Resend does: its errors, limits, idempotency and silences.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// How the next request is answered, in place of the usual way.
#[derive(Clone, Debug)]
pub enum Mood {
    /// Turned away with this status and error name.
    Refuse(u16, &'static str),
    /// 429 with `retry-after` in seconds.
    RateLimit(u64),
    /// Accepted, and the connection then hangs until the caller gives up.
    AcceptAndHang,
    /// Accepted, and the answer is no JSON.
    AcceptAndGarble,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub key: Option<String>,
    pub body: Value,
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    moods: VecDeque<Mood>,
    /// Idempotency key to the body it came with and the id it was answered with.
    keys: HashMap<String, (Vec<u8>, String)>,
    accepted: Vec<(String, Value)>,
    delay: Duration,
}

#[derive(Clone, Default)]
pub struct Resend {
    inner: Arc<Mutex<Inner>>,
    api_key: Arc<str>,
    address: Option<SocketAddr>,
}

impl Resend {
    pub const KEY: &'static str = "re_test_1234567890";

    /// Starts the server on a free port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            api_key: Self::KEY.into(),
            address: Some(listener.local_addr().unwrap()),
            ..Self::default()
        };
        let router = Router::new()
            .route("/emails", post(send_email))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address.unwrap())
    }

    pub fn next(&self, mood: Mood) {
        self.inner.lock().unwrap().moods.push_back(mood);
    }

    /// Answers only after a while, having taken the mail at once.
    pub fn answer_after(&self, delay: Duration) {
        self.inner.lock().unwrap().delay = delay;
    }

    /// Every request, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// Every mail taken: its id and body.
    pub fn accepted(&self) -> Vec<(String, Value)> {
        self.inner.lock().unwrap().accepted.clone()
    }
}

fn error(status: u16, name: &str, message: &str) -> Response {
    let body = json!({ "statusCode": status, "name": name, "message": message });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn send_email(State(server): State<Resend>, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = answer(&server, &headers, &body).await;
    let head = response.headers_mut();
    head.insert("ratelimit-limit", "5".parse().unwrap());
    head.insert("ratelimit-remaining", "4".parse().unwrap());
    head.insert("ratelimit-reset", "1".parse().unwrap());
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let seen = Seen {
        key: text("idempotency-key"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()))
            .collect(),
    };
    server.inner.lock().unwrap().seen.push(seen);
    response
}

async fn answer(server: &Resend, headers: &HeaderMap, body: &Bytes) -> Response {
    let bearer = format!("Bearer {}", server.api_key);
    match headers.get(header::AUTHORIZATION) {
        None => {
            return error(
                401,
                "missing_api_key",
                "Missing API key in the authorization header",
            );
        }
        Some(value) if value.as_bytes() != bearer.as_bytes() => {
            return error(401, "restricted_api_key", "API key is invalid");
        }
        Some(_) => {}
    }
    let mood = server.inner.lock().unwrap().moods.pop_front();
    match mood {
        Some(Mood::Refuse(status, name)) => return error(status, name, "as the test asked"),
        Some(Mood::RateLimit(seconds)) => {
            let mut response = error(429, "rate_limit_exceeded", "Too many requests");
            response
                .headers_mut()
                .insert("retry-after", seconds.to_string().parse().unwrap());
            return response;
        }
        _ => {}
    }
    let Ok(mail) = serde_json::from_slice::<Value>(body) else {
        return error(400, "validation_error", "The body is not JSON");
    };
    for field in ["from", "to", "subject"] {
        if mail[field].is_null() {
            return error(
                422,
                "missing_required_field",
                &format!("Missing `{field}` field"),
            );
        }
    }
    let key = headers
        .get("idempotency-key")
        .map(|key| key.to_str().unwrap().to_owned());
    if key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > 256)
    {
        return error(
            400,
            "invalid_idempotency_key",
            "The key must be between 1 and 256 characters",
        );
    }
    let id = {
        let mut inner = server.inner.lock().unwrap();
        let known = key.as_ref().and_then(|key| inner.keys.get(key)).cloned();
        match known {
            Some((first, _)) if first != body.to_vec() => {
                return error(
                    409,
                    "invalid_idempotent_request",
                    "This key was used with another body",
                );
            }
            Some((_, id)) => id,
            None => {
                let id = uuid::Uuid::new_v4().to_string();
                if let Some(key) = key {
                    inner.keys.insert(key, (body.to_vec(), id.clone()));
                }
                inner.accepted.push((id.clone(), mail));
                id
            }
        }
    };
    let delay = server.inner.lock().unwrap().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match mood {
        Some(Mood::AcceptAndHang) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            error(500, "internal_server_error", "unreachable")
        }
        Some(Mood::AcceptAndGarble) => (StatusCode::OK, "<html>proxy</html>").into_response(),
        _ => axum::Json(json!({ "id": id })).into_response(),
    }
}
