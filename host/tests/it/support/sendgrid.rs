//! A server that answers as SendGrid does, and signs events as it does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::{Answer, Server};

const KEY: &str = "SG.hush-0123.whisper";
/// A key of this test, in place of SendGrid's own.
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTzVFepgUdfx1ICtPedP5P7FHHUc31R+RkL2FGwA6h/ahRANCAATHZyFkflLHVSlebkztSZgvXjcSobJFGpOj0Oxxc/FzLTeYbkNiG+aKVQMEwUV3QbPstuws8NPkBToNwIS4dMlW";
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEx2chZH5Sx1UpXm5M7UmYL143EqGyRRqTo9DscXPxcy03mG5DYhvmilUDBMFFd0Gz7LbsLPDT5AU6DcCEuHTJVg==";

/// An answer in place of 202: status, message, and whether the mail is accepted all the same.
type Next = (u16, &'static str, bool);

#[derive(Clone)]
pub struct SendGrid {
    url: String,
    /// Each mail that was accepted, with its id.
    accepted: Arc<Mutex<Vec<(String, Value)>>>,
    /// How the next requests are answered.
    next: Arc<Mutex<VecDeque<Next>>>,
}

impl SendGrid {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            accepted: Arc::default(),
            next: Arc::default(),
        };
        let router = Router::new()
            .route("/v3/mail/send", post(send))
            .with_state(server.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        server
    }

    /// The environment variables that make the host send through it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EMAIL_PROVIDER", "sendgrid".into()),
            ("SENDGRID_API_KEY", KEY.into()),
            ("SENDGRID_BASE_URL", self.url.clone()),
            ("SENDGRID_FROM_EMAIL", "Acme <hello@acme.test>".into()),
            ("SENDGRID_WEBHOOK_VERIFICATION_KEY", PUBLIC.into()),
        ]
    }

    /// Answers the next request with this status and message; whether it accepts the mail all the same.
    pub fn next(&self, status: u16, message: &'static str, accepted: bool) {
        let answer = (status, message, accepted);
        self.next.lock().unwrap().push_back(answer);
    }

    pub fn accepted(&self) -> Vec<(String, Value)> {
        self.accepted.lock().unwrap().clone()
    }
}

/// Posts events as SendGrid does: signed, with a line break after them.
pub async fn tell(server: &Server, events: &Value, signed: bool) -> Answer {
    let body = format!("{events}\r\n");
    let time = "1772442005";
    let random = SystemRandom::new();
    let key = STANDARD.decode(PRIVATE).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random).unwrap();
    let signature = key
        .sign(&random, format!("{time}{body}").as_bytes())
        .unwrap();
    let signature = STANDARD.encode(signature);
    let mut request =
        Request::post("/v1/webhooks/sendgrid").header("content-type", "application/json");
    if signed {
        request = request
            .header("x-twilio-email-event-webhook-signature", signature)
            .header("x-twilio-email-event-webhook-timestamp", time);
    }
    server
        .request(request.body(Body::from(body)).unwrap())
        .await
}

fn error(status: u16, field: Value, message: &str) -> Response {
    let body = json!({ "errors": [{ "message": message, "field": field, "help": null }] });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

/// `POST /v3/mail/send`.
async fn send(State(server): State<SendGrid>, headers: HeaderMap, body: Bytes) -> Response {
    let bearer = format!("Bearer {KEY}");
    if headers.get("authorization").map(|value| value.as_bytes()) != Some(bearer.as_bytes()) {
        let message = "The provided authorization grant is invalid, expired, or revoked";
        return error(401, json!(null), message);
    }
    let Ok(mail) = serde_json::from_slice::<Value>(&body) else {
        return error(400, json!(null), "Bad Request");
    };
    let to = mail["personalizations"][0]["to"][0]["email"].as_str();
    if to.is_none_or(|to| to.starts_with("bad@")) {
        let field = json!("personalizations.0.to.0.email");
        return error(400, field, "Does not contain a valid address.");
    }
    if mail["content"][0]["type"] != "text/plain" {
        let message = "If present, text/plain must be first";
        return error(400, json!("content"), message);
    }
    let next = server.next.lock().unwrap().pop_front();
    if let Some((status, message, false)) = next {
        return error(status, json!(null), message);
    }
    let id = format!("{}", uuid::Uuid::new_v4().simple());
    let taken = (id.clone(), mail);
    server.accepted.lock().unwrap().push(taken);
    match next {
        Some((status, message, _)) => error(status, json!(null), message),
        None => (StatusCode::ACCEPTED, [("x-message-id", id)]).into_response(),
    }
}
