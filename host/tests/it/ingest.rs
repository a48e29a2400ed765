//! Events in: stored once, in one transaction with all they cause.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::future::join_all;
use serde_json::json;

use crate::on_each_store;
use crate::support::{Server, Store};

on_each_store! {
    async fn a_repeated_idempotency_key_stores_nothing(server: Server) {
        let body = json!({ "event": "a", "userId": "u", "idempotencyKey": "k", "properties": { "n": 1 } });
        assert_eq!(server.post("/v1/ingest", &body).await.json(), json!({ "stored": true, "exits": [] }));
        assert_eq!(server.post("/v1/ingest", &body).await.json(), json!({ "stored": false, "exits": [] }));
        // The header wins over the body, and both doors share the keys.
        let body = json!({ "name": "a", "userId": "u", "idempotencyKey": "another" });
        let request = Request::post("/v1/events")
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
            .body(Body::from(body.to_string()));
        assert_eq!(server.request(request.unwrap()).await.json()["stored"], false);
        assert_eq!(server.count("SELECT count(*) FROM user_events").await, 1);
        server.stop().await;
    }
}

on_each_store! {
    async fn event_and_contact_properties_go_their_own_ways(server: Server) {
        let body = json!({
            "name": "a", "userId": "u", "email": "U@Example.com", "timestamp": "2026-03-01T10:00:00+02:00",
            "eventProperties": { "price": 9.5 }, "contactProperties": { "plan": "pro", "tags": ["x"] }
        });
        let answer = server.post("/v1/events", &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.json(), json!({ "stored": true, "exits": [], "contactKey": "u" }));
        let body = json!({ "name": "b", "userId": "u", "contactProperties": { "plan": "free" } });
        server.post("/v1/events", &body).await;
        assert_eq!(server.text("SELECT properties::text FROM contacts").await, r#"{"plan": "free", "tags": ["x"]}"#);
        assert_eq!(server.text("SELECT properties::text FROM user_events WHERE name = 'a'").await, r#"{"price": 9.5}"#);
        assert_eq!(server.text("SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI') FROM user_events WHERE name = 'a'").await, "08:00");
        server.stop().await;
    }
}

on_each_store! {
    async fn a_contact_known_by_address_gets_its_id_later(server: Server) {
        let post = async |body| {
            let answer = server.post("/v1/events", &body).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        };
        post(json!({ "name": "a", "email": "Ann@Example.com", "contactProperties": { "n": 1 } })).await;
        post(json!({ "name": "b", "email": "ann@example.com" })).await;
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        post(json!({ "name": "c", "email": "ann@example.com", "userId": "u-1" })).await;
        post(json!({ "name": "d", "userId": "u-1" })).await;
        post(json!({ "name": "e", "email": "ANN@example.com" })).await;
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        // Another person of the product with the same mailbox is another person.
        post(json!({ "name": "f", "email": "ann@example.com", "userId": "u-2" })).await;
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 2);
        assert_eq!(server.count("SELECT count(DISTINCT contact_id) FROM user_events WHERE name <> 'f'").await, 1);
        server.stop().await;
    }
}

/// One identical request a hundred times at once: one event, one enrolment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_identical_events_at_once_enrol_once() {
    let server = Server::start(Store::native().await).await;
    let same = json!({ "event": "t.once", "userId": "racer", "idempotencyKey": "same" });
    let stored = join_all((0..100).map(|_| server.post("/v1/ingest", &same))).await;
    let stored = stored
        .iter()
        .filter(|answer| answer.json()["stored"] == true)
        .count();
    assert_eq!(stored, 1);
    // Different events of the same trigger: each is stored, one enrols.
    let many: Vec<_> = (0..100)
        .map(|n| json!({ "event": "t.once", "userId": "crowd", "idempotencyKey": format!("k{n}") }))
        .collect();
    join_all(many.iter().map(|body| server.post("/v1/ingest", body))).await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 't.once'")
            .await,
        101
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_states WHERE journey_id = 't-once'")
            .await,
        2
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM enrolment_skips WHERE reason = 'already_entered_once'")
            .await,
        99
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 2);
    server.stop().await;
}

/// Many people named in clashing ways by concurrent requests: no request fails, none is doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_that_name_the_same_people_differently_all_succeed() {
    let server = Server::start(Store::native().await).await;
    let bodies: Vec<_> = (0..400)
        .map(|n| {
            let person = n % 7;
            let address = format!("p{person}@example.com");
            match n % 3 {
                0 => json!({ "name": "x", "email": address }),
                1 => json!({ "name": "x", "userId": format!("p{person}") }),
                _ => json!({ "name": "x", "userId": format!("p{person}"), "email": address }),
            }
        })
        .collect();
    let answers = join_all(bodies.iter().map(|body| server.post("/v1/events", body))).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == StatusCode::ACCEPTED)
    );
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 400);
    assert_eq!(server.count("SELECT count(*) FROM (SELECT external_id FROM contacts WHERE external_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1) d").await, 0);
    assert_eq!(server.count("SELECT count(*) FROM (SELECT lower(email) FROM contacts WHERE external_id IS NULL GROUP BY 1 HAVING count(*) > 1) d").await, 0);
    server.stop().await;
}
