//! Historical events fill gaps. They replace no newer value and trigger nothing.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::admin::{self, KEY};
use crate::support::{Server, Store, posthog};

/// A call with the server's API key, if it has one.
async fn post(server: &Server, path: &str, body: Value) {
    let key = match server.app.config.admin_api_key {
        Some(_) => KEY,
        None => "",
    };
    let answer = server.call(Method::POST, path, key, Some(&body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
}

fn past(user: &str, at: &str, properties: Value) -> Value {
    json!({ "name": "x", "userId": user, "historical": true, "timestamp": at, "contactProperties": properties })
}

async fn known(server: &Server) -> Value {
    let all = "SELECT jsonb_object_agg(external_id, properties)::text FROM contacts";
    serde_json::from_str(&server.text(all).await).unwrap()
}

/// When each contact was first and last seen, by product id.
async fn seen(server: &Server) -> Vec<String> {
    let all = "SELECT string_agg(external_id || ' ' || (first_seen_at AT TIME ZONE 'UTC') || ' ' ||
                   (last_seen_at AT TIME ZONE 'UTC'), ',' ORDER BY external_id) FROM contacts";
    let text = server.text(all).await;
    text.split(',').map(str::to_owned).collect()
}

on_each_store! {
    async fn the_past_fills_gaps_and_replaces_nothing(server: Server) {
        let live = json!({ "name": "x", "userId": "ann", "contactProperties": { "plan": "pro" } });
        post(&server, "/v1/events", live).await;
        let now = format!("{}", server.now().format("%Y-%m-%d %H:%M:%S"));
        let old = json!({ "plan": "free", "country": "de", "gone": null });
        post(&server, "/v1/events", past("ann", "2025-01-01T00:00:00Z", old)).await;
        assert_eq!(known(&server).await["ann"], json!({ "plan": "pro", "country": "de" }));
        assert_eq!(seen(&server).await, [format!("ann 2025-01-01 00:00:00 {now}")]);
        // An event without contact properties also moves `first_seen_at`.
        post(&server, "/v1/events", past("ann", "2024-06-01T00:00:00Z", json!({}))).await;
        post(&server, "/v1/events", past("ann", "2024-07-01T00:00:00Z", json!({ "plan": "pro" }))).await;
        assert_eq!(seen(&server).await, [format!("ann 2024-06-01 00:00:00 {now}")]);
        // A current event replaces values from the past.
        let live = json!({ "name": "x", "userId": "ann", "contactProperties": { "country": "it" } });
        post(&server, "/v1/events", live).await;
        assert_eq!(known(&server).await["ann"], json!({ "plan": "pro", "country": "it" }));
        server.stop().await;
    }
}

on_each_store! {
    async fn of_a_past_told_at_once_the_newest_word_counts(server: Server) {
        let events = [
            past("bob", "2023-01-01T00:00:00Z", json!({ "plan": "free", "first": true })),
            past("bob", "2025-01-01T00:00:00Z", json!({ "plan": "team" })),
            past("bob", "2024-01-01T00:00:00Z", json!({ "plan": "pro", "first": false })),
        ];
        post(&server, "/v1/events/batch", json!({ "events": events })).await;
        assert_eq!(known(&server).await["bob"], json!({ "plan": "team", "first": false }));
        // The contact was not seen since.
        assert_eq!(seen(&server).await, ["bob 2023-01-01 00:00:00 2025-01-01 00:00:00"]);
        post(&server, "/v1/events", past("bob", "2025-02-01T00:00:00Z", json!({}))).await;
        assert_eq!(seen(&server).await, ["bob 2023-01-01 00:00:00 2025-02-01 00:00:00"]);
        // Too many properties are refused here as well.
        let many: serde_json::Map<String, Value> = (0..999).map(|n| (format!("p{n}"), json!(n))).collect();
        let body = past("bob", "2022-01-01T00:00:00Z", many.into());
        let key = "";
        let answer = server.call(Method::POST, "/v1/events", key, Some(&body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        server.stop().await;
    }
}

on_each_store! {
    async fn a_person_was_seen_first_when_the_visitor_was(server: Server) {
        let visit = |id: &str, at: &str| json!({ "name": "x", "anonymousId": id, "timestamp": at });
        // A new contact, and a contact that is older than its device.
        post(&server, "/v1/events", json!({ "name": "x", "userId": "ann" })).await;
        for (id, at) in [("d1", "2026-02-01T00:00:00Z"), ("d1", "2026-02-03T00:00:00Z"), ("d2", "2026-02-02T00:00:00Z")] {
            post(&server, "/v1/events", visit(id, at)).await;
        }
        let now = format!("{}", server.now().format("%Y-%m-%d %H:%M:%S"));
        assert_eq!(seen(&server).await, [format!("ann {now} {now}")]);
        post(&server, "/v1/events", json!({ "name": "x", "userId": "ann", "anonymousId": "d1" })).await;
        post(&server, "/v1/events", json!({ "name": "x", "userId": "bob", "anonymousId": "d2" })).await;
        let expected = [format!("ann 2026-02-01 00:00:00 {now}"), format!("bob 2026-02-02 00:00:00 {now}")];
        assert_eq!(seen(&server).await, expected);
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE historical").await, 3);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_the_past_offers_no_journey_again() {
    let server = admin::server().await;
    let address = json!({ "name": "x", "userId": "ann", "email": "ann@example.com", "historical": true,
                          "timestamp": "2026-02-01T00:00:00Z" });
    // A historical trigger enrols nobody, so there is no journey to offer again.
    let created = json!({ "name": "user.created", "userId": "ann", "historical": true,
                          "timestamp": "2026-02-01T00:00:00Z" });
    post(&server, "/v1/events", created).await;
    post(&server, "/v1/events", address.clone()).await;
    server.drain().await;
    assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 0);
    assert_eq!(
        server.text("SELECT email FROM contacts").await,
        "ann@example.com"
    );
    server.stop().await;

    // A historical address does not release mail for a current trigger either.
    let server = admin::server().await;
    post(
        &server,
        "/v1/events",
        json!({ "name": "user.created", "userId": "ann" }),
    )
    .await;
    server.drain().await;
    post(&server, "/v1/events", address).await;
    server.drain().await;
    let mails = "SELECT string_agg(status || ' ' || reason, ',') FROM email_sends";
    assert_eq!(server.text(mails).await, "skipped no_address");
    assert_eq!(
        server.text("SELECT email FROM contacts").await,
        "ann@example.com"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_of_a_source_was_seen_when_they_came() {
    let server = Server::start(Store::native().await).await;
    let mut visit = posthog("v1", "$pageview", "device", "", "A");
    visit["person"] = json!({});
    visit["event"]["properties"] = json!({ "$process_person_profile": false });
    visit["event"]["timestamp"] = json!("2026-03-01T00:00:00Z");
    server.post("/v1/webhooks/posthog", &visit).await;
    let mut identify = posthog("v2", "$identify", "ann", "ann@example.com", "Ann");
    identify["event"]["properties"] = json!({ "$anon_distinct_id": "device" });
    server.post("/v1/webhooks/posthog", &identify).await;
    let first = "SELECT (first_seen_at AT TIME ZONE 'UTC')::text FROM contacts";
    assert_eq!(server.text(first).await, "2026-03-01 00:00:00");
    server.stop().await;
}
