//! Contacts as administrators search, change and erase them.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::admin::{KEY, call, get, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_are_created_searched_changed_and_erased_with_an_audit_row_each() {
    let server = server().await;
    let new =
        json!({ "externalId": "u_1", "email": "Ann@Example.com", "properties": { "plan": "pro" } });
    let made = call(&server, Method::POST, "/contacts", new.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["contact"]["id"].as_str().unwrap().to_owned();
    for twin in [new, json!({ "externalId": "u_1" })] {
        assert_eq!(
            call(&server, Method::POST, "/contacts", twin).await.status,
            409
        );
    }
    // The address of a contact with an external id finds it and creates no new one.
    let same = call(
        &server,
        Method::POST,
        "/contacts",
        json!({ "email": "ann@example.com" }),
    )
    .await;
    assert_eq!(same.status, 409);
    call(
        &server,
        Method::POST,
        "/contacts",
        json!({ "externalId": "ux1" }),
    )
    .await;

    // LIKE's special characters are escaped, and the cursor leads to the next page.
    for (search, expected) in [
        ("u_1", 1),
        ("EXAMPLE", 1),
        ("%25", 0),
        ("", 2),
        (&id, 1),
        ("'", 0),
    ] {
        let list = get(&server, &format!("/contacts?search={search}"))
            .await
            .json();
        assert_eq!(list["total"], expected, "{search}");
        assert_eq!(list["contacts"].as_array().unwrap().len(), expected);
    }
    let first = get(&server, "/contacts?limit=1").await.json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = get(&server, &format!("/contacts?limit=1&cursor={cursor}")).await;
    assert_eq!(second.json()["contacts"][0]["id"], json!(id));

    for name in [id.as_str(), "u_1"] {
        let one = get(&server, &format!("/contacts/{name}")).await.json();
        assert_eq!(one["contact"]["properties"], json!({ "plan": "pro" }));
    }
    for name in ["nobody", "%00", "%FF", &"x".repeat(3_000)] {
        assert_eq!(get(&server, &format!("/contacts/{name}")).await.status, 404);
    }
    let changed = call(
        &server,
        Method::PATCH,
        "/contacts/u_1",
        json!({ "externalId": "u 2/3", "properties": { "plan": null, "seats": 3 } }),
    )
    .await;
    assert_eq!(changed.json()["contact"]["externalId"], "u 2/3");
    assert_eq!(
        changed.json()["contact"]["properties"],
        json!({ "seats": 3 })
    );
    assert_eq!(changed.json()["contact"]["email"], "Ann@Example.com");
    let path = "/contacts/u%202%2F3";
    for (body, status) in [
        (json!({ "externalId": "ux1" }), 409),
        (json!({ "externalId": null, "email": null }), 400),
        (json!({ "email": "nonsense" }), 400),
        (json!({ "properties": { "n".repeat(501): 1 } }), 400),
    ] {
        let answer = call(&server, Method::PATCH, path, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let erased = server
        .call(Method::DELETE, &format!("/v1/admin{path}"), KEY, None)
        .await;
    assert_eq!(erased.json(), json!({ "deleted": true }));
    assert_eq!(get(&server, path).await.status, 404);
    let audit = get(&server, "/audit-logs").await.json();
    let actions: Vec<_> = audit["auditLogs"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|row| row["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        actions,
        [
            "contact.create",
            "contact.create",
            "contact.update",
            "contact.erase"
        ]
    );
    assert!(
        !audit.to_string().to_lowercase().contains("example.com"),
        "the log of changes keeps nothing of who was erased"
    );
    // The erased person's address stays suppressed.
    assert_eq!(
        get(&server, "/suppressions?reason=erased").await.json()["suppressions"][0]["email"],
        Value::Null
    );
    assert_eq!(get(&server, "/suppressions?reason=x").await.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preferences_are_replaced_and_suppressions_lifted() {
    let server = server().await;
    call(
        &server,
        Method::POST,
        "/contacts",
        json!({ "externalId": "ann", "email": "ann@example.com" }),
    )
    .await;
    let path = "/contacts/ann/preferences";
    let put = async |body: Value| {
        call(&server, Method::PUT, path, body).await.json()["preferences"].clone()
    };
    let first = put(json!({ "categories": { "news": false, "tips": true } })).await;
    assert_eq!(first["categories"], json!({ "news": false, "tips": true }));
    let next = put(
        json!({ "categories": { "tips": false }, "unsubscribedAll": true, "suppressed": true }),
    )
    .await;
    assert_eq!(
        next,
        json!({ "userId": "ann", "email": "ann@example.com", "unsubscribedAll": true, "suppressed": true,
                             "suppressionReason": "manual", "bounceCount": 0, "categories": { "tips": false } })
    );
    assert_eq!(get(&server, path).await.json()["preferences"], next);
    // The event is the same as if the person had done it.
    let told = "SELECT count(*) FROM user_events WHERE name = 'email.unsubscribed'";
    assert_eq!(server.count(told).await, 3);
    let mail = json!({ "to": "ann@example.com", "template": "welcome" });
    server
        .call(Method::POST, "/v1/emails", KEY, Some(&mail))
        .await;
    server.drain().await;
    assert_eq!(
        server
            .text("SELECT status || ' ' || reason FROM email_sends")
            .await,
        "skipped suppressed"
    );
    let lift = server
        .call(
            Method::DELETE,
            "/v1/admin/suppressions/ANN@example.com",
            KEY,
            None,
        )
        .await;
    assert_eq!(lift.json(), json!({ "deleted": true }));
    let again = server
        .call(
            Method::DELETE,
            "/v1/admin/suppressions/ann@example.com",
            KEY,
            None,
        )
        .await;
    assert_eq!(again.status, 404);
    assert_eq!(put(json!({})).await["suppressed"], false);
    assert_eq!(
        put(json!({ "unsubscribedAll": false, "categories": {} })).await["categories"],
        json!({})
    );
    assert_eq!(
        call(
            &server,
            Method::PUT,
            path,
            json!({ "categories": { "": true } })
        )
        .await
        .status,
        400
    );
    assert_eq!(
        call(
            &server,
            Method::PUT,
            path,
            json!({ "categories": { "x": "yes" } })
        )
        .await
        .status,
        400
    );

    let page = get(&server, "/contacts/ann/timeline?limit=2").await.json();
    assert_eq!(page["timeline"].as_array().unwrap().len(), 2);
    let timeline = get(&server, "/contacts/ann/timeline").await.json();
    assert_eq!(timeline["total"], 6);
    let items = timeline["timeline"].as_array().unwrap();
    let mail = items.iter().find(|item| item["type"] == "email").unwrap();
    assert_eq!(mail["data"]["reason"], "suppressed");
    // Every change of consent is an event.
    for name in ["email.unsubscribed", "email.subscribed"] {
        let told = items.iter().filter(|item| item["data"]["name"] == name);
        assert!(told.count() > 0, "{name}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_timeline_are_complete_and_newest_first() {
    let server = server().await;
    let entered = json!({ "userId": "ann", "userEmail": "ann@example.com" });
    call(&server, Method::POST, "/journeys/t-slow/enroll", entered).await;
    let mail = json!({ "to": "ann@example.com", "template": "welcome" });
    let sent = server.call(Method::POST, "/v1/emails", KEY, Some(&mail));
    assert_eq!(sent.await.status, 202);
    // Alternating names, some at the same moment, and one event of another contact.
    let now = server.now();
    let event = |n: i64| {
        let at = now - chrono::TimeDelta::minutes(n / 2);
        json!({ "name": format!("seen.{}", n % 5), "userId": if n == 8 { "bob" } else { "ann" },
                "timestamp": at, "eventProperties": { "n": n } })
    };
    let events: Vec<_> = (0..40).map(event).collect();
    let batch = json!({ "events": events });
    let stored = server.call(Method::POST, "/v1/events/batch", KEY, Some(&batch));
    let stored = stored.await;
    assert_eq!(stored.status, 202, "{}", stored.text());
    server.drain().await;

    let whole = get(&server, "/contacts/ann/timeline?limit=100")
        .await
        .json();
    let all = whole["timeline"].as_array().unwrap();
    assert_eq!(whole["total"], all.len());
    for kind in ["event", "email", "journey"] {
        assert!(all.iter().any(|item| item["type"] == kind), "{kind}");
    }
    let at = |item: &Value| {
        item["timestamp"]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap()
    };
    assert!(all.windows(2).all(|two| at(&two[0]) >= at(&two[1])));
    let seen = all
        .iter()
        .filter_map(|item| item["data"]["properties"]["n"].as_i64());
    let mut seen: Vec<i64> = seen.collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..40).filter(|n| *n != 8).collect::<Vec<_>>());
    let mut paged = Vec::new();
    while paged.len() < all.len() {
        let path = format!("/contacts/ann/timeline?limit=7&offset={}", paged.len());
        let page = get(&server, &path).await.json();
        assert_eq!(page["total"], whole["total"]);
        let items = page["timeline"].as_array().unwrap();
        assert!(!items.is_empty() && items.len() <= 7);
        paged.extend(items.iter().cloned());
    }
    assert_eq!(&paged, all);
    let far = format!("/contacts/ann/timeline?offset={}", i64::MAX);
    assert_eq!(get(&server, &far).await.json()["timeline"], json!([]));
    server.stop().await;
}

/// A page does not read what is not on it: neither the content of a long history nor every mail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_long_timeline_reads_little_of_it() {
    let server = server().await;
    let event = json!({ "event": "first", "userId": "ann" });
    let stored = server.call(Method::POST, "/v1/ingest", KEY, Some(&event));
    assert_eq!(stored.await.status, 202);
    server.run_sql("INSERT INTO user_events (id, contact_id, source, name, properties, occurred_at, received_at) SELECT gen_random_uuid(), c.id, 'api', 'n' || n % 10, jsonb_build_object('n', n), now() - n * interval '1 second', now() FROM generate_series(1, 50000) n, contacts c").await;
    server.run_sql("VACUUM ANALYZE user_events").await;
    let read = "SELECT (idx_tup_fetch + seq_tup_read)::bigint FROM pg_stat_xact_user_tables WHERE relname = 'user_events'";
    let mut conn = server.app.db.conn().await.unwrap();
    let ann: uuid::Uuid = sqlx::query_scalar("SELECT id FROM contacts")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    // All rows are hers here, which would otherwise favour a sequential scan.
    for begin in ["BEGIN", "SET LOCAL enable_seqscan = off"] {
        sqlx::query(begin).execute(&mut *conn).await.unwrap();
    }
    let before: i64 = sqlx::query_scalar(read)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let (items, total) = hogsend::db::contact_timeline(&mut conn, ann.into(), 50, 0)
        .await
        .unwrap();
    let after: i64 = sqlx::query_scalar(read)
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    sqlx::query("ROLLBACK").execute(&mut *conn).await.unwrap();
    drop(conn);
    assert_eq!((items.len(), total), (50, 50_001));
    assert!(after - before < 5_000, "{} rows were read", after - before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_everyone_once_and_no_formula() {
    let server = server().await;
    server.run_sql("INSERT INTO contacts (id, external_id, email, properties, first_seen_at, last_seen_at, created_at, updated_at) SELECT gen_random_uuid(), CASE WHEN n = 7 THEN '=cmd|''x''!A1' ELSE 'u' || n END, n || '@example.com', jsonb_build_object('n', n, 'said', E'\"a,b\"\n'), now(), now(), now(), now() FROM generate_series(1, 2500) n").await;
    let csv = get(&server, "/contacts/export").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let text = csv.text();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(
        reader.headers().unwrap().iter().take(3).collect::<Vec<_>>(),
        ["id", "externalId", "email"]
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let ids: std::collections::BTreeSet<&str> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!((rows.len(), ids.len()), (2_500, 2_500));
    let seventh = rows.iter().find(|row| &row[2] == "7@example.com").unwrap();
    assert_eq!(&seventh[1], "'=cmd|'x'!A1");
    let kept: serde_json::Value = serde_json::from_str(&seventh[4]).unwrap();
    assert_eq!(kept, json!({ "n": 7, "said": "\"a,b\"\n" }));
    let all = get(&server, "/contacts/export?format=json").await.json();
    assert_eq!(all["contacts"].as_array().unwrap().len(), 2_500);
    // Compressed, as browsers and most clients ask for it.
    for encoding in ["gzip", "br"] {
        let request = axum::http::Request::get("/v1/admin/contacts/export")
            .header("authorization", format!("Bearer {KEY}"))
            .header("accept-encoding", encoding)
            .body(axum::body::Body::empty());
        let answer = server.request(request.unwrap()).await;
        assert_eq!(answer.headers["content-encoding"], encoding);
        assert!(answer.body.len() > 1_000 && answer.body.len() < text.len() / 2);
    }
    let some = get(&server, "/contacts/export?format=json&search=no%20one")
        .await
        .json();
    assert_eq!(some, json!({ "contacts": [] }));
    assert_eq!(
        get(&server, "/contacts/export?format=xml").await.status,
        400
    );
    server.stop().await;
}
