//! The right to be forgotten.

use axum::http::{Method, StatusCode};
use serde_json::json;
use sqlx::Row as _;

use crate::on_each_store;
use crate::support::{Server, posthog};

/// Every row of every table that contains this text, in any column, including bytes.
async fn traces(server: &Server, needle: &str) -> Vec<String> {
    let mut conn = server.app.db.conn().await.unwrap();
    let columns = sqlx::query(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = 'public'",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let mut found = Vec::new();
    for column in columns {
        let (table, name, kind): (String, String, String) =
            (column.get(0), column.get(1), column.get(2));
        let text = match kind.as_str() {
            "bytea" => format!("encode(\"{name}\", 'escape')"),
            _ => format!("\"{name}\"::text"),
        };
        let sql = format!("SELECT count(*) FROM \"{table}\" WHERE {text} ILIKE '%{needle}%'");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        if count > 0 {
            found.push(format!("{table}.{name}"));
        }
    }
    found
}

const KEY: &str = "a key of the tests";

/// Erases through the admin route. Returns whether there was such a contact.
async fn erase(server: &Server, name: &str) -> bool {
    let path = format!("/v1/admin/contacts/{name}");
    let answer = server.call(Method::DELETE, &path, KEY, None).await;
    match answer.status {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        other => panic!("{other}: {}", answer.text()),
    }
}

on_each_store! {
    async fn nothing_in_the_database_shows_a_person_who_was_erased(server: Server) {
        let server = server.replica(&[("ADMIN_API_KEY", KEY)]).await;
        let hook = posthog("key-of-canary@example.com", "user.created", "user-canary", "Canary@Example.com", "Canary");
        let answer = server.post("/v1/webhooks/posthog", &hook).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let invite = json!({ "event": "t.invite", "userId": "bob", "userEmail": "bob@example.com", "properties": { "word": "x" } });
        let invited = server.call(Method::POST, "/v1/ingest", KEY, Some(&invite)).await;
        assert_eq!(invited.status, StatusCode::ACCEPTED, "{}", invited.text());
        server.drain().await;
        server.advance(std::time::Duration::from_secs(3 * 86_400)).await;
        let bounced = db_suppression(&server).await;
        assert_eq!(bounced, 1);
        // The audit log of the contact contains their names too.
        let change = json!({ "properties": { "vip": true } });
        let changed = server.call(Method::PATCH, "/v1/admin/contacts/user-canary", KEY, Some(&change)).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
        let before = traces(&server, "canary").await;
        for place in ["contacts.email", "contacts.properties", "journey_states.person", "journey_steps.args", "email_sends.mail", "email_sends.prepared", "email_sends.to_email", "event_keys.key", "suppressions.email", "audit_logs.after"] {
            assert!(before.iter().any(|one| one == place), "the test shows nothing about {place}: {before:?}");
        }
        assert!(erase(&server, "user-canary").await);
        assert_eq!(server.count("SELECT count(*) FROM audit_logs WHERE action = 'contact.erase'").await, 1);
        assert_eq!(traces(&server, "canary").await, Vec::<String>::new());
        // Other contacts keep their data.
        assert_eq!(server.count("SELECT count(*) FROM contacts").await, 1);
        assert_eq!(server.count("SELECT count(*) FROM email_sends WHERE to_email = 'erased'").await, 1);
        server.drain().await;

        // Only the hash of the address is known, and a repeated webhook does not send mail again.
        assert_eq!(server.text("SELECT reason FROM suppressions WHERE email IS NULL").await, "bounced");
        assert!(!erase(&server, "user-canary").await);
        let sent = server.count("SELECT count(*) FROM email_sends WHERE status = 'sent'").await;
        server.post("/v1/webhooks/posthog", &hook).await;
        server.drain().await;
        assert_eq!(server.count("SELECT count(*) FROM email_sends WHERE status = 'sent'").await, sent);
        assert_eq!(server.count("SELECT count(*) FROM email_sends WHERE reason = 'suppressed'").await, 1);
        server.stop().await;
    }
}

/// The contact's address has bounced before.
async fn db_suppression(server: &Server) -> i64 {
    let mut conn = server.app.db.conn().await.unwrap();
    let mailbox = server.app.addresses.mailbox("canary@example.com");
    let words = (Some("resend"), Some("canary@example.com is unknown here"));
    hogsend::contacts::suppress(&mut conn, &mailbox, "bounced", words, server.now())
        .await
        .unwrap();
    drop(conn);
    server.count("SELECT count(*) FROM suppressions").await
}
