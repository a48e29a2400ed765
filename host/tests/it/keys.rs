//! Keys of programs: made, used, refused and revoked.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::on_each_store;
use crate::support::{Answer, Server, Store};

const ADMIN: &str = "the key of the environment";
const KEYS: &str = "/v1/admin/api-keys";

async fn start() -> Server {
    Server::with(Store::native().await, &[("ADMIN_API_KEY", ADMIN)]).await
}

async fn make(server: &Server, scopes: &[&str]) -> Value {
    let body = json!({ "name": "test", "scopes": scopes });
    let made = server.call(Method::POST, KEYS, ADMIN, Some(&body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    made.json()
}

fn key(made: &Value) -> &str {
    made["key"].as_str().unwrap()
}

async fn ingest(server: &Server, key: &str) -> Answer {
    let body = json!({ "event": "test.signup", "userId": "u1" });
    server
        .call(Method::POST, "/v1/ingest", key, Some(&body))
        .await
}

fn error(answer: &Answer) -> (u16, String) {
    let text = answer.json()["error"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), text)
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_a_hash() {
    let server = start().await;
    let body = json!({
        "name": " CI ", "scopes": ["ingest", "read", "ingest"],
        "expiresAt": "2026-03-03T10:00:00+01:00", "unknown": 1,
    });
    let made = server.call(Method::POST, KEYS, ADMIN, Some(&body)).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    let wanted = [
        "createdAt",
        "expiresAt",
        "id",
        "key",
        "keyPrefix",
        "name",
        "scopes",
    ];
    assert_eq!(fields, wanted);
    assert_eq!(made["name"], "CI");
    assert_eq!(made["scopes"], json!(["read", "ingest"]));
    assert_eq!(made["expiresAt"], "2026-03-03T09:00:00Z");
    let text = key(&made);
    let secret = text.strip_prefix("hsk_").unwrap();
    assert_eq!(secret.len(), 43);
    assert!(
        secret
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    );
    assert!(text.starts_with(made["keyPrefix"].as_str().unwrap()));

    let listed = server.call(Method::GET, KEYS, text, None).await;
    assert!(!listed.text().contains(text));
    let listed = listed.json();
    assert_eq!(
        (&listed["total"], &listed["limit"], &listed["offset"]),
        (&json!(1), &json!(50), &json!(0))
    );
    assert_eq!(listed["apiKeys"][0]["id"], made["id"]);
    // Neither the table nor the audit log holds it.
    for table in ["api_keys", "audit_logs"] {
        let dump = match table {
            "api_keys" => {
                server
                    .text("SELECT string_agg(t::text, ' ') FROM api_keys t")
                    .await
            }
            _ => {
                server
                    .text("SELECT string_agg(t::text, ' ') FROM audit_logs t")
                    .await
            }
        };
        assert!(
            !dump.is_empty() && !dump.contains(secret),
            "{table}: {dump}"
        );
    }
    assert_eq!(
        server
            .count("SELECT length(key_hash)::bigint FROM api_keys")
            .await,
        32
    );
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_key_body_is_refused_by_field() {
    let server = start().await;
    let long = "x".repeat(101);
    for (body, path) in [
        (json!({ "scopes": ["read"] }), "name"),
        (json!({ "name": "", "scopes": ["read"] }), "name"),
        (json!({ "name": long, "scopes": ["read"] }), "name"),
        (json!({ "name": "x" }), "scopes"),
        (json!({ "name": "x", "scopes": [] }), "scopes"),
        (
            json!({ "name": "x", "scopes": ["read", "root"] }),
            "scopes.1",
        ),
        (json!({ "name": "x", "scopes": "read" }), "scopes"),
        (
            json!({ "name": "x", "scopes": ["read"], "expiresAt": "soon" }),
            "expiresAt",
        ),
        (
            json!({ "name": "x", "scopes": ["read"], "expiresAt": "2020-01-01T00:00:00Z" }),
            "expiresAt",
        ),
    ] {
        let answer = server.call(Method::POST, KEYS, ADMIN, Some(&body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let error = &answer.json()["error"];
        assert_eq!(error["name"], "ValidationError");
        assert_eq!(error["issues"][0]["path"], path, "{body}");
    }
    assert_eq!(server.count("SELECT count(*) FROM audit_logs").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn who_has_no_key_a_wrong_one_an_expired_one_or_too_little_scope_is_told_so() {
    let server = start().await;
    let unauthorized = (401, "Unauthorized".to_owned());
    for wrong in ["", "nonsense", "hsk_nonsense", &format!("{ADMIN}x")] {
        assert_eq!(
            error(&ingest(&server, wrong).await),
            unauthorized,
            "{wrong}"
        );
    }
    let read = make(&server, &["read"]).await;
    let forbidden = (403, "Forbidden: insufficient scope".to_owned());
    assert_eq!(error(&ingest(&server, key(&read)).await), forbidden);
    let body = json!({ "name": "x", "scopes": ["full-admin"] });
    let raised = server
        .call(Method::POST, KEYS, key(&read), Some(&body))
        .await;
    assert_eq!(error(&raised), forbidden);
    // Whoever may not, learns nothing of the body.
    let raised = server
        .call(Method::POST, KEYS, key(&read), Some(&json!({})))
        .await;
    assert_eq!(error(&raised), forbidden);

    let body = json!({ "name": "x", "scopes": ["ingest"], "expiresAt": "2026-03-02T09:01:00Z" });
    let short = server
        .call(Method::POST, KEYS, ADMIN, Some(&body))
        .await
        .json();
    assert_eq!(
        ingest(&server, key(&short)).await.status,
        StatusCode::ACCEPTED
    );
    server.clock.advance(Duration::from_secs(60));
    let expired = (401, "API key expired".to_owned());
    assert_eq!(error(&ingest(&server, key(&short)).await), expired);
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_every_replica_from_the_answer_on() {
    let server = start().await;
    let other = server.replica(&[("ADMIN_API_KEY", ADMIN)]).await;
    let made = make(&server, &["full-admin"]).await;
    // Both know the key and have it at hand.
    for replica in [&server, &other] {
        assert_eq!(
            ingest(replica, key(&made)).await.status,
            StatusCode::ACCEPTED
        );
        let listed = replica.call(Method::GET, KEYS, key(&made), None).await;
        assert_eq!(listed.status, StatusCode::OK);
    }
    let path = format!("{KEYS}/{}", made["id"].as_str().unwrap());
    let busy = async {
        // Uses it all the while, so that the other replica looks it up again and again.
        loop {
            if ingest(&other, key(&made)).await.status == StatusCode::UNAUTHORIZED {
                return;
            }
        }
    };
    let (gone, ()) = tokio::join!(server.call(Method::DELETE, &path, ADMIN, None), busy);
    assert_eq!(gone.status, StatusCode::OK);
    assert_eq!(gone.json(), json!({ "deleted": true }));
    for replica in [&other, &server] {
        assert_eq!(
            ingest(replica, key(&made)).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    for path in [path.as_str(), "/v1/admin/api-keys/nonsense"] {
        let again = server.call(Method::DELETE, path, ADMIN, None).await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
    }
    other.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn when_a_key_was_used_is_kept_to_the_minute() {
    let server = start().await;
    let made = make(&server, &["ingest"]).await;
    let used = "SELECT to_char(last_used_at AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM api_keys";
    assert_eq!(server.text(used).await, "");
    for (seconds, kept) in [
        (0, "09:00:00"),
        (59, "09:00:00"),
        (1, "09:01:00"),
        (30, "09:01:00"),
    ] {
        server.clock.advance(Duration::from_secs(seconds));
        ingest(&server, key(&made)).await;
        assert_eq!(server.text(used).await, kept);
    }
    server.stop().await;
}

on_each_store! {
    async fn development_without_any_key_is_open_until_there_is_one(server: Server) {
        assert_eq!(ingest(&server, "").await.status, StatusCode::ACCEPTED);
        assert_eq!(server.get(KEYS).await.status, StatusCode::UNAUTHORIZED);
        // The administrator signs up and makes a key.
        let body = json!({ "name": "Ann", "email": "ann@example.com", "password": "correct horse" });
        let signed_up = server.post("/api/auth/sign-up/email", &body).await;
        assert_eq!(signed_up.status, StatusCode::OK, "{}", signed_up.text());
        let cookie = signed_up.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        let cookie = cookie.split(';').next().unwrap();
        let request = axum::http::Request::post(KEYS)
            .header(header::COOKIE, cookie)
            .header(header::CONTENT_TYPE, "application/json")
            .body(json!({ "name": "first", "scopes": ["ingest"] }).to_string().into());
        let made = server.request(request.unwrap()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        assert_eq!(ingest(&server, "").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(ingest(&server, key(&made.json())).await.status, StatusCode::ACCEPTED);
        server.stop().await;
    }
}

#[tokio::test]
async fn production_without_any_key_is_closed() {
    let variables = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://localhost/unused"),
        ("RESEND_API_KEY", "re_test"),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    assert_eq!(
        error(&ingest(&server, "").await),
        (401, "Unauthorized".into())
    );
    server.stop().await;
}

#[tokio::test]
async fn every_change_leaves_an_audit_row_and_a_refused_one_none() {
    let server = start().await;
    let admin = make(&server, &["full-admin"]).await;
    let body = json!({ "name": "second", "scopes": ["read"] });
    server.clock.advance(Duration::from_secs(1));
    let second = server
        .call(Method::POST, KEYS, key(&admin), Some(&body))
        .await
        .json();
    let path = format!("{KEYS}/{}", second["id"].as_str().unwrap());
    server.clock.advance(Duration::from_secs(1));
    server.call(Method::DELETE, &path, key(&admin), None).await;
    server.call(Method::DELETE, &path, key(&admin), None).await;
    server
        .call(Method::POST, KEYS, key(&admin), Some(&json!({})))
        .await;

    let logs = "/v1/admin/audit-logs";
    let all = server.call(Method::GET, logs, ADMIN, None).await.json();
    assert_eq!(all["total"], 3);
    let rows = all["auditLogs"].as_array().unwrap();
    let actions: Vec<&str> = rows
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["api_key.delete", "api_key.create", "api_key.create"]
    );
    assert_eq!(
        rows[0]["actor"],
        json!({ "type": "key", "id": admin["id"], "name": "test" })
    );
    assert_eq!(
        rows[2]["actor"],
        json!({ "type": "environment", "id": null, "name": "ADMIN_API_KEY" })
    );
    assert_eq!(
        (&rows[0]["resourceType"], &rows[0]["resourceId"]),
        (&json!("api_key"), &second["id"])
    );
    assert_eq!(rows[0]["detail"]["before"]["name"], "second");
    assert_eq!(rows[0]["detail"]["after"], Value::Null);
    assert_eq!(rows[1]["detail"]["after"]["scopes"], json!(["read"]));

    // Page by page, by offset and by cursor.
    let page = server
        .call(
            Method::GET,
            &format!("{logs}?limit=2&offset=1"),
            ADMIN,
            None,
        )
        .await
        .json();
    assert_eq!(page["auditLogs"], json!(rows[1..]));
    let first = server
        .call(Method::GET, &format!("{logs}?limit=2"), ADMIN, None)
        .await
        .json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = server
        .call(
            Method::GET,
            &format!("{logs}?limit=2&cursor={cursor}"),
            ADMIN,
            None,
        )
        .await
        .json();
    assert_eq!(rest["auditLogs"], json!(rows[2..]));
    assert_eq!(
        (&rest["nextCursor"], &rest["total"]),
        (&Value::Null, &json!(3))
    );
    let some = server
        .call(
            Method::GET,
            &format!("{logs}?action=api_key.create"),
            ADMIN,
            None,
        )
        .await
        .json();
    assert_eq!(some["total"], 2);
    for (query, path) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("offset=-1", "offset"),
        ("cursor=x", "cursor"),
    ] {
        let refused = server
            .call(Method::GET, &format!("{logs}?{query}"), ADMIN, None)
            .await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(refused.json()["error"]["issues"][0]["path"], path);
    }
    server.stop().await;
}

/// A version that knows no scope `events` stores `ingest` and means events alone: before an upgrade, and
/// on a replica that is still of that version.
#[tokio::test]
async fn a_key_of_a_version_before_opens_what_it_opened_then() {
    let server = start().await;
    let old = format!("hsk_{}", "o".repeat(43));
    let mut conn = server.app.db.conn().await.unwrap();
    sqlx::query(
        "INSERT INTO api_keys (id, name, key_hash, key_prefix, scopes, created_at)
         VALUES (gen_random_uuid(), 'old', $1, $2, '{ingest}', now())",
    )
    .bind(Sha256::digest(&old).as_slice())
    .bind(&old[..12])
    .execute(&mut *conn)
    .await
    .unwrap();
    drop(conn);
    let new = make(&server, &["ingest"]).await;
    let person = json!({ "userId": "u1" });
    for (key, put) in [(old.as_str(), 403), (key(&new), 200)] {
        assert_eq!(ingest(&server, key).await.status, StatusCode::ACCEPTED);
        let answer = server
            .call(Method::PUT, "/v1/contacts", key, Some(&person))
            .await;
        assert_eq!(answer.status, put);
    }
    let listed = server.call(Method::GET, KEYS, ADMIN, None).await.json();
    let scopes: Vec<&Value> = listed["apiKeys"].as_array().unwrap().iter().collect();
    let scopes: Vec<&Value> = scopes.iter().map(|key| &key["scopes"]).collect();
    assert!(scopes.contains(&&json!(["events"])), "{scopes:?}");
    assert!(scopes.contains(&&json!(["ingest"])), "{scopes:?}");
    // The row keeps its word, which the other version still reads.
    let stored = server.text("SELECT scopes::text FROM api_keys WHERE name = 'old'");
    assert_eq!(stored.await, "{ingest}");
    server.stop().await;
}

#[tokio::test]
async fn an_events_key_changes_no_lists_and_an_ingest_key_sends_as_nobody_else() {
    let variables = [
        ("ADMIN_API_KEY", ADMIN),
        ("EMAIL_FROM_TRANSACTIONAL", "Acme <Accounts@acme.test>"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let (events, ingest, full) = (
        make(&server, &["events"]).await,
        make(&server, &["ingest"]).await,
        make(&server, &["full-admin"]).await,
    );
    let event = |more: Value| {
        let mut event = json!({ "name": "test.signup", "userId": "u1" });
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    };
    for (more, status) in [
        (json!({}), 202),
        (json!({ "lists": {} }), 202),
        (json!({ "lists": { "journey": false } }), 403),
        (json!({ "lists": { "nothing": true } }), 403),
        (json!({ "consent": true }), 403),
    ] {
        let batch = json!({ "events": [event(json!({})), event(more.clone())] });
        for (path, body) in [
            ("/v1/events", event(more.clone())),
            ("/v1/events/batch", batch),
        ] {
            let call = |key: &Value| {
                let key = key["key"].as_str().unwrap().to_owned();
                let (server, body) = (&server, &body);
                async move {
                    server
                        .call(Method::POST, path, &key, Some(body))
                        .await
                        .status
                }
            };
            assert_eq!(call(&events).await, status, "{path} {more}");
            assert_eq!(call(&ingest).await, 202, "{path} {more}");
        }
    }
    for (from, status) in [
        ("hello@acme.test", 202),
        ("Ann of Acme <HELLO@acme.test>", 202),
        ("accounts@acme.test", 202),
        ("ceo@acme.test", 403),
        ("hello@acme.test.evil.test", 403),
        ("Acme <hello@acme.test> <x@evil.test>", 400),
        ("Acme\r\nBcc: x@y.z <hello@acme.test>", 400),
        ("Acme\nBcc: x@y.z <hello@acme.test>", 400),
        ("hello@acme.test, x@evil.test", 400),
    ] {
        let body = json!({
            "to": "bob@example.com", "template": "password-reset", "from": from,
            "props": { "url": "https://acme.test/reset" },
        });
        let ours = server
            .call(Method::POST, "/v1/emails", key(&ingest), Some(&body))
            .await;
        assert_eq!(ours.status, status, "{from}: {}", ours.text());
        if status == 403 {
            let full = server
                .call(Method::POST, "/v1/emails", key(&full), Some(&body))
                .await;
            assert_eq!(full.status, StatusCode::ACCEPTED, "{from}");
        }
    }
    let body = json!({
        "to": "bob@example.com", "template": "password-reset",
        "props": { "url": "https://acme.test/reset" }, "replyTo": "Ann\r\nBcc: x@y.z <ann@acme.test>",
    });
    let refused = server
        .call(Method::POST, "/v1/emails", key(&ingest), Some(&body))
        .await;
    assert_eq!(refused.json()["error"]["issues"][0]["path"], "replyTo");
    server.stop().await;
}

#[tokio::test]
async fn who_guesses_keys_is_slowed_down_and_who_has_one_is_not() {
    let server = start().await;
    let made = make(&server, &["events"]).await;
    for n in 0..60 {
        let wrong = format!("hsk_{n:043}");
        assert_eq!(
            ingest(&server, &wrong).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let wrong = ingest(&server, "hsk_one-more").await;
    assert_eq!(wrong.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(wrong.headers.contains_key(header::RETRY_AFTER));
    // From the same address.
    assert_eq!(
        ingest(&server, key(&made)).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(ingest(&server, ADMIN).await.status, StatusCode::ACCEPTED);
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(
        ingest(&server, "hsk_one-more").await.status,
        StatusCode::UNAUTHORIZED
    );
    server.stop().await;
}
