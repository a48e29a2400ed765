//! A server that answers as Resend does: its errors, limits, idempotency and silences.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::sync::Notify;

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
    /// Accepted; the answer comes once the test has done something meanwhile.
    AcceptAndHold(Arc<Hold>),
}

/// Where a request and the test that watches it wait for each other.
#[derive(Debug, Default)]
pub struct Hold {
    taken: Notify,
    go_on: Notify,
}

impl Hold {
    /// Waits until the provider has the mail.
    pub async fn taken(&self) {
        self.taken.notified().await;
    }

    /// Lets the answer come.
    pub fn go_on(&self) {
        self.go_on.notify_one();
    }
}

/// Mail that is turned away until the operator acted.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub status: u16,
    pub name: &'static str,
    pub message: &'static str,
    /// Only mail of this sender; empty for all.
    pub from: &'static str,
}

/// What goes wrong by itself, of a hundred requests each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// 500 before anything was taken.
    pub fault: u32,
    /// 500 after the mails were taken.
    pub late_fault: u32,
    /// 503 before anything was taken.
    pub closed: u32,
    /// The mails are taken and the connection closes without an answer.
    pub silence: u32,
    /// Requests a second; more are answered with 429.
    pub limit: usize,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub key: Option<String>,
    pub body: Value,
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    moods: VecDeque<Mood>,
    refusal: Option<Refusal>,
    /// Idempotency key to the body it came with and its answer.
    keys: HashMap<String, (Vec<u8>, Value)>,
    accepted: Vec<(String, Value)>,
    delay: Duration,
    /// Comes after each id.
    suffix: String,
    weather: Weather,
    /// When requests of the last second came.
    recent: VecDeque<Instant>,
    limited: usize,
    faults: usize,
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
            .route("/emails/batch", post(send_email))
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

    /// Turns mail away until it is told otherwise.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.inner.lock().unwrap().refusal = refusal;
    }

    /// Answers only after a while, having taken the mail at once.
    pub fn answer_after(&self, delay: Duration) {
        self.inner.lock().unwrap().delay = delay;
    }

    /// Ends the ids of mails with this text.
    pub fn end_ids_with(&self, suffix: &str) {
        suffix.clone_into(&mut self.inner.lock().unwrap().suffix);
    }

    /// From now on things go wrong by themselves.
    pub fn weather(&self, weather: Weather) {
        self.inner.lock().unwrap().weather = weather;
    }

    /// How many requests were over the limit, and how many went wrong by themselves.
    pub fn troubles(&self) -> (usize, usize) {
        let inner = self.inner.lock().unwrap();
        (inner.limited, inner.faults)
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

async fn send_email(
    State(server): State<Resend>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut response = answer(&server, uri.path(), &headers, &body).await;
    let limit = match server.inner.lock().unwrap().weather.limit {
        0 => 5,
        limit => limit,
    };
    let head = response.headers_mut();
    head.insert("ratelimit-limit", limit.to_string().parse().unwrap());
    head.insert("ratelimit-remaining", "4".parse().unwrap());
    head.insert("ratelimit-reset", "1".parse().unwrap());
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let seen = Seen {
        path: uri.path().to_owned(),
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

async fn answer(server: &Resend, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
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
    let refusal = server.inner.lock().unwrap().refusal;
    if let Some(refusal) = refusal
        && String::from_utf8_lossy(body).contains(refusal.from)
    {
        return error(refusal.status, refusal.name, refusal.message);
    }
    let (mood, luck) = {
        let mut inner = server.inner.lock().unwrap();
        if let Some(response) = over_the_limit(&mut inner) {
            return response;
        }
        let luck = Luck::draw(inner.weather);
        inner.faults += usize::from(luck != Luck::Good);
        (inner.moods.pop_front(), luck)
    };
    match luck {
        Luck::Fault => return error(500, "internal_server_error", "out of luck"),
        Luck::Closed => return error(503, "application_error", "closed for the moment"),
        _ => {}
    }
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
    let Ok(said) = serde_json::from_slice::<Value>(body) else {
        return error(400, "validation_error", "The body is not JSON");
    };
    let batch = path.ends_with("/batch");
    let permissive = headers
        .get("x-batch-validation")
        .is_some_and(|value| value == "permissive");
    let mails = match said {
        Value::Array(mails) if batch => mails,
        mail if !batch => vec![mail],
        _ => return error(422, "validation_error", "The body must be an array"),
    };
    if mails.is_empty() || mails.len() > 100 {
        return error(422, "validation_error", "Between 1 and 100 emails");
    }
    let problems: Vec<Option<String>> = mails.iter().map(problem).collect();
    if let Some(problem) = problems.iter().flatten().next()
        && !(batch && permissive)
    {
        return error(422, "missing_required_field", problem);
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
    let reply = {
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
            Some((_, reply)) => reply,
            None => {
                let mut data = Vec::new();
                let mut errors = Vec::new();
                for (index, (mail, problem)) in mails.into_iter().zip(problems).enumerate() {
                    if let Some(message) = problem {
                        errors.push(json!({ "index": index, "message": message }));
                        continue;
                    }
                    let id = format!("{}{}", uuid::Uuid::new_v4(), inner.suffix);
                    data.push(json!({ "id": id }));
                    inner.accepted.push((id, mail));
                }
                let reply = match (batch, errors.is_empty()) {
                    (false, _) => data.remove(0),
                    (true, true) => json!({ "data": data }),
                    (true, false) => json!({ "data": data, "errors": errors }),
                };
                if let Some(key) = key {
                    inner.keys.insert(key, (body.to_vec(), reply.clone()));
                }
                reply
            }
        }
    };
    match luck {
        Luck::LateFault => return error(500, "application_error", "out of luck, late"),
        // A body that ends before its length closes the connection.
        Luck::Silence => {
            let torn = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
            return Response::new(axum::body::Body::from_stream(torn));
        }
        _ => {}
    }
    let delay = server.inner.lock().unwrap().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match mood {
        Some(Mood::AcceptAndHang) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            error(500, "internal_server_error", "unreachable")
        }
        Some(Mood::AcceptAndHold(hold)) => {
            hold.taken.notify_one();
            hold.go_on.notified().await;
            axum::Json(reply).into_response()
        }
        Some(Mood::AcceptAndGarble) => (StatusCode::OK, "<html>proxy</html>").into_response(),
        _ => axum::Json(reply).into_response(),
    }
}

/// What is wrong with a mail; `bad` as the name of a recipient is refused as well.
fn problem(mail: &Value) -> Option<String> {
    for field in ["from", "to", "subject"] {
        if mail[field].is_null() {
            return Some(format!("Missing `{field}` field"));
        }
    }
    let to = mail["to"][0].as_str().unwrap_or_default();
    to.starts_with("bad@")
        .then(|| "Invalid `to` field".to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Luck {
    Good,
    Fault,
    LateFault,
    Closed,
    Silence,
}

impl Luck {
    fn draw(weather: Weather) -> Self {
        let mut draw = rand::rng().random_range(0..100);
        for (share, luck) in [
            (weather.fault, Self::Fault),
            (weather.late_fault, Self::LateFault),
            (weather.closed, Self::Closed),
            (weather.silence, Self::Silence),
        ] {
            if draw < share {
                return luck;
            }
            draw -= share;
        }
        Self::Good
    }
}

fn over_the_limit(inner: &mut Inner) -> Option<Response> {
    if inner.weather.limit == 0 {
        return None;
    }
    let now = Instant::now();
    inner
        .recent
        .retain(|at| now.duration_since(*at) < Duration::from_secs(1));
    if inner.recent.len() >= inner.weather.limit {
        inner.limited += 1;
        let mut response = error(429, "rate_limit_exceeded", "Too many requests");
        let head = response.headers_mut();
        head.insert("retry-after", "1".parse().unwrap());
        return Some(response);
    }
    inner.recent.push_back(now);
    None
}
