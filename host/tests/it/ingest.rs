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
    async fn a_repeated_batch_stores_nothing(server: Server) {
        let batch = json!({ "events": [
            { "name": "a", "userId": "u" }, { "name": "a", "userId": "u", "idempotencyKey": "own" },
            { "name": "b", "userId": "u" },
        ] });
        let post = async |key: String, body: &serde_json::Value| {
            let request = Request::post("/v1/events/batch")
                .header("content-type", "application/json")
                .header("idempotency-key", key)
                .body(Body::from(body.to_string()));
            let answer = server.request(request.unwrap()).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
            let results = answer.json()["results"].as_array().unwrap().clone();
            results.iter().map(|one| one["stored"] == true).collect::<Vec<_>>()
        };
        assert_eq!(post("k".into(), &batch).await, [true; 3]);
        assert_eq!(post("k".into(), &batch).await, [false; 3]);
        // Keys of its own are shared with other requests, those of the request by place.
        assert_eq!(post("other".into(), &batch).await, [true, false, true]);
        let one = json!({ "name": "b", "userId": "u", "idempotencyKey": "k#2" });
        assert_eq!(server.post("/v1/events", &one).await.json()["stored"], false);
        // The longest key there may be leaves room for the place.
        let long = "k".repeat(256);
        assert_eq!(post(long.clone(), &batch).await, [true, false, true]);
        assert_eq!(post(long, &batch).await, [false; 3]);
        assert_eq!(server.count("SELECT count(*) FROM user_events").await, 7);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_batch_of_contacts_that_exist_is_stored_whole_or_not_at_all(server: Server) {
        let known = |user: &str, n: usize| {
            json!({ "name": "seen", "userId": user, "eventProperties": { "n": n } })
        };
        let many: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("p{n}"), json!(n))).collect();
        for user in ["a", "b"] {
            server.post("/v1/events", &known(user, 0)).await;
        }
        let full = json!({ "name": "filled", "userId": "full", "contactProperties": many });
        server.post("/v1/events", &full).await;
        let batch = async |events: Vec<serde_json::Value>| {
            server.post("/v1/events/batch", &json!({ "events": events })).await
        };
        let stored = async || server.count("SELECT count(*) FROM user_events WHERE name = 'seen'").await;

        let answer = batch((0..20).map(|n| known(["a", "b"][n % 2], n)).collect()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let results = answer.json()["results"].as_array().unwrap().clone();
        let keys: Vec<_> = results.iter().map(|one| one["contactKey"].as_str().unwrap()).collect();
        assert_eq!(keys, ["a", "b"].repeat(10));
        assert_eq!(stored().await, 22);

        // The last contact has no room for another property: nothing of the batch is stored.
        let no_room = json!({ "name": "seen", "userId": "full", "contactProperties": { "new": 1 } });
        let answer = batch(vec![known("a", 1), known("b", 1), no_room]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        assert_eq!(stored().await, 22);

        // A contact that does not exist yet: everything is stored, once.
        let answer = batch(vec![known("a", 2), known("new", 2), known("b", 2)]).await;
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert!(results.iter().all(|one| one["stored"] == true), "{results:?}");
        assert_eq!(stored().await, 25);

        // Requests that are stored together do not share their fate.
        let (whole, refused) = tokio::join!(
            async { futures_util::future::join_all((0..8).map(|n| batch(vec![known("a", n); 5]))).await },
            batch(vec![known("a", 3), json!({
                "name": "seen", "userId": "full", "contactProperties": { "new": 1 }
            })]),
        );
        assert!(whole.iter().all(|answer| answer.status == StatusCode::ACCEPTED));
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(stored().await, 65);
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

/// One event whose statement takes too long costs nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_database_gives_up_spoils_no_other() {
    let server = Server::start(Store::native().await).await;
    // As the server ends a statement that takes longer than it may.
    server
        .run_sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'canceling statement' USING ERRCODE = '57014'; END $$",
        )
        .await;
    server
        .run_sql(
            "CREATE TRIGGER slow BEFORE INSERT ON user_events FOR EACH ROW
             WHEN (NEW.name = 'slow') EXECUTE FUNCTION slow()",
        )
        .await;
    let posts = (0..60).map(|n| {
        let name = if n % 20 == 7 { "slow" } else { "t.once" };
        let body = json!({ "event": name, "userId": format!("u{n}") });
        let server = &server;
        async move { (name, server.post("/v1/ingest", &body).await.status) }
    });
    for (name, status) in join_all(posts).await {
        let expected = match name {
            "slow" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::ACCEPTED,
        };
        assert_eq!(status, expected, "{name}");
    }
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 57);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_takes_longer_than_its_transaction_may() {
    use hogsend::db::{self, Patience, Tx};

    let server = Server::start(Store::native().await).await;
    let bound = async |mut tx: Tx| {
        let sql = "SELECT current_setting('statement_timeout')";
        let bound: String = sqlx::query_scalar(sql).fetch_one(&mut *tx).await?;
        db::Result::Ok((tx, bound))
    };
    let db = &server.app.db;
    assert_eq!(db.transact(bound).await.unwrap(), "25s");
    assert_eq!(
        db.transact_within(Patience::Shared, bound).await.unwrap(),
        "10s"
    );
    // Single statements, also after a migration on the same connection.
    for _ in 0..2 {
        let sql = "SELECT current_setting('statement_timeout')";
        assert_eq!(server.text(sql).await, "1min");
        db::migrate(db).await.unwrap();
    }
    server.stop().await;
}

/// However many lists an event names, only those there are cost anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_with_more_lists_than_there_are_is_like_any_other() {
    let server = Server::start(Store::native().await).await;
    let lists: serde_json::Map<_, _> = (0..20_000)
        .map(|n| (format!("list-{n}"), json!(n % 2 == 0)))
        .chain([("journey".to_owned(), json!(false))])
        .collect();
    let body = json!({ "name": "a", "userId": "u", "lists": lists });
    let events = json!({ "events": [body, body] });
    let answer = server.post("/v1/events/batch", &events).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let error = answer.json()["results"][0]["listsError"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        error.contains("and 19980 more") && error.len() < 4_000,
        "{error}"
    );
    let sql = "SELECT categories::text FROM email_preferences";
    assert_eq!(server.text(sql).await, r#"{"journey": false}"#);
    assert_eq!(
        server.count("SELECT count(*) FROM consent_changes").await,
        1
    );
    server.stop().await;
}
