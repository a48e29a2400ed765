//! A mail through SendGrid, whose stand-in answers as SendGrid documents.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

use crate::support::{Answer, Server, Store};

const KEY: &str = "SG.hush-0123.whisper";
/// A key of this test, in place of SendGrid's own.
const PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTzVFepgUdfx1ICtPedP5P7FHHUc31R+RkL2FGwA6h/ahRANCAATHZyFkflLHVSlebkztSZgvXjcSobJFGpOj0Oxxc/FzLTeYbkNiG+aKVQMEwUV3QbPstuws8NPkBToNwIS4dMlW";
const PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEx2chZH5Sx1UpXm5M7UmYL143EqGyRRqTo9DscXPxcy03mG5DYhvmilUDBMFFd0Gz7LbsLPDT5AU6DcCEuHTJVg==";

/// An answer in place of 202: status, message, and whether the mail is accepted all the same.
type Next = (u16, &'static str, bool);

/// `POST /v3/mail/send`.
#[derive(Clone, Default)]
struct SendGrid {
    /// Each mail that was accepted, with its id.
    accepted: Arc<Mutex<Vec<(String, Value)>>>,
    /// How the next requests are answered.
    next: Arc<Mutex<VecDeque<Next>>>,
}

impl SendGrid {
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v3/mail/send", post(send))
            .with_state(self.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    }

    fn accepted(&self) -> Vec<(String, Value)> {
        self.accepted.lock().unwrap().clone()
    }
}

fn error(status: u16, field: Value, message: &str) -> Response {
    let body = json!({ "errors": [{ "message": message, "field": field, "help": null }] });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

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

async fn start(sendgrid: &SendGrid) -> Server {
    let url = sendgrid.listen().await;
    let variables = [
        ("EMAIL_PROVIDER", "sendgrid"),
        ("SENDGRID_API_KEY", KEY),
        ("SENDGRID_BASE_URL", url.as_str()),
        ("SENDGRID_FROM_EMAIL", "Acme <hello@acme.test>"),
        ("SENDGRID_WEBHOOK_VERIFICATION_KEY", PUBLIC),
    ];
    Server::with(Store::native().await, &variables).await
}

async fn mail(server: &Server, user: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "word": "wörld" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

/// Posts events as SendGrid does: signed, with a line break after them.
async fn tell(server: &Server, events: &Value, signed: bool) -> Answer {
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

async fn ledger(server: &Server) -> String {
    server
        .text(
            "SELECT string_agg(status || ' ' || attempts, ', ' ORDER BY to_email) FROM email_sends",
        )
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_and_signed_events_about_it_come_back() {
    let sendgrid = SendGrid::default();
    let server = start(&sendgrid).await;
    mail(&server, "ann").await;
    let (id, sent) = sendgrid.accepted().remove(0);
    assert_eq!(
        sent["from"],
        json!({ "email": "hello@acme.test", "name": "Acme" })
    );
    assert_eq!(sent["subject"], "Plain wörld");
    assert_eq!(
        sent["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert_eq!(sent["tracking_settings"]["click_tracking"]["enable"], false);
    let send = server.text("SELECT id::text FROM email_sends").await;
    assert_eq!(
        sent["personalizations"][0]["custom_args"]["hs_id"],
        json!(send)
    );
    assert_eq!(ledger(&server).await, "sent 1");
    assert_eq!(server.text("SELECT message_id FROM email_sends").await, id);

    let event = |name: &str, key: &str| {
        json!({
            "email": "ann@example.com", "event": name, "timestamp": 1_772_442_003, "hs_id": send,
            "sg_event_id": key, "sg_message_id": format!("{id}.recvd-5f-1-1.0"),
        })
    };
    let events = json!([event("processed", "e1"), event("delivered", "e2")]);
    assert_eq!(tell(&server, &events, false).await.status, 401);
    assert_eq!(ledger(&server).await, "sent 1");
    for _ in 0..2 {
        let answer = tell(&server, &events, true).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(ledger(&server).await, "delivered 1");

    // An asynchronous bounce has the address alone.
    let bounce = json!([{
        "email": "Ann@example.com", "event": "bounce", "type": "bounce", "reason": "550 no such user",
        "timestamp": 1_772_442_004, "sg_event_id": "e3",
    }]);
    assert_eq!(tell(&server, &bounce, true).await.status, 200);
    assert_eq!(
        server.text("SELECT reason FROM suppressions").await,
        "bounced"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_ends_delays_or_stops_what_it_should() {
    let sendgrid = SendGrid::default();
    let server = start(&sendgrid).await;
    mail(&server, "bad").await;
    assert_eq!(ledger(&server).await, "bounced 1");
    assert_eq!(server.count("SELECT count(*) FROM suppressions").await, 0);
    // Used-up credits keep the mail.
    let next = |answer| sendgrid.next.lock().unwrap().push_back(answer);
    next((401, "Maximum credits exceeded", false));
    mail(&server, "cy").await;
    assert_eq!(ledger(&server).await, "bounced 1, queued 0");
    server.advance(Duration::from_secs(3_700)).await;
    assert_eq!(ledger(&server).await, "bounced 1, sent 1");
    // Without idempotency keys a fault after acceptance leaves the mail in doubt, and a webhook settles
    // it.
    next((500, "An error occurred", true));
    mail(&server, "dan").await;
    for _ in 0..5 {
        server.advance(Duration::from_secs(600)).await;
    }
    assert_eq!(ledger(&server).await, "bounced 1, sent 1, ambiguous 1");
    assert_eq!(sendgrid.accepted().len(), 2);
    let send = server
        .text("SELECT id::text FROM email_sends WHERE to_email = 'dan@example.com'")
        .await;
    let events = json!([{
        "email": "dan@example.com", "event": "delivered", "timestamp": 1_772_442_003, "hs_id": send,
        "sg_event_id": "e9", "sg_message_id": "14c5.recvd-1.0",
    }]);
    assert_eq!(tell(&server, &events, true).await.status, 200);
    assert_eq!(ledger(&server).await, "bounced 1, sent 1, delivered 1");
    server.stop().await;
}
