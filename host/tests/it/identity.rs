//! Identity: a contact is found by any of its names, created once and merged with others of the same
//! person, but never because of an untrusted event.

use axum::http::{Method, StatusCode};
use futures_util::future::join_all;
use hogsend::contacts::fill_addresses;
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::admin::{self, KEY};
use crate::support::{Answer, Server, Store};

/// A webhook of PostHog. `names` are the distinct id and, if there is one, the person's id.
async fn told(server: &Server, event: &str, (id, person): (&str, &str), more: Value) -> Value {
    let mut body = json!({
        "event": { "uuid": uuid::Uuid::new_v4(), "event": event, "distinct_id": id,
                   "properties": more["properties"] },
        "person": { "properties": more["person"] },
    });
    if !person.is_empty() {
        body["person"]["id"] = json!(person);
    }
    let answer = server.post("/v1/webhooks/posthog", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

/// A call with the server's API key, if it has one.
async fn call(server: &Server, path: &str, body: &Value) -> Answer {
    let key = match server.app.config.admin_api_key {
        Some(_) => KEY,
        None => "",
    };
    server.call(Method::POST, path, key, Some(body)).await
}

async fn post(server: &Server, body: Value) -> Value {
    let answer = call(server, "/v1/events", &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()
}

async fn put(server: &Server, body: Value) -> Value {
    let answer = server
        .call(Method::PUT, "/v1/contacts", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn trusting() -> Server {
    let variables = [("ADMIN_API_KEY", KEY), ("TRUSTED_SOURCES", "posthog")];
    Server::with(Store::native().await, &variables).await
}

on_each_store! {
    async fn two_ids_of_one_person_are_one_contact_and_enter_once(server: Server) {
        let mail = json!({ "person": { "email": "ann@example.com" } });
        told(&server, "t.once", ("ann", "p1"), mail.clone()).await;
        told(&server, "t.once", ("ann-phone", "p1"), mail).await;
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 1);
        assert_eq!(server.text("SELECT external_id FROM contacts").await, "ann");
        assert_eq!(server.count("SELECT count(*) FROM contact_identities WHERE kind = 'user' AND value = 'ann-phone'").await, 1);
        // From now on each id finds the contact, without the person's id.
        told(&server, "x", ("ann-phone", ""), json!({})).await;
        assert_eq!(post(&server, json!({ "name": "x", "userId": "ann-phone" })).await["contactKey"], "ann");
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        server.stop().await;
    }
}

on_each_store! {
    async fn a_visitor_is_nobody_until_something_identifies_them(server: Server) {
        let anonymous = json!({ "properties": { "$process_person_profile": false, "$set_once": { "source": "ad" } } });
        let answer = told(&server, "t.once", ("dev-1", "p1"), anonymous).await;
        assert_eq!((&answer["event"], &answer["exits"]), (&json!("t.once"), &json!([])));
        let stored = post(&server, json!({ "name": "t.once", "anonymousId": "dev-1", "timestamp": "2026-03-01T00:00:00Z" })).await;
        assert_eq!((&stored["stored"], &stored["contactKey"]), (&json!(true), &json!("dev-1")));
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 0);
        assert_eq!(server.count("SELECT count(*) FROM anonymous_events").await, 2);
        let identify = json!({ "properties": { "$anon_distinct_id": "dev-1" }, "person": { "email": "ann@example.com" } });
        told(&server, "$identify", ("ann", "p1"), identify).await;
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        // The events became history with their own times and started no journey.
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE historical AND name = 't.once'").await, 2);
        assert_eq!(server.text("SELECT (min(occurred_at) AT TIME ZONE 'UTC')::text FROM user_events").await, "2026-03-01 00:00:00");
        assert_eq!(server.text("SELECT properties->>'source' FROM contacts").await, "ad");
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 0);
        assert_eq!(server.count("SELECT count(*) FROM anonymous_events").await, 0);
        // The visitor's next event belongs to the contact.
        assert_eq!(post(&server, json!({ "name": "t.once", "anonymousId": "dev-1" })).await["contactKey"], "ann");
        assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 1);
        server.stop().await;
    }
}

/// A batch with a visitor's events and the event that identifies the visitor, in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_who_signs_up_within_one_batch_is_one_person() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let server = admin::server().await;
        let events = [
            json!({ "name": "seen", "anonymousId": "d" }),
            json!({ "name": "signed-up", "anonymousId": "d", "email": "Ann@example.com" }),
            json!({ "name": "bought", "userId": "ann", "email": "ann@Example.com" }),
        ];
        let events: Vec<&Value> = order.iter().map(|at| &events[*at]).collect();
        let body = json!({ "events": events });
        let answer = server
            .call(Method::POST, "/v1/events/batch", KEY, Some(&body))
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let people = "SELECT count(*) FROM contacts";
        assert_eq!(server.count(people).await, 1, "{order:?}");
        let theirs = "SELECT count(*) FROM user_events e JOIN contacts c ON c.id = e.contact_id WHERE c.external_id = 'ann'";
        assert_eq!(server.count(theirs).await, 3, "{order:?}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_is_made_of_a_visitor_on_demand_and_found_by_that_id() {
    let server = admin::server().await;
    post(&server, json!({ "name": "seen", "anonymousId": "d" })).await;
    let made = put(
        &server,
        json!({ "anonymousId": "d", "properties": { "a": 1 } }),
    )
    .await;
    assert_eq!(
        (&made["created"], &made["linked"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 1);
    let again = put(&server, json!({ "anonymousId": "d" })).await;
    assert_eq!(
        (&again["id"], &again["created"]),
        (&made["id"], &json!(false))
    );
    let linked = put(
        &server,
        json!({ "anonymousId": "d", "userId": "ann", "email": "ann@example.com" }),
    )
    .await;
    assert_eq!(
        (&linked["id"], &linked["linked"]),
        (&made["id"], &json!(true))
    );
    let linked = put(&server, json!({ "anonymousId": "d2", "userId": "ann" })).await;
    assert_eq!(
        (&linked["id"], &linked["linked"]),
        (&made["id"], &json!(true))
    );
    let again = put(&server, json!({ "anonymousId": "d2" })).await;
    assert_eq!(
        (&again["id"], &again["linked"]),
        (&made["id"], &json!(false))
    );
    // Another account on the same device is another person.
    let other = put(&server, json!({ "anonymousId": "d", "userId": "bob" })).await;
    assert_eq!(other["created"], true);
    server.stop().await;
}

/// Spellings of one mailbox that databases and languages treat as different.
const SPELLINGS: &[&[&str]] = &[
    &[
        "ann@example.com",
        " Ann@EXAMPLE.com",
        "a\u{200b}nn@example.com",
        "ann@exam\u{ad}ple.com",
    ],
    &["İnci@example.com", "inci@example.com", "INCI@example.com"],
    &["ΝΙΚΟΣ@example.com", "νικοσ@example.com"],
    &[
        "MÜLLER@example.com",
        "müller@example.com",
        "mu\u{308}ller@example.com",
    ],
    &[
        "café@example.com",
        "CAFE\u{301}@example.com",
        "\u{feff}CAFÉ@example.com",
    ],
    &["x@bücher.test", "x@xn--bcher-kva.test", "X@BÜCHER.test"],
];

on_each_store! {
    async fn spellings_of_one_address_are_one_person_at_every_door(server: Server) {
        for spellings in SPELLINGS {
            for one in spellings.iter().chain(spellings.iter().rev()) {
                post(&server, json!({ "name": "x", "email": one })).await;
                let events: Vec<Value> = spellings.iter().map(|it| json!({ "name": "y", "email": it })).collect();
                let answer = call(&server, "/v1/events/batch", &json!({ "events": events })).await;
                assert_eq!(answer.status, StatusCode::ACCEPTED, "{one:?}: {}", answer.text());
            }
        }
        let made = i64::try_from(SPELLINGS.len()).unwrap();
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, made);
        assert_eq!(server.count("SELECT count(DISTINCT address) FROM contacts WHERE address_of = email").await, made);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spelling_finds_and_erases() {
    let server = admin::server().await;
    for spellings in SPELLINGS {
        let made = put(&server, json!({ "email": spellings[0] })).await;
        for one in *spellings {
            let query = one
                .bytes()
                .map(|byte| format!("%{byte:02x}"))
                .collect::<String>();
            let path = format!("/v1/contacts/find?email={query}");
            let found = server.call(Method::GET, &path, KEY, None).await.json();
            assert_eq!(found["contacts"][0]["id"], made["id"], "{one:?}");
            let again = put(&server, json!({ "email": one })).await;
            assert_eq!(again["id"], made["id"], "{one:?}");
        }
        let last = spellings.last().unwrap();
        let body = json!({ "email": last });
        let answer = server
            .call(Method::DELETE, "/v1/contacts", KEY, Some(&body))
            .await;
        assert_eq!(answer.json(), json!({ "deleted": true }), "{last:?}");
    }
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 0);
    server.stop().await;
}

/// Values that programs send when they have no id.
const NO_IDS: [&str; 12] = [
    "undefined",
    "UNDEFINED",
    "null",
    "NULL",
    "None",
    "none",
    "NaN",
    "[object Object]",
    "0",
    " ",
    "00000000-0000-0000-0000-000000000000",
    "\u{200b}",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_makes_no_person_of_strangers() {
    let server = admin::server().await;
    let refused = |answer: Answer, path: &str, id: &str| {
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{id:?} {}",
            answer.text()
        );
        let issues = answer.json()["error"]["issues"].clone();
        assert_eq!(issues[0]["path"], path, "{id:?} {issues}");
        assert!(
            issues[0]["message"]
                .as_str()
                .unwrap()
                .starts_with("must not be empty")
                || issues[0]["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("is no id"),
            "{issues}"
        );
    };
    for id in NO_IDS {
        refused(
            call(
                &server,
                "/v1/ingest",
                &json!({ "event": "x", "userId": id }),
            )
            .await,
            "userId",
            id,
        );
        for field in ["userId", "anonymousId"] {
            let event = json!({ "name": "x", field: id, "email": "a@example.com" });
            refused(call(&server, "/v1/events", &event).await, field, id);
            let batch = json!({ "events": [event] });
            refused(
                call(&server, "/v1/events/batch", &batch).await,
                &format!("events.0.{field}"),
                id,
            );
            let body = json!({ field: id });
            let answer = server
                .call(Method::PUT, "/v1/contacts", KEY, Some(&body))
                .await;
            refused(answer, field, id);
        }
        let body = json!({ "userId": id, "template": "t-plain" });
        let answer = server
            .call(Method::POST, "/v1/emails", KEY, Some(&body))
            .await;
        refused(answer, "userId", id);
        let hook = json!({ "event": { "event": "x", "distinct_id": id } });
        let answer = server.post("/v1/webhooks/posthog", &hook).await;
        if !id.trim().is_empty() {
            assert_eq!(answer.json()["skipped"], true, "{id:?} {}", answer.text());
            assert!(
                answer.json()["reason"]
                    .as_str()
                    .unwrap()
                    .contains("is no id")
                    || id == "\u{200b}"
            );
        }
        // With an address, the event belongs to the contact with that address.
        let hook = json!({
            "event": { "event": "x", "distinct_id": id },
            "person": { "id": id, "properties": { "email": "known@example.com" } }
        });
        server.post("/v1/webhooks/posthog", &hook).await;
    }
    assert_eq!(
        server
            .count("SELECT count(*) FROM contacts WHERE email <> 'known@example.com'")
            .await,
        0
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
    assert_eq!(
        server
            .count("SELECT count(*) FROM contact_identities")
            .await,
        0
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_change_no_address_and_join_no_known_people() {
    let server = admin::server().await;
    put(
        &server,
        json!({ "userId": "ann", "email": "ann@example.com" }),
    )
    .await;
    put(
        &server,
        json!({ "userId": "bob", "email": "bob@example.com" }),
    )
    .await;
    put(&server, json!({ "email": "news@example.com" })).await;
    let mail = |email: &str| json!({ "person": { "email": email } });
    told(&server, "$pageview", ("ann", ""), mail("evil@example.com")).await;
    told(
        &server,
        "$identify",
        ("ann", ""),
        json!({ "properties": { "$set": { "email": "evil@example.com" } } }),
    )
    .await;
    let alias = json!({ "properties": { "alias": "bob" } });
    told(&server, "$create_alias", ("ann", ""), alias.clone()).await;
    told(&server, "$merge_dangerously", ("ann", "p1"), alias).await;
    // An untrusted event does not claim an unknown id either.
    told(
        &server,
        "$create_alias",
        ("ann", ""),
        json!({ "properties": { "alias": "carl" } }),
    )
    .await;
    told(&server, "x", ("dora", ""), mail("news@example.com")).await;
    assert_eq!(
        server
            .text("SELECT email FROM contacts WHERE external_id = 'ann'")
            .await,
        "ann@example.com"
    );
    assert_eq!(server.text("SELECT string_agg(coalesce(external_id, '-'), ' ' ORDER BY external_id) FROM contacts").await, "ann bob dora -");
    assert_eq!(
        server
            .count("SELECT count(*) FROM contact_identities WHERE kind = 'user'")
            .await,
        0
    );
    assert_eq!(server.text("SELECT string_agg(coalesce(p.address, o.email), ' ' ORDER BY p.id) FROM pending_changes p LEFT JOIN contacts o ON o.id = p.other_id").await, "evil@example.com bob@example.com news@example.com");
    assert_eq!(
        server
            .text("SELECT email_unconfirmed::text FROM contacts WHERE external_id = 'dora'")
            .await,
        "true"
    );
    // A trusted call applies the pending change.
    put(
        &server,
        json!({ "userId": "dora", "email": "news@example.com" }),
    )
    .await;
    put(
        &server,
        json!({ "userId": "ann", "email": "evil@example.com" }),
    )
    .await;
    assert_eq!(
        server.count("SELECT count(*) FROM pending_changes").await,
        1
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM contacts WHERE email_unconfirmed")
            .await,
        0
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM contacts WHERE external_id IS NULL")
            .await,
        0
    );
    assert_eq!(
        server
            .text("SELECT reason || ' ' || source FROM contact_merges")
            .await,
        "address api"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_are_one_come_together_with_all_they_have() {
    let server = trusting().await;
    for (id, email) in [("ann", "ann@example.com"), ("ann-2", "ann2@example.com")] {
        put(
            &server,
            json!({ "userId": id, "email": email, "properties": { "id": id, id: 1 } }),
        )
        .await;
        for event in ["t.slow", "t.once", "t.exit"] {
            post(&server, json!({ "name": event, "userId": id })).await;
        }
    }
    let body = json!({ "userId": "ann-2", "consent": true });
    let left = server
        .call(
            Method::POST,
            "/v1/lists/journey/unsubscribe",
            KEY,
            Some(&body),
        )
        .await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.text());
    server.drain().await;
    told(
        &server,
        "$merge_dangerously",
        ("ann", ""),
        json!({ "properties": { "alias": "ann-2" } }),
    )
    .await;
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
    assert_eq!(
        server
            .text("SELECT external_id || ' ' || email || ' ' || properties::text FROM contacts")
            .await,
        r#"ann ann@example.com {"id": "ann", "ann": 1, "ann-2": 1}"#
    );
    // One open run per journey continues; the other exits with an event.
    assert_eq!(server.text("SELECT string_agg(journey_id || ' ' || status, ', ' ORDER BY journey_id, status) FROM journey_states WHERE journey_id IN ('t-exit', 't-slow')").await,
        "t-exit exited, t-exit waiting, t-slow exited, t-slow waiting");
    assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name = 'journey.exited' AND properties->>'reason' = 'merged'").await, 2);
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_states WHERE error_message = 'merged'")
            .await,
        2
    );
    // An enrolment of either contact counts.
    post(&server, json!({ "name": "t.once", "userId": "ann-2" })).await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_states WHERE journey_id = 't-once'")
            .await,
        2
    );
    assert_eq!(
        server
            .text("SELECT categories::text FROM email_preferences")
            .await,
        r#"{"journey": false}"#
    );
    // The log has the merged contact and the rows that moved.
    assert_eq!(
        server
            .text("SELECT snapshot->'contact'->>'external_id' FROM contact_merges")
            .await,
        "ann-2"
    );
    assert_eq!(server.count("SELECT count(*) FROM contact_merge_rows r JOIN user_events e ON e.id = r.row_id WHERE table_name = 'user_events' AND e.name LIKE 't.%'").await, 3);
    assert_eq!(
        server
            .count("SELECT count(*) FROM contact_merge_rows WHERE table_name = 'journey_states'")
            .await,
        3
    );
    // Every API finds the contact by its further id.
    let found = server
        .call(Method::GET, "/v1/contacts/find?userId=ann-2", KEY, None)
        .await
        .json();
    assert_eq!(found["contacts"][0]["externalId"], "ann");
    let shown = admin::get(&server, "/contacts/ann-2").await;
    assert_eq!(shown.json()["contact"]["externalId"], "ann");
    let body = json!({ "userId": "ann-2", "template": "t-plain" });
    let sent = server
        .call(Method::POST, "/v1/emails", KEY, Some(&body))
        .await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.text());
    for (path, list) in [
        ("/events?userId=ann-2", "events"),
        ("/journeys/t-slow/states?userId=ann-2", "states"),
        ("/emails?userId=ann-2", "emails"),
    ] {
        let found = admin::get(&server, path).await.json();
        assert!(found["total"].as_i64().unwrap() > 0, "{path} {found}");
        assert!(
            !found[list].as_array().unwrap().is_empty(),
            "{path} {found}"
        );
    }
    // No other contact can take it.
    let other = put(&server, json!({ "userId": "bob" })).await;
    let path = format!("/contacts/{}", other["id"].as_str().unwrap());
    let taken = admin::call(
        &server,
        Method::PATCH,
        &path,
        json!({ "externalId": "ann-2" }),
    )
    .await;
    assert_eq!(taken.status, StatusCode::CONFLICT, "{}", taken.text());
    // Erasing by the further id deletes everything.
    let body = json!({ "userId": "ann-2" });
    let answer = server
        .call(Method::DELETE, "/v1/contacts", KEY, Some(&body))
        .await;
    assert_eq!(answer.json(), json!({ "deleted": true }));
    for table in [
        "contact_identities",
        "contact_merges",
        "contact_merge_rows",
        "user_events",
    ] {
        let left = format!("SELECT count(*) FROM {table}");
        assert_eq!(
            server.count(Box::leak(left.into_boxed_str())).await,
            0,
            "{table}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_gives_nobody_a_name_that_somebody_has() {
    let server = admin::server().await;
    let make = async |body: Value| admin::call(&server, Method::POST, "/contacts", body).await;
    let first = make(json!({ "email": "müller@example.com" })).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text());
    let twin = make(json!({ "email": "MU\u{308}LLER@example.com" })).await;
    assert_eq!(twin.status, StatusCode::CONFLICT, "{}", twin.text());
    let other = make(json!({ "email": "other@example.com" })).await.json();
    let path = format!("/contacts/{}", other["contact"]["id"].as_str().unwrap());
    let change = async |body: Value| admin::call(&server, Method::PATCH, &path, body).await;
    let twin = change(json!({ "email": "MÜLLER@example.com" })).await;
    assert_eq!(twin.status, StatusCode::CONFLICT, "{}", twin.text());
    // Contacts with product ids may share an address.
    let shared = change(json!({ "externalId": "u2", "email": "MÜLLER@example.com" })).await;
    assert_eq!(shared.status, StatusCode::OK, "{}", shared.text());
    server.stop().await;
}

/// Many concurrent requests that name the same people by different names: no request fails, no id
/// belongs to two contacts, and no event is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_name_the_same_people_in_every_way_at_once_agree() {
    let server = trusting().await;
    let bodies: Vec<(&str, Value)> = (0..300)
        .map(|n: u32| {
            let (user, person, device) = (n % 11, n % 5, n % 7);
            match n % 4 {
                0 => ("/v1/events", json!({ "name": "x", "userId": format!("u{user}"), "anonymousId": format!("d{device}") })),
                1 => ("/v1/events", json!({ "name": "x", "email": format!("{person}@example.com"), "anonymousId": format!("d{device}") })),
                2 => ("/v1/webhooks/posthog", json!({
                    "event": { "uuid": format!("x{n}"), "event": "x", "distinct_id": format!("u{user}") },
                    "person": { "id": format!("p{person}"), "properties": { "email": format!("{person}@example.com") } } })),
                _ => ("/v1/webhooks/posthog", json!({
                    "event": { "uuid": format!("i{n}"), "event": "$identify", "distinct_id": format!("u{user}"),
                               "properties": { "$anon_distinct_id": format!("d{device}") } } })),
            }
        })
        .collect();
    let answers = join_all(bodies.iter().map(|(path, body)| call(&server, path, body))).await;
    for answer in &answers {
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    let doubled = "SELECT count(*) FROM (SELECT 1 FROM (
            SELECT 'user' AS kind, external_id AS value, id FROM contacts WHERE external_id IS NOT NULL
            UNION SELECT kind, value, contact_id FROM contact_identities) AS n
        GROUP BY kind, value HAVING count(DISTINCT id) > 1) AS d";
    assert_eq!(server.count(doubled).await, 0);
    let events = "SELECT (SELECT count(*) FROM user_events WHERE name IN ('x', '$identify')) + (SELECT count(*) FROM anonymous_events)";
    assert_eq!(server.count(events).await, 300);
    let lost = "SELECT count(*) FROM user_events e WHERE NOT EXISTS (SELECT FROM contacts c WHERE c.id = e.contact_id)";
    assert_eq!(server.count(lost).await, 0);
    server.stop().await;
}

/// Rows that the previous version writes while both versions run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_version_before_writes_is_found_and_filled_in() {
    let server = admin::server().await;
    server
        .run_sql(
            "INSERT INTO contacts (id, external_id, email, anonymous_id, first_seen_at, last_seen_at, created_at, updated_at)
             SELECT gen_random_uuid(), u, e, a, now(), now(), now(), now() FROM (VALUES
                 ('u1', 'Ann@Example.com', 'd1'), (NULL, 'Müller@example.com', NULL), (NULL, 'ΝΙΚΟΣ@example.com', NULL),
                 (NULL, 'νικοσ@example.com', NULL), (NULL, NULL, 'd2')) AS n (u, e, a)",
        )
        .await;
    assert_eq!(
        put(&server, json!({ "email": "ann@example.com" })).await["created"],
        false
    );
    assert_eq!(
        put(&server, json!({ "anonymousId": "d2" })).await["created"],
        false
    );
    assert_eq!(
        put(&server, json!({ "anonymousId": "d1" })).await["created"],
        false
    );
    while fill_addresses(&server.app).await.unwrap() > 0 {}
    assert_eq!(
        server
            .count("SELECT count(*) FROM contacts WHERE email IS DISTINCT FROM address_of")
            .await,
        0
    );
    let findings = server.app.loops.findings().join(" ");
    assert!(
        findings.contains("1 addresses from an older version"),
        "{findings}"
    );
    assert_eq!(
        put(&server, json!({ "email": "MÜLLER@example.com" })).await["created"],
        false
    );
    assert_eq!(
        put(&server, json!({ "email": "Νικοσ@example.com" })).await["linked"],
        true
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 4);
    // The previous version changes an address without writing the column it does not know.
    server
        .run_sql("UPDATE contacts SET email = 'ÉVA@example.com' WHERE external_id = 'u1'")
        .await;
    assert_eq!(fill_addresses(&server.app).await.unwrap(), 1);
    let found = server
        .call(
            Method::GET,
            "/v1/contacts/find?email=%C3%A9va%40example.com",
            KEY,
            None,
        )
        .await;
    assert_eq!(found.json()["contacts"][0]["externalId"], "u1");
    server.stop().await;
}

/// A contact has reached its limits: an API request is refused as a whole with the properties that do not
/// fit, and a source's event is stored without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_has_room_for_so_much_and_what_does_not_fit_is_named() {
    let server = admin::server().await;
    let many: serde_json::Map<String, Value> =
        (0..1_000).map(|n| (format!("p{n}"), json!(n))).collect();
    put(&server, json!({ "userId": "full", "properties": many })).await;
    let large = "x".repeat(200 * 1024);
    put(
        &server,
        json!({ "userId": "large", "properties": { "a": large } }),
    )
    .await;
    for (user, name, value) in [("full", "new", json!(1)), ("large", "b", json!(large))] {
        let refused = |answer: Answer, path: String| {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
            assert_eq!(answer.json()["error"]["issues"][0]["path"], path);
        };
        let event = json!({ "name": "x", "userId": user, "contactProperties": { name: value } });
        refused(
            call(&server, "/v1/events", &event).await,
            format!("contactProperties.{name}"),
        );
        let fine = json!({ "name": "x", "userId": "fine", "contactProperties": { "a": 1 } });
        let batch = json!({ "events": [fine, event] });
        let answer = call(&server, "/v1/events/batch", &batch).await;
        refused(answer, format!("events.1.contactProperties.{name}"));
        let body = json!({ "userId": user, "properties": { name: value } });
        let answer = server
            .call(Method::PUT, "/v1/contacts", KEY, Some(&body))
            .await;
        refused(answer, format!("properties.{name}"));
        let path = format!("/contacts/{user}");
        let body = json!({ "properties": { name: value } });
        let answer = admin::call(&server, Method::PATCH, &path, body).await;
        refused(answer, format!("properties.{name}"));
        assert_eq!(server.count("SELECT count(*) FROM user_events").await, 0);
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 2);
    }
    for (user, name) in [("full", "new"), ("large", "b")] {
        let person = json!({ "person": { name: large, "p1": "changed" } });
        told(&server, "x", (user, ""), person).await;
        let shown = admin::get(&server, &format!("/contacts/{user}"))
            .await
            .json();
        let contact = &shown["contact"]["properties"];
        assert!(contact.get(name).is_none(), "{user}");
        assert_eq!(contact["p1"], "changed");
        assert_eq!(shown["refused"][0]["source"], "posthog", "{shown}");
        let names: Vec<&Value> = shown["refused"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["name"])
            .collect();
        assert!(names.contains(&&json!(name)), "{names:?}");
        // Changing or removing a property is always possible.
        put(
            &server,
            json!({ "userId": user, "properties": { "p1": null, "p2": "other" } }),
        )
        .await;
    }
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 2);
    server.stop().await;
}

/// A thousand events of a thousand new contacts, and as many of one contact at its limits, take linear
/// time, whichever names they use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_batches_of_new_people_and_of_one_who_is_known_are_stored_whole() {
    let server = admin::server().await;
    let many: serde_json::Map<String, Value> = (0..900)
        .map(|n| (format!("p{n}"), json!("x".repeat(200))))
        .collect();
    put(
        &server,
        json!({ "userId": "known", "email": "known@example.com", "properties": many }),
    )
    .await;
    for known in [false, true] {
        let events: Vec<Value> = (0..1_000)
            .map(|n| match known {
                true => json!({ "name": "x", "userId": "known", "contactProperties": { "last": n } }),
                false => json!({ "name": "x", "userId": format!("u{n}"), "email": format!("u{n}@example.com"), "anonymousId": format!("d{n}") }),
            })
            .collect();
        let answer = call(&server, "/v1/events/batch", &json!({ "events": events })).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    }
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1_001);
    assert_eq!(
        server.count("SELECT count(*) FROM user_events").await,
        2_000
    );
    assert_eq!(
        server
            .text("SELECT properties->>'last' FROM contacts WHERE external_id = 'known'")
            .await,
        "999"
    );
    server.stop().await;
}

/// The address arrives after the trigger. No mail was sent, so the journey may still enrol the contact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_that_reached_nobody_is_offered_again_when_the_address_comes() {
    const SENT: &str = "SELECT count(*) FROM email_sends WHERE status = 'sent'";
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    for (days, through, sent) in [
        (0, "$set", 1),
        (3, "api", 1),
        (6, "person", 1),
        (8, "$set", 0),
    ] {
        let server = admin::server().await;
        told(
            &server,
            "user.created",
            ("ann", "p1"),
            json!({ "properties": { "plan": "pro" } }),
        )
        .await;
        server.drain().await;
        let skipped = "SELECT count(*) FROM email_sends WHERE reason = 'no_address'";
        assert!(server.count(skipped).await > 0);
        for _ in 0..days {
            server.advance(DAY).await;
        }
        match through {
            "api" => {
                put(
                    &server,
                    json!({ "userId": "ann", "email": "ann@example.com" }),
                )
                .await;
            }
            "$set" => {
                let set = json!({ "properties": { "$set": { "email": "ann@example.com" } } });
                told(&server, "$set", ("ann", "p1"), set).await;
            }
            _ => {
                let person = json!({ "person": { "email": "ann@example.com" } });
                told(&server, "$pageview", ("ann", "p1"), person).await;
            }
        }
        server.drain().await;
        assert_eq!(server.count(SENT).await, sent, "{days} {through}");
        let open = "SELECT count(*) FROM journey_states WHERE journey_id = 'activation-welcome' AND status IN ('active', 'waiting')";
        assert!(server.count(open).await <= 1);
        // Now the enrolment counts.
        told(&server, "user.created", ("ann", "p1"), json!({})).await;
        server.drain().await;
        assert_eq!(
            server.count(SENT).await,
            sent.max(i64::from(days == 8)),
            "{days}"
        );
        server.stop().await;
    }
}

/// PostHog sends two ids in every event. If the contact already has both, the event takes the fast path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_ids_are_all_known_changes_nothing_and_one_whose_are_not_joins() {
    let server = Server::start(Store::native().await).await;
    let mail = json!({ "person": { "email": "ann@example.com" } });
    for _ in 0..3 {
        told(&server, "t.nothing", ("ann", "p1"), mail.clone()).await;
    }
    let updated = "SELECT count(*) FROM contacts WHERE xmin::text <> (SELECT xmin::text FROM contact_identities)";
    assert_eq!(server.count(updated).await, 0);
    told(&server, "t.nothing", ("ann", "p2"), mail.clone()).await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM contact_identities")
            .await,
        2
    );
    told(&server, "t.nothing", ("bob", "p2"), json!({})).await;
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
    assert_eq!(server.count("SELECT count(*) FROM user_events").await, 5);
    server.stop().await;
}
