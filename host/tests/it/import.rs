//! Imports of contacts run in chunks and import each row once, even if workers die.

use axum::body::Body;
use axum::http::{Method, Request, header};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::admin::{KEY, call, get, server};
use crate::support::{Answer, Server, Store};

async fn upload(server: &Server, kind: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post("/v1/admin/contacts/import")
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .header(header::CONTENT_TYPE, kind);
    server.request(request.body(body.into()).unwrap()).await
}

async fn begun(server: &Server, kind: &str, body: impl Into<Body>) -> String {
    let answer = upload(server, kind, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["status"], "pending");
    answer.json()["jobId"].as_str().unwrap().to_owned()
}

async fn job(server: &Server, id: &str) -> Value {
    get(server, &format!("/contacts/import/{id}")).await.json()
}

fn people(count: usize) -> String {
    let rows = (1..=count).map(|n| format!("u{n},u{n}@example.com,plan {n}\n"));
    format!("externalId,email,plan\n{}", rows.collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_in_row_by_row_and_what_is_wrong_is_told_by_its_row() {
    let server = server().await;
    let known = json!({ "userId": "u1", "email": "old@example.com", "properties": { "seats": 3 } });
    server
        .call(Method::PUT, "/v1/contacts", KEY, Some(&known))
        .await;
    let left = json!({ "unsubscribedAll": true });
    call(&server, Method::PUT, "/contacts/u1/preferences", left).await;
    let file = "externalId,email,plan,unsubscribedAll,properties\r\n\
                u1,ann@example.com,pro,false,\r\n\
                ,no address,,,\r\n\
                ,,lonely,,\r\n\
                ,bob@example.com,,true,\"{\"\"seats\"\":1,\"\"x\"\":null}\"\r\n\
                u4,dora@example.com,\"; DROP TABLE contacts\",,\r\n\
                u5,eve@example.com,,,\"{\"\"a\"\":\"\"\\u0000\"\"}\"\r\n";
    let id = begun(&server, "text/csv; charset=utf-8", file).await;
    assert_eq!(job(&server, &id).await["processedRows"], 0);
    server.drain().await;
    let done = job(&server, &id).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(
        (
            &done["totalRows"],
            &done["processedRows"],
            &done["failedRows"]
        ),
        (&json!(6), &json!(6), &json!(2))
    );
    let rows: Vec<i64> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["row"].as_i64().unwrap())
        .collect();
    assert_eq!(rows, [2, 3]);
    assert_eq!(done["errors"][1]["line"], 4);
    assert_eq!(
        done["errors"][1]["message"],
        "email, externalId or anonymousId is required"
    );
    assert_eq!(done["unused"], json!([]));
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 4);
    // Characters that cannot be stored are replaced.
    let one = get(&server, "/contacts/u5").await.json();
    assert_eq!(one["contact"]["properties"], json!({ "a": "\u{fffd}" }));
    let one = get(&server, "/contacts/u1").await.json();
    assert_eq!(one["contact"]["email"], "ann@example.com");
    assert_eq!(
        one["contact"]["properties"],
        json!({ "seats": 3, "plan": "pro" })
    );
    // A file can unsubscribe a contact but not resubscribe it.
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_preferences WHERE unsubscribed_all")
            .await,
        2
    );
    assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 0);
    let events = "SELECT count(*) FROM user_events WHERE name <> 'email.unsubscribed'";
    assert_eq!(server.count(events).await, 0);
    let audit = get(&server, "/audit-logs?action=contact.import")
        .await
        .json();
    assert_eq!(
        audit["auditLogs"][0]["detail"]["after"],
        json!({ "format": "csv", "rows": 6, "fileName": null })
    );
    assert_eq!(server.text("SELECT body::text FROM import_jobs").await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_where_another_worker_left_it() {
    let server = server().await;
    let id = begun(&server, "text/csv", people(730)).await;
    // A worker that shuts down finishes its chunk.
    let stopped = CancellationToken::new();
    stopped.cancel();
    hogsend::worker::import_due(&server.app, &stopped)
        .await
        .unwrap();
    let part = job(&server, &id).await;
    assert_eq!(
        (&part["status"], &part["processedRows"]),
        (&json!("running"), &json!(50))
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 50);

    // Another worker claimed it and died: no worker claims it before the lease ends.
    server
        .run_sql(
            "UPDATE import_jobs SET claim = gen_random_uuid(),
                 next_attempt_at = next_attempt_at + interval '60 s'",
        )
        .await;
    server.drain().await;
    assert_eq!(job(&server, &id).await["processedRows"], 50);
    server.advance(std::time::Duration::from_secs(61)).await;
    let done = job(&server, &id).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(
        (&done["processedRows"], &done["failedRows"]),
        (&json!(730), &json!(0))
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 730);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_bring_a_file_in_once_while_the_api_changes_the_same_people() {
    let server = server().await;
    let other = server.replica(&[]).await;
    let id = begun(&server, "text/csv", people(600)).await;
    let calls = (1..=60).map(|n| {
        let body = json!({ "userId": format!("u{}", n * 10), "properties": { "seen": true } });
        let server = &server;
        async move {
            server
                .call(Method::PUT, "/v1/contacts", KEY, Some(&body))
                .await
                .status
        }
    });
    let (_, _, answers) = tokio::join!(
        server.drain(),
        other.drain(),
        futures_util::future::join_all(calls)
    );
    assert!(answers.iter().all(|status| *status == 200));
    server.drain().await;
    assert_eq!(job(&server, &id).await["status"], "completed");
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 600);
    assert_eq!(
        server
            .count(
                "SELECT count(*) FROM contacts WHERE properties->>'seen' = 'true'
                 AND properties->>'plan' = 'plan ' || substr(external_id, 2)"
            )
            .await,
        60
    );
    server.stop().await;
}

/// The contacts as the import must restore them: names and further ids, properties, when they were first
/// seen, and what they unsubscribed from.
const PEOPLE: &str = "SELECT string_agg(concat_ws('|', external_id, email, anonymous_id,
        properties::text, first_seen_at, p.unsubscribed_all,
        (SELECT string_agg(key || value, ',' ORDER BY key) FROM jsonb_each(p.categories)
         WHERE value = 'false'),
        (SELECT string_agg(kind || value, ',' ORDER BY kind, value) FROM contact_identities i
         WHERE i.contact_id = c.id)), E'\n' ORDER BY external_id, email, anonymous_id)
    FROM contacts c LEFT JOIN email_preferences p ON p.contact_id = c.id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_installation_exports_another_imports() {
    let from = server().await;
    let mut people = vec![
        json!({ "userId": "=1+1", "email": "ann@example.com", "properties": { "name": "Ann \"A\", née\nX" } }),
        json!({ "userId": "'tis", "email": "+bob@example.com", "properties": { "name": "-1", "n": [1, { "a": null }] } }),
        json!({ "userId": "u3", "properties": { "name": "日本", "email": "another", "id": 7 } }),
        json!({ "anonymousId": "@anonymous", "properties": { "seen": true } }),
        json!({ "email": "only@example.com" }),
    ];
    // Random contacts in addition.
    let mut runner = TestRunner::deterministic();
    let text = "[a-z=+@',;\"]{1,5}[a-z]";
    let value = prop_oneof![
        text.prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::collection::vec(any::<bool>(), 0..3).prop_map(Value::from)
    ];
    let any_person = (
        prop::option::of(text),
        prop::option::of("[a-z+]{2,6}"),
        prop::collection::btree_map(text, value, 0..4),
    );
    for number in 0..30 {
        let (id, name, properties) = any_person.new_tree(&mut runner).unwrap().current();
        let mut person = json!({ "anonymousId": format!("a{number}"), "properties": properties });
        if let Some(id) = id {
            person["userId"] = json!(format!("{id}{number}"));
        }
        if let Some(name) = name {
            person["email"] = json!(format!("{name}{number}@example.com"));
        }
        people.push(person);
    }
    for (number, person) in people.iter().enumerate() {
        from.advance(std::time::Duration::from_secs(60)).await;
        let put = from.call(Method::PUT, "/v1/contacts", KEY, Some(person));
        let put = put.await;
        assert_eq!(put.status, 200, "{person}: {}", put.text());
        let wants = match number % 4 {
            0 => continue,
            1 => json!({ "unsubscribedAll": true }),
            2 => json!({ "categories": { "journey": false, "gone": false } }),
            _ => json!({ "unsubscribedAll": true, "categories": { "journey": false, "x": true } }),
        };
        let path = format!(
            "/contacts/{}/preferences",
            put.json()["id"].as_str().unwrap()
        );
        let set = call(&from, Method::PUT, &path, wants).await;
        assert_eq!(set.status, 200, "{}", set.text());
    }
    from.run_sql(
        "INSERT INTO contact_identities (kind, value, contact_id, source, created_at)
         SELECT kind, kind || ' =\"' || id, id, 'test', now()
         FROM contacts, unnest(ARRAY['user', 'anonymous', 'posthog_person']) AS kind
         WHERE external_id IS NOT NULL AND (kind <> 'anonymous' OR anonymous_id IS NOT NULL)",
    )
    .await;
    let expected = from.text(PEOPLE).await;
    for (format, kind) in [("csv", "text/csv"), ("json", "application/json")] {
        let file = get(&from, &format!("/contacts/export?format={format}")).await;
        let to = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
        to.advance(std::time::Duration::from_secs(86_400)).await;
        let id = begun(&to, kind, file.body).await;
        to.drain().await;
        let done = job(&to, &id).await;
        assert_eq!(done["failedRows"], 0, "{done}");
        assert_eq!(to.text(PEOPLE).await, expected, "{format}");
        let mut unused: Vec<String> = serde_json::from_value(done["unused"].clone()).unwrap();
        unused.sort();
        assert_eq!(unused, ["createdAt", "id", "lastSeenAt", "updatedAt"]);
        // Each change of consent has a proof.
        let proofs = "SELECT count(*) FROM consent_changes WHERE source <> 'import'";
        assert_eq!(to.count(proofs).await, 0);
        to.stop().await;
    }
    from.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_ids_of_a_file_find_their_person_as_those_of_a_trusted_call_do() {
    let server = server().await;
    for (user, email) in [("ann", "ann@example.com"), ("bob", "bob@example.com")] {
        let known = json!({ "userId": user, "email": email });
        server
            .call(Method::PUT, "/v1/contacts", KEY, Some(&known))
            .await;
    }
    let file = "externalId,plan,identities\n\
                ann,pro,\"[{\"\"kind\"\":\"\"user\"\",\"\"value\"\":\"\"ann-2\"\"},{\"\"kind\"\":\"\"posthog_person\"\",\"\"value\"\":\"\"p1\"\"}]\"\n\
                carl,team,\"[{\"\"kind\"\":\"\"user\"\",\"\"value\"\":\"\"bob\"\"}]\"\n\
                dora,free,ann-3\n\
                eve,free,\"[{\"\"kind\"\":\"\"user\"\",\"\"value\"\":\"\"null\"\"}]\"\n";
    let id = begun(&server, "text/csv", file).await;
    server.drain().await;
    let done = job(&server, &id).await;
    assert_eq!(done["failedRows"], 2, "{done}");
    let why = |at: usize| done["errors"][at]["message"].as_str().unwrap().to_owned();
    assert!(why(0).contains("kind and value"), "{}", why(0));
    assert!(why(1).contains("is no id"), "{}", why(1));
    let plan = async |path: &str| {
        let answer = get(&server, path).await;
        answer.json()["contact"]["properties"]["plan"].clone()
    };
    assert_eq!(plan("/contacts/ann-2").await, "pro");
    // The row has the ids of both contacts, so they are merged.
    assert_eq!(plan("/contacts/bob").await, "team");
    assert_eq!(plan("/contacts/carl").await, "team");
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 2);
    let told = json!({ "name": "x", "userId": "ann-2" });
    let told = server.call(Method::POST, "/v1/events", KEY, Some(&told));
    assert_eq!(told.await.json()["contactKey"], "ann");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_people_come_in_from_every_kind_of_file() {
    let csv = "id,cio_id,email,created_at,unsubscribed,updated_at\n\
               5f9c1a,a5e80100,cio1@ex.test,1606780800,false,1\n5f9c1b,,cio2@ex.test,,true,\n";
    let rows = json!([
        { "id": "5f9c1a", "cio_id": "a5e80100", "email": "cio1@ex.test", "created_at": 1_606_780_800, "unsubscribed": false, "updated_at": 1 },
        { "id": "5f9c1b", "email": "cio2@ex.test", "unsubscribed": true },
    ]);
    let mut seen = Vec::new();
    for (kind, body) in [
        ("text/csv", csv.to_owned()),
        (
            "text/csv; charset=utf-8",
            format!("sep=,\r\n{csv},,,,\n,,,,,\n"),
        ),
        ("application/json", rows.to_string()),
        ("application/json", json!({ "contacts": rows }).to_string()),
        (
            "application/json",
            json!({ "format": "csv", "data": csv, "fileName": "people.csv" }).to_string(),
        ),
        (
            "application/json",
            json!({ "format": "json", "data": rows }).to_string(),
        ),
        (
            "application/json",
            json!({ "format": "json", "data": rows.to_string() }).to_string(),
        ),
    ] {
        let server = server().await;
        let answer = upload(&server, kind, body.clone()).await;
        assert_eq!(answer.status, 202, "{body}: {}", answer.text());
        assert_eq!(answer.json()["unused"], json!(["updated_at"]), "{body}");
        server.drain().await;
        let done = job(&server, answer.json()["jobId"].as_str().unwrap()).await;
        assert_eq!(
            (&done["status"], &done["failedRows"]),
            (&json!("completed"), &json!(0)),
            "{done}"
        );
        let named = body.contains("fileName").then_some("people.csv");
        assert_eq!(done["fileName"], json!(named));
        let sql = "SELECT string_agg(concat_ws('|', external_id, email, properties::text,
                       first_seen_at < '2020-12-02', unsubscribed_all), ';' ORDER BY external_id)
                   FROM contacts c LEFT JOIN email_preferences p ON p.contact_id = c.id";
        seen.push(server.text(sql).await);
        server.stop().await;
    }
    let expected = "5f9c1a|cio1@ex.test|{\"cio_id\": \"a5e80100\"}|t;5f9c1b|cio2@ex.test|{}|f|t";
    assert!(seen.iter().all(|one| one == expected), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_file_of_contacts_is_refused_and_nothing_is_kept() {
    let server = server().await;
    for (status, kind, body) in [
        (415, "text/plain", b"email\na@x.test".to_vec()),
        (415, "", b"email\na@x.test".to_vec()),
        (400, "text/csv", Vec::new()),
        (400, "text/csv", b"name\nx".to_vec()),
        (400, "text/csv", b"email\n\xff@x.test".to_vec()),
        (400, "application/json", b"[".to_vec()),
        (400, "application/json", vec![b'['; 100_000]),
        (400, "application/json", b"{\"contacts\":1}".to_vec()),
        (
            400,
            "application/json",
            br#"{"format":"csv","data":"email\n\"a@x.test\n"}"#.to_vec(),
        ),
        (
            400,
            "application/json",
            br#"{"format":"xml","data":""}"#.to_vec(),
        ),
        (413, "text/csv", vec![b'a'; 8 * 1024 * 1024 + 1]),
    ] {
        let answer = upload(&server, kind, body).await;
        assert_eq!(answer.status, status, "{kind} {}", answer.text());
        assert!(!answer.json()["error"].is_null());
    }
    // Invalid files are refused with the line before any row is stored.
    for (file, why) in [
        (
            "email,first_name,plan\nleak1@ex.test,\"Bob,free\nvictim2@ex.test,Vera,pro\n",
            "line 2",
        ),
        (
            "email,name\na@ex.test,A\nb@ex.test,\"B \\\"x\\\" y\"\n",
            "line 3",
        ),
        ("email,name\na@ex.test,5 \"feet\"\n", "line 2"),
        ("email,name\na@ex.test,A\nb@ex.test,B,C\n", "line 3"),
        (
            "email,name,email,name\nd1@ex.test,A,d2@ex.test,B\n",
            "called 'email'",
        ),
        ("email,E-Mail\nd1@ex.test,d2@ex.test\n", "mean the same"),
    ] {
        let answer = upload(&server, "text/csv", file).await;
        assert_eq!(answer.status, 400, "{file}");
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains(why), "{file}: {message}");
    }
    // An import may be larger than other request bodies.
    let id = begun(&server, "text/csv", people(40_000)).await;
    assert_eq!(job(&server, &id).await["totalRows"], 40_000);
    assert_eq!(server.count("SELECT count(*) FROM import_jobs").await, 1);
    assert_eq!(get(&server, "/contacts/import/x").await.status, 404);
    let nobody = uuid::Uuid::nil();
    assert_eq!(
        get(&server, &format!("/contacts/import/{nobody}"))
            .await
            .status,
        404
    );
    server.stop().await;
}
