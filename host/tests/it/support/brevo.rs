//! A server that answers as Brevo does, and tells of mails as it does.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::{Answer, Server};

const KEY: &str = "xkeysib-hush-0123";
const SECRET: &str = "whisper-0123";

#[derive(Clone)]
pub struct Brevo {
    url: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    seen: usize,
    /// The idempotency keys of accepted mails.
    keys: HashSet<String>,
    /// Each mail that was accepted, with its id.
    accepted: Vec<(String, Value)>,
    /// How the next requests are answered, in place of 201: status, code, and whether the mail is
    /// accepted all the same.
    next: VecDeque<(u16, &'static str, bool)>,
}

impl Brevo {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::default(),
        };
        let router = Router::new()
            .route("/v3/smtp/email", post(send))
            .with_state(server.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        server
    }

    /// The environment variables that make the host send through it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EMAIL_PROVIDER", "brevo".into()),
            ("BREVO_API_KEY", KEY.into()),
            ("BREVO_BASE_URL", self.url.clone()),
            ("BREVO_FROM_EMAIL", "Acme <hello@acme.test>".into()),
            ("BREVO_WEBHOOK_SECRET", SECRET.into()),
        ]
    }

    /// Answers the next request with this status and code; whether it accepts the mail all the same.
    pub fn next(&self, status: u16, code: &'static str, accepted: bool) {
        let mut inner = self.inner.lock().unwrap();
        inner.next.push_back((status, code, accepted));
    }

    pub fn accepted(&self) -> Vec<(String, Value)> {
        self.inner.lock().unwrap().accepted.clone()
    }

    pub fn seen(&self) -> usize {
        self.inner.lock().unwrap().seen
    }
}

/// Posts a webhook with the secret, or with a wrong one.
pub async fn tell(server: &Server, body: &Value, genuine: bool) -> Answer {
    let token = if genuine { SECRET } else { "wrong" };
    let request = Request::post("/v1/webhooks/brevo")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body.to_string()));
    server.request(request.unwrap()).await
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = json!({ "code": code, "message": message });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

/// `POST /v3/smtp/email`.
async fn send(State(server): State<Brevo>, headers: HeaderMap, body: Bytes) -> Response {
    let mut inner = server.inner.lock().unwrap();
    inner.seen += 1;
    if headers.get("api-key").map(|value| value.as_bytes()) != Some(KEY.as_bytes()) {
        return error(401, "unauthorized", "Key not found");
    }
    let Ok(mail) = serde_json::from_slice::<Value>(&body) else {
        return error(400, "bad_request", "Input must be a valid JSON object");
    };
    for field in ["sender", "to", "subject", "htmlContent"] {
        if mail[field].is_null() {
            return error(400, "missing_parameter", &format!("{field} is missing"));
        }
    }
    let to = mail["to"][0]["email"].as_str().unwrap_or_default();
    if to.starts_with("bad@") {
        return error(400, "invalid_parameter", "email is not valid in to");
    }
    let key = mail["headers"]["idempotencyKey"].as_str();
    let Some(key) = key.filter(|key| key.parse::<uuid::Uuid>().is_ok()) else {
        return error(400, "invalid_parameter", "idempotencyKey must be a UUID");
    };
    if inner.keys.contains(key) {
        return error(
            400,
            "duplicate_request",
            "This request was already processed",
        );
    }
    let next = inner.next.pop_front();
    if let Some((status, code, false)) = next {
        return error(status, code, "as the test asked");
    }
    let id = format!("<{}@relay.test>", uuid::Uuid::new_v4().simple());
    inner.keys.insert(key.to_owned());
    inner.accepted.push((id.clone(), mail));
    match next {
        Some((status, code, _)) => error(status, code, "as the test asked"),
        None => (StatusCode::CREATED, axum::Json(json!({ "messageId": id }))).into_response(),
    }
}
