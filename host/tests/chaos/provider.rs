//! A provider that accepts and counts mails, with either API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::plan::Wire;

/// Delay between accepting mails and answering, so that kills happen in between.
const THINKS: Duration = Duration::from_millis(15);

#[derive(Clone)]
pub struct Provider {
    pub wire: Wire,
    pub url: String,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    /// Recipient and subject of each accepted mail.
    mails: Vec<(String, String)>,
    /// Body and answer by idempotency key.
    keys: HashMap<String, (Bytes, Value)>,
    /// Keys that were reused with another body.
    broken_keys: usize,
    requests: usize,
}

impl Provider {
    pub async fn start(wire: Wire) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            wire,
            url: format!("http://{}", listener.local_addr().unwrap()),
            taken: Arc::default(),
        };
        let router = match wire {
            Wire::Resend => Router::new()
                .route("/emails", post(resend))
                .route("/emails/batch", post(resend)),
            Wire::Postmark => Router::new()
                .route("/email", post(postmark))
                .route("/email/batch", post(postmark)),
        };
        let router = router.with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        provider
    }

    /// The environment variables that make the host send through it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self.wire {
            Wire::Resend => vec![
                ("EMAIL_PROVIDER", "resend".into()),
                ("RESEND_API_KEY", "re_chaos_1234567890".into()),
                ("RESEND_BASE_URL", self.url.clone()),
            ],
            Wire::Postmark => vec![
                ("EMAIL_PROVIDER", "postmark".into()),
                (
                    "POSTMARK_SERVER_TOKEN",
                    "0b7a1d2e-9f1c-4d6b-8a3e-2f5c7d9e1a4b".into(),
                ),
                ("POSTMARK_BASE_URL", self.url.clone()),
            ],
        }
    }

    /// Number of mails per recipient.
    pub fn mails(&self) -> HashMap<String, usize> {
        let taken = self.taken.lock().unwrap();
        let mut counts = HashMap::new();
        for (to, _) in &taken.mails {
            *counts.entry(to.clone()).or_default() += 1;
        }
        counts
    }

    pub fn requests(&self) -> usize {
        self.taken.lock().unwrap().requests
    }

    pub fn broken_keys(&self) -> usize {
        self.taken.lock().unwrap().broken_keys
    }
}

/// <https://resend.com/docs/api-reference/emails/send-batch-emails>
async fn resend(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(said) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let answer = {
        let mut taken = provider.taken.lock().unwrap();
        taken.requests += 1;
        match taken.keys.get(&key).cloned() {
            Some((first, _)) if first != body => {
                taken.broken_keys += 1;
                let refused = json!({ "statusCode": 409, "name": "invalid_idempotent_request",
                                      "message": "another body" });
                return (StatusCode::CONFLICT, axum::Json(refused)).into_response();
            }
            Some((_, answer)) => answer,
            None => {
                let batch = said.is_array();
                let mails = said.as_array().cloned().unwrap_or_else(|| vec![said]);
                let ids: Vec<Value> = mails
                    .iter()
                    .map(|mail| {
                        taken
                            .mails
                            .push((text(&mail["to"][0]), text(&mail["subject"])));
                        json!({ "id": uuid::Uuid::new_v4() })
                    })
                    .collect();
                let answer = if batch {
                    json!({ "data": ids })
                } else {
                    ids[0].clone()
                };
                if !key.is_empty() {
                    taken.keys.insert(key, (body, answer.clone()));
                }
                answer
            }
        }
    };
    tokio::time::sleep(THINKS).await;
    let rate = [
        ("ratelimit-limit", "500"),
        ("ratelimit-remaining", "499"),
        ("ratelimit-reset", "1"),
    ];
    (rate, axum::Json(answer)).into_response()
}

/// <https://postmarkapp.com/developer/api/email-api>
async fn postmark(State(provider): State<Provider>, headers: HeaderMap, body: Bytes) -> Response {
    if !headers.contains_key("x-postmark-server-token") || !headers.contains_key(header::ACCEPT) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(said) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let answer = {
        let mut taken = provider.taken.lock().unwrap();
        taken.requests += 1;
        let mut take = |mail: &Value| {
            taken
                .mails
                .push((text(&mail["To"]), text(&mail["Subject"])));
            json!({ "To": mail["To"], "SubmittedAt": "2026-01-01T00:00:00Z",
                    "MessageID": uuid::Uuid::new_v4(), "ErrorCode": 0, "Message": "OK" })
        };
        match said.as_array() {
            Some(mails) => Value::Array(mails.iter().map(take).collect()),
            None => take(&said),
        }
    };
    tokio::time::sleep(THINKS).await;
    axum::Json(answer).into_response()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
