//! A server that answers as Mailgun does, and signs webhooks as it does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

#[derive(Default)]
struct Inner {
    /// The fields of each mail that was accepted.
    taken: Vec<HashMap<String, String>>,
    /// Status and text of every answer from now on.
    refusal: Option<(u16, &'static str)>,
}

#[derive(Clone)]
pub struct Mailgun {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Mailgun {
    const KEY: &'static str = "key-3ax6xnjp29jd6fds4gc373sgvjxteol0";
    const SIGNING_KEY: &'static str = "signing-8a2d3f4c5b6e7091a2b3c4d5e6f70812";
    const DOMAIN: &'static str = "mg.acme.test";

    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            inner: Arc::default(),
        };
        let router = Router::new()
            .route("/v3/{domain}/messages", post(send))
            // Mailgun's answer to a path it does not know.
            .fallback(|| async { "Mailgun Magnificent API" })
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    /// The environment variables that make the host send through it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EMAIL_PROVIDER", "mailgun".into()),
            ("MAILGUN_API_KEY", Self::KEY.into()),
            ("MAILGUN_DOMAIN", Self::DOMAIN.into()),
            ("MAILGUN_FROM", "Acme <hello@acme.test>".into()),
            ("MAILGUN_WEBHOOK_SIGNING_KEY", Self::SIGNING_KEY.into()),
            ("MAILGUN_BASE_URL", format!("http://{}", self.address)),
        ]
    }

    /// Refuses every mail until it is told otherwise.
    pub fn refuse(&self, refusal: Option<(u16, &'static str)>) {
        self.inner.lock().unwrap().refusal = refusal;
    }

    pub fn taken(&self) -> Vec<HashMap<String, String>> {
        self.inner.lock().unwrap().taken.clone()
    }

    /// A webhook, signed at this time in seconds.
    pub fn webhook(data: &Value, at: i64) -> Value {
        let token = &hex::encode(Sha256::digest(data.to_string()))[..50];
        let mac = Hmac::<Sha256>::new_from_slice(Self::SIGNING_KEY.as_bytes()).unwrap();
        let mac = mac.chain_update(at.to_string()).chain_update(token);
        let signature = hex::encode(mac.finalize().into_bytes());
        json!({
            "signature": { "timestamp": at.to_string(), "token": token, "signature": signature },
            "event-data": data,
        })
    }
}

fn answer(status: u16, message: &str) -> Response {
    let body = axum::Json(json!({ "message": message }));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

/// <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages>
async fn send(
    State(server): State<Mailgun>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let basic = format!("Basic {}", STANDARD.encode(format!("api:{}", Mailgun::KEY)));
    if headers
        .get(header::AUTHORIZATION)
        .map(|value| value.as_bytes())
        != Some(basic.as_bytes())
    {
        return (StatusCode::UNAUTHORIZED, "Forbidden").into_response();
    }
    if domain != Mailgun::DOMAIN {
        return answer(404, &format!("Domain not found: {domain}"));
    }
    let mut inner = server.inner.lock().unwrap();
    if let Some((status, message)) = inner.refusal {
        return answer(status, message);
    }
    let fields: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    for name in ["from", "to"] {
        if !field(name).contains('@') {
            let words =
                format!("{name} parameter is not a valid address. please check documentation");
            return answer(400, &words);
        }
    }
    if field("text").is_empty() && field("html").is_empty() {
        return answer(
            400,
            "Need at least one of 'text' or 'html' parameters specified",
        );
    }
    let id = field("h:Message-Id").to_owned();
    inner.taken.push(fields);
    axum::Json(json!({ "id": id, "message": "Queued. Thank you." })).into_response()
}
