//! Contacts from files: in chunks, each row once, whatever happens to the worker.

use axum::body::Body;
use axum::http::{Method, Request, header};
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
        (&json!(6), &json!(6), &json!(3))
    );
    let rows: Vec<i64> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["row"].as_i64().unwrap())
        .collect();
    assert_eq!(rows, [2, 3, 6]);
    assert_eq!(
        done["errors"][1]["message"],
        "email or externalId is required"
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 3);
    let one = get(&server, "/contacts/u1").await.json();
    assert_eq!(one["contact"]["email"], "ann@example.com");
    assert_eq!(
        one["contact"]["properties"],
        json!({ "seats": 3, "plan": "pro" })
    );
    // A file takes nobody back, and it can unsubscribe.
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
        json!({ "format": "csv", "rows": 6 })
    );
    assert_eq!(server.text("SELECT body::text FROM import_jobs").await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_where_another_worker_left_it() {
    let server = server().await;
    let id = begun(&server, "text/csv", people(730)).await;
    // A worker that is told to stop finishes its chunk.
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

    // Another one took it and died: nobody touches it until its lease is over.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_installation_exports_another_imports() {
    let from = server().await;
    for (id, email, name) in [
        ("=1+1", "ann@example.com", "Ann \"A\", née\nX"),
        ("'tis", "+bob@example.com", "-1"),
        ("u3", "", "日本"),
    ] {
        let mut body =
            json!({ "userId": id, "properties": { "name": name, "n": [1, { "a": null }] } });
        if !email.is_empty() {
            body["email"] = json!(email);
        }
        let put = from.call(Method::PUT, "/v1/contacts", KEY, Some(&body));
        assert_eq!(put.await.status, 200);
    }
    let left = json!({ "unsubscribedAll": true });
    call(&from, Method::PUT, "/contacts/u3/preferences", left).await;
    let sql = "SELECT string_agg(external_id || coalesce(email, '') || properties::text
                   || coalesce(p.unsubscribed_all, false), ' | ' ORDER BY external_id)
               FROM contacts c LEFT JOIN email_preferences p ON p.contact_id = c.id";
    let expected = from.text(sql).await;
    for (format, kind) in [("csv", "text/csv"), ("json", "application/json")] {
        let file = get(&from, &format!("/contacts/export?format={format}")).await;
        let to = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
        let id = begun(&to, kind, file.body).await;
        to.drain().await;
        assert_eq!(job(&to, &id).await["failedRows"], 0);
        let there = to.text(sql).await;
        if format == "csv" {
            assert_eq!(there, expected);
        } else {
            // JSON has contacts as the API shows them, without preferences.
            assert_eq!(there, expected.replace("true", "false"));
        }
        to.stop().await;
    }
    from.stop().await;
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
        (413, "text/csv", vec![b'a'; 8 * 1024 * 1024 + 1]),
    ] {
        let answer = upload(&server, kind, body).await;
        assert_eq!(answer.status, status, "{kind} {}", answer.text());
        assert!(!answer.json()["error"].is_null());
    }
    // Larger than other bodies may be.
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
