//! A database of the version before, brought over.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use hogsend::contacts::{consent, fill_addresses};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::admin::KEY;
use crate::support::{Server, Store};

/// The last migration of the version before.
const BEFORE: i64 = 8;
const DAY: Duration = Duration::from_secs(86_400);

/// Everything that version kept of people, runs and mails, what refers to others last.
const TABLES: [&str; 9] = [
    "contacts",
    "event_keys",
    "user_events",
    "email_preferences",
    "journey_states",
    "journey_steps",
    "journey_logs",
    "enrolment_skips",
    "email_sends",
];

async fn post(server: &Server, body: Value) -> Value {
    let answer = server
        .call(Method::POST, "/v1/events", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()
}

async fn before(store: &Store) -> PgConnection {
    let mut conn = PgConnection::connect(store.url()).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut all = Migrator::new(folder.as_path()).await.unwrap();
    let old = all.migrations.iter().filter(|one| one.version <= BEFORE);
    all.migrations = Cow::Owned(old.cloned().collect());
    all.run(&mut conn).await.unwrap();
    conn
}

/// The rows, with the columns that version had.
async fn copy(from: &Server, to: &mut PgConnection) {
    let mut own = from.app.db.conn().await.unwrap();
    for table in TABLES {
        let read = format!("SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM {table} t");
        let rows: Value = sqlx::query_scalar(AssertSqlSafe(read))
            .fetch_one(&mut *own)
            .await
            .unwrap();
        let write = format!(
            "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1)"
        );
        let written = sqlx::query(AssertSqlSafe(write))
            .bind(rows)
            .execute(&mut *to);
        written
            .await
            .unwrap_or_else(|error| panic!("{table}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_runs_and_mails_of_the_version_before_are_brought_over_whole() {
    let old = Server::with(Store::native().await, &[("ADMIN_API_KEY", KEY)]).await;
    for (user, email) in [
        ("ann", "ann@example.com"),
        ("twin", "ann@example.com"),
        ("mü", "mü@example.com"),
    ] {
        post(
            &old,
            json!({ "name": "t.once", "userId": user, "email": email, "idempotencyKey": user }),
        )
        .await;
    }
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        post(&old, json!({ "name": "seen", "email": email })).await;
    }
    post(
        &old,
        json!({ "name": "seen", "userId": "dev", "anonymousId": "d1" }),
    )
    .await;
    // A run that sleeps, one that nobody has begun, a mail on its way and one that waits to go.
    post(&old, json!({ "name": "t.slow", "userId": "ann" })).await;
    old.drain().await;
    post(&old, json!({ "name": "t.exit", "userId": "mü" })).await;
    let mail = json!({ "userId": "ann", "template": "t-plain", "props": { "word": "w" }, "idempotencyKey": "reset" });
    let sent = old.call(Method::POST, "/v1/emails", KEY, Some(&mail)).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.text());
    let store = Store::empty().await;
    let mut conn = before(&store).await;
    copy(&old, &mut conn).await;
    // As that version wrote them: spelt as they came, twice what Postgres held for two, opt-outs of
    // one contact alone.
    for sql in [
        "UPDATE contacts SET email = 'Ann@EXAMPLE.com' WHERE external_id = 'twin'",
        "UPDATE contacts SET email = 'MU\u{308}@Example.com' WHERE external_id = 'mü'",
        "UPDATE contacts SET email = 'ZOE\u{301}@example.com' WHERE email = 'a@example.com'",
        "UPDATE contacts SET email = 'zoé@example.com' WHERE email = 'b@example.com'",
        "UPDATE contacts SET email = 'x@bücher.test' WHERE email = 'c@example.com'",
        "UPDATE email_sends SET category = 'transactional', transactional = true
         WHERE journey_state_id IS NULL",
        "INSERT INTO email_preferences (contact_id, categories, updated_at)
         SELECT id, '{\"journey\": false}', now() FROM contacts WHERE external_id = 'twin'",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    old.stop().await;

    let server = Server::with(store, &[("ADMIN_API_KEY", KEY)]).await;
    let people = server.count("SELECT count(*) FROM contacts").await;
    // Before anything is filled in, whoever Postgres' lower case finds is found.
    let found = post(&server, json!({ "name": "x", "email": "ann@example.com" })).await;
    assert!(found["contactKey"].is_string());
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, people);
    while fill_addresses(&server.app).await.unwrap() > 0 {}
    while consent::catch_up(&server.app).await.unwrap() > 0 {}
    assert_eq!(
        server
            .count("SELECT count(*) FROM contacts WHERE address IS NULL AND email IS NOT NULL")
            .await,
        0
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, people);
    for (body, key) in [
        (json!({ "name": "x", "userId": "ann" }), "ann"),
        (
            json!({ "name": "x", "userId": "twin", "email": "ANN@example.com" }),
            "twin",
        ),
        (json!({ "name": "x", "email": "mü@example.com" }), "mü"),
        (
            json!({ "name": "x", "email": "x@xn--bcher-kva.test" }),
            "x@xn--bcher-kva.test",
        ),
        (json!({ "name": "x", "anonymousId": "d1" }), "dev"),
    ] {
        assert_eq!(
            post(&server, body.clone()).await["contactKey"],
            key,
            "{body}"
        );
    }
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, people);
    // Two that nobody could tell apart but Postgres are one from the next event on.
    post(&server, json!({ "name": "x", "email": "ZOÉ@example.com" })).await;
    assert_eq!(
        server.count("SELECT count(*) FROM contacts").await,
        people - 1
    );
    // Known keys and entries stay known.
    let again = json!({ "name": "t.once", "userId": "ann", "idempotencyKey": "ann" });
    assert_eq!(post(&server, again).await["stored"], false);
    post(&server, json!({ "name": "t.once", "userId": "ann" })).await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_states WHERE journey_id = 't-once'")
            .await,
        3
    );
    // The mail goes out, once; the runs go on. The twin's opt-out holds for the mailbox by now.
    server.drain().await;
    assert_eq!(server.count("SELECT count(*) FROM email_sends WHERE template_key = 't-plain' AND transactional AND status = 'sent'").await, 1);
    server.advance(DAY).await;
    server.drain().await;
    assert_eq!(server.text("SELECT string_agg(s.journey_id || ' ' || s.status || ' ' || e.status || ' ' || coalesce(e.reason, '-'), ', ' ORDER BY s.journey_id)
         FROM journey_states s JOIN email_sends e ON e.journey_state_id = s.id").await,
        "t-exit completed sent -, t-slow completed skipped user_unsubscribed");
    assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 3);
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'seen'")
            .await,
        4
    );
    server.stop().await;
}
