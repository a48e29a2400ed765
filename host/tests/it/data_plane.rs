//! Contacts, lists and mails from the product's own code.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::{Answer, Server, Store};

const KEY: &str = "an-admin-key-of-tests";

async fn server() -> Server {
    Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await
}

async fn call(server: &Server, method: Method, path: &str, body: Value) -> Answer {
    server.call(method, path, KEY, Some(&body)).await
}

async fn put(server: &Server, body: Value) -> Value {
    let answer = call(server, Method::PUT, "/v1/contacts", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_is_created_found_changed_and_erased() {
    let server = server().await;
    let first = put(&server, json!({ "userId": "u1", "email": "Ann@Example.com", "properties": { "plan": "pro", "old": 1 }, "lists": { "journey": false } })).await;
    assert_eq!(
        (&first["created"], &first["linked"]),
        (&json!(true), &json!(false))
    );
    let again = put(
        &server,
        json!({ "userId": "u1", "properties": { "plan": "team", "old": null } }),
    )
    .await;
    assert_eq!(
        (&again["id"], &again["created"]),
        (&first["id"], &json!(false))
    );
    for query in ["email=ann%40example.com", "userId=u1"] {
        let found = server
            .call(
                Method::GET,
                &format!("/v1/contacts/find?{query}"),
                KEY,
                None,
            )
            .await
            .json();
        let contact = &found["contacts"][0];
        assert_eq!(contact["externalId"], "u1", "{query}");
        assert_eq!(contact["properties"], json!({ "plan": "team" }));
        for time in ["firstSeenAt", "lastSeenAt", "createdAt", "updatedAt"] {
            assert!(contact[time].as_str().unwrap().ends_with('Z'), "{time}");
        }
    }
    assert_eq!(
        server
            .text("SELECT categories::text FROM email_preferences")
            .await,
        r#"{"journey": false}"#
    );
    let erased = call(
        &server,
        Method::DELETE,
        "/v1/contacts",
        json!({ "userId": "u1" }),
    )
    .await;
    assert_eq!(erased.json(), json!({ "deleted": true }));
    let erased = call(
        &server,
        Method::DELETE,
        "/v1/contacts",
        json!({ "userId": "u1" }),
    )
    .await;
    assert_eq!(erased.json(), json!({ "deleted": false }));
    let found = server
        .call(Method::GET, "/v1/contacts/find?userId=u1", KEY, None)
        .await;
    assert_eq!(found.json(), json!({ "contacts": [] }));
    server.stop().await;
}

on_each_store! {
    async fn two_contacts_that_are_one_person_become_one(server: Server) {
        // Three contacts: by anonymous id, by address, and by external id.
        for body in [
            json!({ "name": "t.slow", "anonymousId": "visit-1", "email": "ann@example.com", "contactProperties": { "seen": "web", "plan": "free" } }),
            json!({ "name": "t.slow", "userId": "u1", "contactProperties": { "plan": "pro" } }),
            json!({ "name": "feature.used", "userId": "u1" }),
        ] {
            assert_eq!(server.post("/v1/events", &body).await.status, 202);
        }
        server.drain().await;
        server.run_sql("INSERT INTO email_preferences (contact_id, unsubscribed_all, categories, updated_at) SELECT id, external_id IS NULL, CASE WHEN external_id IS NULL THEN '{\"news\": false}'::jsonb ELSE '{\"news\": true, \"tips\": false}' END, now() FROM contacts").await;
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 2);
        let put = server.call(Method::PUT, "/v1/contacts", "", Some(&json!({ "userId": "u1", "email": "ANN@example.com" }))).await;
        // In development only events need no key.
        assert_eq!(put.status, 401);
        let link = json!({ "name": "t.link", "userId": "u1", "email": "ANN@example.com" });
        assert_eq!(server.post("/v1/events", &link).await.status, 202);

        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        assert_eq!(server.text("SELECT external_id || ' ' || lower(email) || ' ' || (properties->>'plan') || ' ' || (properties->>'seen') FROM contacts").await, "u1 ann@example.com pro web");
        // The stricter of the two opt-outs.
        assert_eq!(server.text("SELECT unsubscribed_all || ' ' || categories FROM email_preferences").await, r#"true {"news": false, "tips": false}"#);
        // The history is merged, and of two runs of a journey the earlier one continues.
        assert_eq!(server.count("SELECT count(*) FROM user_events e JOIN contacts c ON c.id = e.contact_id").await, server.count("SELECT count(*) FROM user_events").await);
        assert_eq!(server.text("SELECT string_agg(status, ' ' ORDER BY created_at, id) FROM journey_states").await, "waiting exited");
        server.advance(Duration::from_secs(2 * 86_400)).await;
        assert_eq!(server.text("SELECT status FROM journey_states ORDER BY created_at, id LIMIT 1").await, "completed");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_links_of_the_same_names_make_one_contact() {
    let server = server().await;
    for round in 0..10 {
        put(&server, json!({ "email": format!("p{round}@example.com") })).await;
        let bodies = [
            json!({ "userId": format!("p{round}"), "email": format!("p{round}@example.com") }),
            json!({ "userId": format!("p{round}"), "anonymousId": format!("a{round}") }),
            json!({ "email": format!("p{round}@example.com"), "anonymousId": format!("a{round}") }),
            json!({ "anonymousId": format!("a{round}"), "userId": format!("p{round}"), "email": format!("p{round}@example.com") }),
        ];
        let calls = (0..12).map(|n| put(&server, bodies[n % bodies.len()].clone()));
        futures_util::future::join_all(calls).await;
        put(&server, bodies[3].clone()).await;
    }
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_events_is_stored_whole_or_not_at_all() {
    let server = server().await;
    let good = |n: usize| json!({ "name": "test.signup", "userId": format!("b{n}"), "idempotencyKey": format!("k{n}") });
    let batch = json!({ "events": [good(1), good(2), good(1)] });
    let answer = call(&server, Method::POST, "/v1/events/batch", batch).await;
    assert_eq!(answer.status, 202);
    let stored: Vec<_> = answer.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["stored"].clone())
        .collect();
    assert_eq!(stored, [json!(true), json!(true), json!(false)]);
    let bad =
        json!({ "events": [good(3), { "userId": "x" }, { "name": "x", "timestamp": "soon" }] });
    let answer = call(&server, Method::POST, "/v1/events/batch", bad).await;
    assert_eq!(answer.status, 400);
    let issues = answer.json()["error"]["issues"].clone();
    let paths: Vec<_> = issues
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        ["events.1.name", "events.2.timestamp", "events.2"],
        "{issues}"
    );
    for events in [json!([]), json!(vec![good(9); 1_001])] {
        let answer = call(
            &server,
            Method::POST,
            "/v1/events/batch",
            json!({ "events": events }),
        )
        .await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'test.signup'")
            .await,
        2
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_is_queued_once_for_its_key_and_sent_by_the_worker() {
    let server = server().await;
    let body = json!({ "to": "ann@bücher.example", "template": "password-reset", "props": { "url": "https://acme.test/reset?x=1" },
                       "from": "Acme <a@acme.test>", "replyTo": "help@acme.test", "subject": "Your new password", "idempotencyKey": "reset-1" });
    let first = call(&server, Method::POST, "/v1/emails", body.clone()).await;
    assert_eq!(
        (first.status.as_u16(), &first.json()["status"]),
        (202, &json!("queued")),
        "{}",
        first.text()
    );
    server.drain().await;
    let again = call(&server, Method::POST, "/v1/emails", body).await.json();
    assert_eq!(again["emailSendId"], first.json()["emailSendId"]);
    assert_eq!(again["status"], "sent");
    assert_eq!(
        server.text("SELECT category || ' ' || to_email || ' ' || (mail->>'from') || ' ' || (mail->>'reply_to') || ' ' || subject FROM email_sends").await,
        "transactional ann@xn--bcher-kva.example Acme <a@acme.test> help@acme.test Your new password"
    );
    // Links of transactional mail are not stored.
    assert_eq!(server.count("SELECT count(*) FROM tracked_links").await, 0);
    for (body, path) in [
        (
            json!({ "to": "ann@example.com", "template": "no-such" }),
            "template",
        ),
        (json!({ "to": "ann@example.com" }), "template"),
        (json!({ "template": "welcome" }), ""),
        (json!({ "to": "nonsense", "template": "welcome" }), "email"),
        (
            json!({ "to": "ann@example.com", "template": "welcome", "from": "x" }),
            "from",
        ),
        (
            json!({ "to": "ann@example.com", "template": "welcome", "subject": " " }),
            "subject",
        ),
        (
            json!({ "to": "ann@example.com", "template": "welcome", "idempotencyKey": "" }),
            "idempotencyKey",
        ),
    ] {
        let answer = call(&server, Method::POST, "/v1/emails", body.clone()).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                &answer.json()["error"]["issues"][0]["path"]
            ),
            (400, &json!(path)),
            "{body}: {}",
            answer.text()
        );
    }
    let unknown = call(
        &server,
        Method::POST,
        "/v1/emails",
        json!({ "userId": "nobody", "template": "welcome" }),
    )
    .await;
    assert_eq!(unknown.status, 404);
    let same =
        json!({ "to": "bob@example.com", "template": "welcome", "idempotencyKey": "at once" });
    let calls = (0..8).map(|_| call(&server, Method::POST, "/v1/emails", same.clone()));
    let answers = futures_util::future::join_all(calls).await;
    let ids: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|one| one.json()["emailSendId"].to_string())
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_joined_and_left() {
    let server = server().await;
    let lists = server
        .call(Method::GET, "/v1/lists", KEY, None)
        .await
        .json();
    let ids: Vec<_> = lists["lists"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        ids.contains(&"journey".to_owned()) && !ids.contains(&"transactional".to_owned()),
        "{ids:?}"
    );
    let ann = json!({ "email": "ann@example.com" });
    let left = call(
        &server,
        Method::POST,
        "/v1/lists/journey/unsubscribe",
        ann.clone(),
    )
    .await;
    assert_eq!(
        left.json(),
        json!({ "list": "journey", "subscribed": false })
    );
    assert_eq!(
        server
            .text("SELECT categories::text FROM email_preferences")
            .await,
        r#"{"journey": false}"#
    );
    let back = call(
        &server,
        Method::POST,
        "/v1/lists/journey/subscribe",
        json!({ "email": "ann@example.com", "consent": true }),
    )
    .await;
    assert_eq!(
        back.json(),
        json!({ "list": "journey", "subscribed": true })
    );
    assert_eq!(
        call(&server, Method::POST, "/v1/lists/no-such/subscribe", ann)
            .await
            .status,
        404
    );
    let nobody = call(
        &server,
        Method::POST,
        "/v1/lists/journey/subscribe",
        json!({}),
    )
    .await;
    assert_eq!(nobody.status, 400);
    // An event sets them in the transaction that stores it.
    let event = json!({ "name": "x", "email": "ann@example.com", "lists": { "journey": false } });
    assert_eq!(
        call(&server, Method::POST, "/v1/events", event)
            .await
            .status,
        202
    );
    assert_eq!(
        server
            .text("SELECT categories::text FROM email_preferences")
            .await,
        r#"{"journey": false}"#
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_any_size_are_returned_unchanged() {
    let server = server().await;
    let numbers = json!([
        f64::MAX,
        -f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        0.1,
        1e23,
        123_456_789.123_456_79,
        u64::MAX,
        i64::MIN,
        9_007_199_254_740_993_i64,
    ]);
    let body = json!({ "userId": "u1", "properties": { "n": numbers } });
    let put = server.call(Method::PUT, "/v1/contacts", KEY, Some(&body));
    assert_eq!(put.await.status, 200);
    let found = server.call(Method::GET, "/v1/contacts/find?userId=u1", KEY, None);
    let found = found.await.json();
    assert_eq!(found["contacts"][0]["properties"]["n"], numbers);
    let body = json!({ "name": "e", "userId": "u1", "eventProperties": { "n": numbers } });
    let kept = server.call(Method::POST, "/v1/events", KEY, Some(&body));
    assert_eq!(kept.await.status, 202);
    let events = server.call(Method::GET, "/v1/admin/events", KEY, None);
    let events = events.await.json();
    assert_eq!(events["events"][0]["properties"]["n"], numbers);
    server.stop().await;
}
