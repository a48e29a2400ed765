//! A mail through Brevo, whose stand-in answers as Brevo documents.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::support::{Answer, Server, Store};

const KEY: &str = "xkeysib-hush-0123";

/// `POST /v3/smtp/email`.
#[derive(Clone, Default)]
struct Brevo {
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
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v3/smtp/email", post(send))
            .with_state(self.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    }

    fn next(&self, status: u16, code: &'static str, accepted: bool) {
        let mut inner = self.inner.lock().unwrap();
        inner.next.push_back((status, code, accepted));
    }

    fn accepted(&self) -> Vec<(String, Value)> {
        self.inner.lock().unwrap().accepted.clone()
    }

    fn seen(&self) -> usize {
        self.inner.lock().unwrap().seen
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = json!({ "code": code, "message": message });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

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

async fn start(brevo: &Brevo) -> Server {
    let url = brevo.listen().await;
    let variables = [
        ("EMAIL_PROVIDER", "brevo"),
        ("BREVO_API_KEY", KEY),
        ("BREVO_BASE_URL", url.as_str()),
        ("BREVO_FROM_EMAIL", "Acme <hello@acme.test>"),
        ("BREVO_WEBHOOK_SECRET", "whisper-0123"),
    ];
    Server::with(Store::native().await, &variables).await
}

async fn mail(server: &Server, user: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "word": "wörld" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

async fn tell(server: &Server, body: &Value, token: &str) -> Answer {
    let request = Request::post("/v1/webhooks/brevo")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body.to_string()));
    server.request(request.unwrap()).await
}

async fn ledger(server: &Server) -> String {
    server
        .text(
            "SELECT string_agg(status || ' ' || attempts, ', ' ORDER BY to_email) FROM email_sends",
        )
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_and_events_about_it_come_back() {
    let brevo = Brevo::default();
    let server = start(&brevo).await;
    mail(&server, "ann").await;
    let (id, sent) = brevo.accepted().remove(0);
    assert_eq!(
        sent["sender"],
        json!({ "email": "hello@acme.test", "name": "Acme" })
    );
    assert_eq!(sent["subject"], "Plain wörld");
    assert_eq!(
        sent["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    let send = server.text("SELECT id::text FROM email_sends").await;
    assert_eq!(sent["headers"]["X-Mailin-custom"], json!(send));
    assert_eq!(ledger(&server).await, "sent 1");
    assert_eq!(server.text("SELECT message_id FROM email_sends").await, id);

    let event = |name: &str, at: i64| {
        json!({
            "event": name, "email": "ann@example.com", "id": 7, "message-id": id, "ts_epoch": at,
            "X-Mailin-custom": send, "reason": "550 no such user",
        })
    };
    let delivered = event("delivered", 1_772_442_003_000);
    assert_eq!(tell(&server, &delivered, "wrong").await.status, 401);
    assert_eq!(ledger(&server).await, "sent 1");
    for body in [delivered.clone(), json!([delivered])] {
        let answer = tell(&server, &body, "whisper-0123").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(ledger(&server).await, "delivered 1");
    let told = "SELECT count(*) FROM user_events WHERE name = 'email.delivered'";
    assert_eq!(server.count(told).await, 1);
    let complaint = event("spam", 1_772_442_004_000);
    assert_eq!(tell(&server, &complaint, "whisper-0123").await.status, 200);
    assert_eq!(
        server.text("SELECT reason FROM suppressions").await,
        "complained"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_the_repeat_is_recognised_and_nobody_gets_two() {
    let brevo = Brevo::default();
    let server = start(&brevo).await;
    brevo.next(500, "internal_error", true);
    mail(&server, "ann").await;
    assert_eq!(ledger(&server).await, "queued 1");
    for _ in 0..3 {
        server.advance(Duration::from_secs(60)).await;
    }
    assert_eq!(ledger(&server).await, "sent 2");
    assert_eq!((brevo.seen(), brevo.accepted().len()), (2, 1));
    // Later than Brevo surely remembers the key, the mail is not sent again.
    brevo.next(500, "internal_error", true);
    mail(&server, "bob").await;
    server.advance(Duration::from_secs(901)).await;
    assert_eq!(ledger(&server).await, "sent 2, ambiguous 1");
    assert_eq!((brevo.seen(), brevo.accepted().len()), (3, 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_ends_delays_or_stops_what_it_should() {
    let brevo = Brevo::default();
    let server = start(&brevo).await;
    mail(&server, "bad").await;
    assert_eq!(ledger(&server).await, "bounced 1");
    assert_eq!(server.count("SELECT count(*) FROM suppressions").await, 0);
    brevo.next(402, "not_enough_credits", false);
    mail(&server, "cy").await;
    assert_eq!(ledger(&server).await, "bounced 1, queued 0");
    server.advance(Duration::from_secs(3_700)).await;
    assert_eq!(ledger(&server).await, "bounced 1, sent 1");
    server.stop().await;
}
