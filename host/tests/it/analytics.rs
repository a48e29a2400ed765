//! Person properties from PostHog's API.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::get;
use hogsend::db::{self, NewCapture};
use serde_json::{Value, json};

use crate::support::admin::{KEY, call, get as get_admin};
use crate::support::{Server, Store};

type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// PostHog's persons endpoint, queried for one person.
async fn people(
    State(requests): State<Requests>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> axum::Json<Value> {
    let key = headers["authorization"].to_str().unwrap().to_owned();
    requests.lock().unwrap().push((query[0].1.clone(), key));
    axum::Json(
        json!({ "results": [{ "id": "p", "properties": { "seats": 7, "email": "other@example.com" } }] }),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_begins_with_posthogs_properties_requested_once() {
    let requests = Requests::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/api/projects/{id}/persons/", get(people))
        .with_state(requests.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let redis = std::env::var("HOGSEND_TEST_REDIS_URL").unwrap();
    let variables = [
        ("POSTHOG_HOST", host.as_str()),
        ("POSTHOG_PERSONAL_API_KEY", "phx_x"),
        ("REDIS_URL", &redis),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    // A person used by this test alone, because Redis is shared.
    let user = format!("u&{}", uuid::Uuid::new_v4());
    for event in ["t.hourly", "t.slow"] {
        let body = json!({ "name": event, "userId": user, "contactProperties": { "email": "own@example.com" } });
        server.post("/v1/events", &body).await;
        server.drain().await;
    }
    assert_eq!(
        *requests.lock().unwrap(),
        [(user.clone(), "Bearer phx_x".to_owned())]
    );
    assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE (person->'properties'->>'seats')::int = 7").await, 2);
    // The contact's own properties take precedence.
    assert_eq!(server.count("SELECT count(*) FROM journey_states WHERE person->'properties'->>'email' = 'own@example.com'").await, 2);
    let mut redis = redis::Client::open(redis)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let ttl: i64 = redis::cmd("TTL")
        .arg(format!("posthog:person:{user}"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!((290..=300).contains(&ttl), "{ttl}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_posthog_that_does_not_answer_prevents_no_enrolment() {
    let variables = [
        ("POSTHOG_HOST", "http://127.0.0.1:1"),
        ("POSTHOG_PERSONAL_API_KEY", "phx_x"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    server
        .post("/v1/events", &json!({ "name": "t.once", "userId": "u" }))
        .await;
    server.drain().await;
    assert_eq!(
        server.text("SELECT status FROM journey_states").await,
        "completed"
    );
    server.stop().await;
}

/// A fake PostHog: what it received, and how it answers.
#[derive(Clone, Default)]
struct Told {
    /// Answers every request with this status, where it is not 0.
    status: Arc<AtomicU16>,
    /// Number of captures in each request.
    sizes: Arc<Mutex<Vec<usize>>>,
    /// Accepted captures.
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Told {
    /// Accepts batches, except those with a capture whose property `bad` is set.
    async fn listen(&self) -> String {
        let told = self.clone();
        let router = Router::new().fallback(async move |body: String| {
            let body: Value = serde_json::from_str(&body).unwrap();
            let batch = body["batch"].as_array().unwrap().clone();
            told.sizes.lock().unwrap().push(batch.len());
            let status = told.status.load(Ordering::SeqCst);
            if status != 0 {
                return (StatusCode::from_u16(status).unwrap(), "no");
            }
            if batch.iter().any(|one| one["properties"]["bad"] == true) {
                return (StatusCode::BAD_REQUEST, "one of them is bad");
            }
            told.taken.lock().unwrap().extend(batch);
            (StatusCode::OK, "{}")
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        host
    }

    fn events(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let name = |one: &Value| one["event"].as_str().unwrap().to_owned();
        taken.iter().map(name).collect()
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

async fn told_server(told: &Told) -> Server {
    let host = told.listen().await;
    let variables = [
        ("POSTHOG_HOST", host.as_str()),
        ("POSTHOG_API_KEY", "phc_x"),
        ("ADMIN_API_KEY", KEY),
    ];
    Server::with(Store::native().await, &variables).await
}

/// Queues captures, of which those in `bad` are refused.
async fn queue(server: &Server, count: usize, bad: &[usize]) {
    let body = json!({ "name": "seen", "userId": "ann" });
    let answer = server.call(Method::POST, "/v1/events", KEY, Some(&body));
    assert_eq!(answer.await.status, 202);
    let mut conn = server.app.db.conn().await.unwrap();
    let contact: uuid::Uuid = sqlx::query_scalar("SELECT id FROM contacts")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let capture = |n: usize| NewCapture {
        id: uuid::Uuid::from_u128(n as u128 + 1),
        contact_id: contact.into(),
        event: Some(format!("e{n:03}")),
        properties: [("bad".to_owned(), json!(bad.contains(&n)))]
            .into_iter()
            .collect(),
        occurred_at: server.now(),
    };
    let captures: Vec<NewCapture> = (0..count).map(capture).collect();
    db::capture_insert(&mut conn, &captures, server.now())
        .await
        .unwrap();
}

async fn waiting(server: &Server) -> i64 {
    server.count("SELECT count(*) FROM analytics_outbox").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_capture_is_given_up_alone_and_sent_again_on_request() {
    for (count, bad) in [
        (1, vec![0]),
        (2, vec![1]),
        (500, vec![0]),
        (500, vec![137, 138, 499]),
        (700, vec![3, 650]),
    ] {
        let told = Told::default();
        let server = told_server(&told).await;
        queue(&server, count, &bad).await;
        server.drain().await;
        let dead = get_admin(&server, "/dlq?type=analytics&limit=50")
            .await
            .json();
        assert_eq!(dead["total"], bad.len(), "{bad:?} of {count}: {dead}");
        let mut subjects: Vec<_> = dead["dlq"].as_array().unwrap().iter().collect();
        subjects.sort_by_key(|one| one["subject"].as_str());
        for (letter, n) in subjects.iter().zip(&bad) {
            assert_eq!(letter["subject"], format!("e{n:03}"));
            let error = letter["error"].as_str().unwrap();
            assert!(
                error.starts_with("posthog: ") && !error.contains("phc_x"),
                "{error}"
            );
        }
        let mut taken = told.events();
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), count - bad.len(), "{bad:?} of {count}");
        assert_eq!(waiting(&server).await, 0);

        // It is corrected and sent again with the same id.
        server
            .run_sql("UPDATE analytics_given_up SET properties = '{}'")
            .await;
        let path = format!("/dlq/{}/retry", subjects[0]["id"].as_str().unwrap());
        let retried = call(&server, Method::POST, &path, json!({})).await;
        assert_eq!(retried.status, 202);
        server.drain().await;
        let last = told.taken.lock().unwrap().last().unwrap().clone();
        assert_eq!(last["event"], format!("e{:03}", bad[0]));
        let id = uuid::Uuid::from_u128(bad[0] as u128 + 1);
        assert_eq!(last["uuid"], id.to_string());
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_that_accepts_nothing_loses_nothing_and_is_probed_with_one_capture() {
    // A revoked key, an exhausted quota, a wrong host, and a product that refuses every capture.
    for status in [401, 403, 402, 404, 302, 400] {
        let told = Told::default();
        told.answer(status);
        let server = told_server(&told).await;
        queue(&server, 600, &[]).await;
        server.drain().await;
        let asked = told.sizes.lock().unwrap().len();
        for _ in 0..3 {
            server.advance(Duration::from_secs(31)).await;
        }
        assert_eq!(waiting(&server).await, 600, "{status}");
        let dead = get_admin(&server, "/dlq").await.json();
        assert_eq!(dead["total"], 0, "{status}");
        let sizes = told.sizes.lock().unwrap().clone();
        assert_eq!(sizes[asked..], [1, 1, 1], "{status}");

        told.answer(0);
        server.advance(Duration::from_secs(31)).await;
        server.drain().await;
        assert_eq!(waiting(&server).await, 0, "{status}");
        let mut taken = told.events();
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 600, "{status}");
        let holds = "SELECT count(*) FROM analytics_holds";
        assert_eq!(server.count(holds).await, 0, "{status}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_product_has_its_own_row_and_a_removed_one_is_reported() {
    let server = Server::start(Store::native().await).await;
    queue_plain(&server).await;
    let mut conn = server.app.db.conn().await.unwrap();
    db::captures_address(&mut conn, &["posthog", "ledger"], 10, server.now())
        .await
        .unwrap();
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT product, coalesce(capture_id, id)::text FROM analytics_outbox ORDER BY product",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    drop(conn);
    let id = uuid::Uuid::from_u128(1).to_string();
    assert_eq!(
        rows,
        [("ledger".into(), id.clone()), ("posthog".into(), id)]
    );
    server.drain().await;
    assert_eq!(waiting(&server).await, 0);
    let error = server.text("SELECT error FROM analytics_given_up").await;
    assert_eq!(error, "no plugin ledger is active any more");
    server.stop().await;
}

async fn queue_plain(server: &Server) {
    let body = json!({ "event": "seen", "userId": "ann" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    let mut conn = server.app.db.conn().await.unwrap();
    let contact: uuid::Uuid = sqlx::query_scalar("SELECT id FROM contacts")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let capture = NewCapture {
        id: uuid::Uuid::from_u128(1),
        contact_id: contact.into(),
        event: Some("e".into()),
        properties: Default::default(),
        occurred_at: server.now(),
    };
    db::capture_insert(&mut conn, &[capture], server.now())
        .await
        .unwrap();
}

/// PostHog forwards every event it receives, including our own captures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captures_that_come_back_from_posthog_are_duplicates() {
    let told = Told::default();
    let server = told_server(&told).await;
    queue(&server, 2, &[]).await;
    server.drain().await;
    let events = "SELECT count(*) FROM user_events WHERE source = 'posthog'";
    let taken = told.taken.lock().unwrap().clone();
    for one in taken {
        let body = json!({ "event": {
            "uuid": one["uuid"], "event": one["event"], "distinct_id": one["distinct_id"],
            "timestamp": one["timestamp"], "properties": one["properties"],
        } });
        let answer = server.post("/v1/webhooks/posthog", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(server.count(events).await, 0);
    }
    // An event of another installation also carries our library's name.
    let foreign = json!({ "event": {
        "uuid": uuid::Uuid::from_u128(77), "event": "e", "distinct_id": "ann",
        "properties": { "$lib": "hogsend" },
    } });
    assert_eq!(
        server.post("/v1/webhooks/posthog", &foreign).await.status,
        200
    );
    assert_eq!(server.count(events).await, 1);
    server.stop().await;
}
