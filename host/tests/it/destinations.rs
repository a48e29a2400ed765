//! Segment and Slack, beside each other and beside PostHog.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hogsend::db::{self, NewCapture};
use serde_json::{Value, json};

use crate::support::{Server, Store};

/// A server that keeps what it is sent and answers 200 with one text until told otherwise.
#[derive(Clone)]
struct Vendor {
    seen: Arc<Mutex<Vec<(String, HeaderMap, Value)>>>,
    answer: Arc<Mutex<(u16, String)>>,
    url: String,
}

impl Vendor {
    async fn start(answer: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vendor = Self {
            seen: Arc::default(),
            answer: Arc::new(Mutex::new((200, answer.to_owned()))),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        let router = Router::new().fallback(take).with_state(vendor.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        vendor
    }

    fn answer(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    /// Path, headers and body of each request since the last call.
    fn take(&self) -> Vec<(String, HeaderMap, Value)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn take(State(vendor): State<Vendor>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let seen = (uri.to_string(), headers, body);
    vendor.seen.lock().unwrap().push(seen);
    let (status, text) = vendor.answer.lock().unwrap().clone();
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("retry-after", "30")], text).into_response()
}

/// Stores captures of these names for the only contact.
async fn capture(server: &Server, names: &[&str]) {
    let body = json!({ "event": "seen", "userId": "ann", "userEmail": "ann@example.com" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    let mut conn = server.app.db.conn().await.unwrap();
    let contact: uuid::Uuid = sqlx::query_scalar("SELECT id FROM contacts")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let captures: Vec<NewCapture> = names
        .iter()
        .map(|name| NewCapture {
            id: uuid::Uuid::now_v7(),
            contact_id: contact.into(),
            event: Some((*name).to_owned()),
            properties: [("plan".to_owned(), json!("pro"))].into_iter().collect(),
            occurred_at: server.now(),
        })
        .collect();
    db::capture_insert(&mut conn, &captures, server.now())
        .await
        .unwrap();
}

async fn waiting(server: &Server) -> i64 {
    server.count("SELECT count(*) FROM analytics_outbox").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_destination_that_is_set_up_gets_each_capture() {
    let segment = Vendor::start(r#"{"success":true}"#).await;
    let slack = Vendor::start("ok").await;
    let hook = format!("{}/services/T0/B0/x", slack.url);
    let variables = [
        ("SEGMENT_WRITE_KEY", "abc123"),
        ("SEGMENT_BASE_URL", segment.url.as_str()),
        ("SLACK_WEBHOOK_URL", hook.as_str()),
        ("SLACK_EVENTS", "big.*"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    capture(&server, &["big.order", "small.order", "big.refund"]).await;
    server.drain().await;
    assert_eq!(waiting(&server).await, 0);
    assert_eq!(
        server
            .count("SELECT count(*) FROM analytics_given_up")
            .await,
        0
    );

    let seen = segment.take();
    let (path, headers, body) = &seen[0];
    assert_eq!((seen.len(), path.as_str()), (1, "/v1/batch"));
    assert_eq!(headers["authorization"], "Basic YWJjMTIzOg==");
    let batch = body["batch"].as_array().unwrap();
    let events: Vec<_> = batch.iter().map(|item| &item["event"]).collect();
    assert_eq!(events, ["big.order", "small.order", "big.refund"]);
    assert_eq!(batch[0]["userId"], "ann");
    assert_eq!(batch[0]["timestamp"], "2026-03-02T09:00:00Z");

    let seen = slack.take();
    assert_eq!((seen.len(), seen[0].0.as_str()), (1, "/services/T0/B0/x"));
    assert_eq!(
        seen[0].2["text"],
        "*big.order* of ann, 2026-03-02 09:00 UTC · plan: pro\n*big.refund* of ann, 2026-03-02 09:00 UTC · plan: pro"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_destination_captures_are_discarded() {
    let server = Server::start(Store::native().await).await;
    capture(&server, &["a", "b"]).await;
    server.drain().await;
    assert_eq!(waiting(&server).await, 0);
    assert_eq!(
        server
            .count("SELECT count(*) FROM analytics_given_up")
            .await,
        0
    );
    server.stop().await;
}

async fn slack_server(slack: &Vendor) -> Server {
    let hook = format!("{}/services/T0/B0/x", slack.url);
    let variables = [
        ("SLACK_WEBHOOK_URL", hook.as_str()),
        ("SLACK_EVENTS", "chosen"),
    ];
    Server::with(Store::native().await, &variables).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_gets_one_message_a_second_and_is_waited_for() {
    let slack = Vendor::start("ok").await;
    let server = slack_server(&slack).await;
    // More than one message holds.
    capture(&server, &["chosen"; 30]).await;
    server.drain().await;
    assert_eq!(slack.take().len(), 1);
    server.advance(Duration::from_secs(3)).await;
    assert_eq!(slack.take().len(), 1);
    assert_eq!(waiting(&server).await, 0);

    server.advance(Duration::from_secs(3)).await;
    slack.answer(429, "rate_limited");
    capture(&server, &["chosen"]).await;
    server.drain().await;
    assert_eq!((slack.take().len(), waiting(&server).await), (1, 1));
    slack.answer(200, "ok");
    server.advance(Duration::from_secs(20)).await;
    assert_eq!(slack.take().len(), 0, "Slack asked for 30 seconds");
    server.advance(Duration::from_secs(20)).await;
    assert_eq!((slack.take().len(), waiting(&server).await), (1, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_slack_refuses_everything_events_it_does_not_get_prove_nothing() {
    let slack = Vendor::start("ok").await;
    slack.answer(404, "no_service");
    let server = slack_server(&slack).await;
    capture(&server, &["chosen"]).await;
    server.drain().await;
    let holds = "SELECT count(*) FROM analytics_holds WHERE reason LIKE '%SLACK_WEBHOOK_URL%' AND reason NOT LIKE '%/T0/%'";
    assert_eq!(server.count(holds).await, 1);
    capture(&server, &["other"; 5]).await;
    server.advance(Duration::from_secs(31)).await;
    server.advance(Duration::from_secs(31)).await;
    assert_eq!(server.count(holds).await, 1);
    assert_eq!(
        waiting(&server).await,
        1,
        "only what Slack is to get is kept"
    );

    slack.answer(200, "ok");
    slack.take();
    server.advance(Duration::from_secs(31)).await;
    assert_eq!(slack.take().len(), 1);
    assert_eq!((server.count(holds).await, waiting(&server).await), (0, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_two_products_know_the_first_by_name_counts() {
    let posthog = Vendor::start(r#"{"results":[{"properties":{"seats":7,"city":"Bonn"}}]}"#).await;
    let traits = r#"{"traits":{"seats":8,"team":"blue","email":"other@example.com"}}"#;
    let segment = Vendor::start(traits).await;
    let variables = [
        ("POSTHOG_HOST", posthog.url.as_str()),
        ("POSTHOG_PERSONAL_API_KEY", "phx_x"),
        ("SEGMENT_PROFILE_SPACE_ID", "spa_1"),
        ("SEGMENT_PROFILE_TOKEN", "abc123"),
        ("SEGMENT_PROFILE_BASE_URL", segment.url.as_str()),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let body = json!({ "name": "t.slow", "userId": "ann", "contactProperties": { "team": "red" } });
    server.post("/v1/events", &body).await;
    server.drain().await;
    let known = server
        .text("SELECT (person->'properties')::text FROM journey_states")
        .await;
    let known: Value = serde_json::from_str(&known).unwrap();
    // The contact's own properties come first, and an address that strangers can set is left out.
    let found = ["seats", "city", "team", "email"].map(|name| &known[name]);
    assert_eq!(
        found,
        [&json!(7), &json!("Bonn"), &json!("red"), &json!(null)]
    );
    let (path, headers, _) = segment.take().remove(0);
    assert_eq!(
        path,
        "/v1/spaces/spa_1/collections/users/profiles/user_id:ann/traits?limit=200"
    );
    assert_eq!(headers["authorization"], "Basic YWJjMTIzOg==");
    server.stop().await;
}
