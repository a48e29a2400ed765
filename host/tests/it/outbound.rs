//! Webhooks out: signed, retried, guarded, given up.

use std::time::Duration;

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::admin::{KEY, call, get};
use crate::support::receiver::{Received, Receiver};
use crate::support::resend::{Mood, Resend};
use crate::support::{Server, Store};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A server that may reach this machine.
async fn server() -> Server {
    let variables = [
        ("ADMIN_API_KEY", KEY),
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
    ];
    Server::with(Store::native().await, &variables).await
}

async fn endpoint(server: &Server, url: &str, types: &[&str]) -> (String, String) {
    let body = json!({ "url": url, "eventTypes": types });
    let made = call(server, Method::POST, "/webhooks", body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    assert!(text("secret").starts_with(&text("secretPrefix")));
    (text("id"), text("secret"))
}

/// Checks a request as a receiver does, written from the specification alone.
pub fn verified(request: &Received, secret: &str) -> bool {
    let header = |name: &str| request.headers[name].to_str().unwrap();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
    let mac = Hmac::<Sha256>::new_from_slice(&key.unwrap()).unwrap();
    let signed = format!(
        "{}.{}.{}",
        header("webhook-id"),
        header("webhook-timestamp"),
        request.body
    );
    let expected = STANDARD.encode(mac.chain_update(signed).finalize().into_bytes());
    header("webhook-signature")
        .split(' ')
        .any(|one| one == format!("v1,{expected}"))
}

/// A person enters a journey that sends one mail and is over.
async fn enter(server: &Server) {
    let body = json!({
        "name": "t.mail", "userId": "u1", "email": "ann@example.com",
        "eventProperties": { "word": "x" },
    });
    let answer = server
        .call(Method::POST, "/v1/events", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn test(server: &Server, id: &str) {
    let path = format!("/webhooks/{id}/test");
    let answer = call(server, Method::POST, &path, json!({})).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let wanted = json!({ "enqueued": true, "eventType": "webhook.test" });
    assert_eq!(answer.json(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_to_who_asked_and_signed() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let types = ["email.sent", "journey.enrolled", "journey.completed"];
    let (_, secret) = endpoint(&server, &receiver.url, &types).await;
    let other = Receiver::start().await;
    let left = ["contact.unsubscribed", "contact.resubscribed"];
    endpoint(&server, &other.url, &left).await;

    enter(&server).await;
    server.drain().await;
    let told = receiver.take();
    let types: Vec<Value> = told
        .iter()
        .map(|one| serde_json::from_str::<Value>(&one.body).unwrap()["type"].clone())
        .collect();
    assert!(types.contains(&json!("journey.enrolled")), "{types:?}");
    assert!(types.contains(&json!("email.sent")), "{types:?}");
    for one in &told {
        assert!(verified(one, &secret));
        assert_eq!(one.headers["content-type"], "application/json");
        let body: Value = serde_json::from_str(&one.body).unwrap();
        assert_eq!(body["data"]["userId"], "u1");
        assert_eq!(body["data"]["email"], "ann@example.com");
        assert_eq!(body["timestamp"], "2026-03-02T09:00:00.000Z");
        assert!(body["data"]["journeyId"].is_string());
    }
    assert!(other.take().is_empty());

    for (unsubscribed, expected) in [(true, left[0]), (true, ""), (false, left[1])] {
        let body = json!({ "unsubscribedAll": unsubscribed });
        let put = call(&server, Method::PUT, "/contacts/u1/preferences", body).await;
        assert_eq!(put.status, 200);
        server.drain().await;
        let told = other.take();
        assert_eq!(told.len(), usize::from(!expected.is_empty()));
        for one in told {
            let body: Value = serde_json::from_str(&one.body).unwrap();
            assert_eq!(body["type"], expected);
            assert_eq!(body["data"]["all"], true);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_webhook_is_tried_for_a_day_with_the_same_bytes_and_then_given_up() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let (id, secret) = endpoint(&server, &receiver.url, &["email.sent"]).await;
    for _ in 0..8 {
        receiver.status(500);
    }
    test(&server, &id).await;
    server.drain().await;
    let first = receiver.take().remove(0);
    for seconds in [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000_u64] {
        server.advance(Duration::from_secs(seconds - 1)).await;
        assert!(receiver.take().is_empty(), "too early for {seconds}");
        server.advance(Duration::from_secs(2 + seconds / 10)).await;
        let again = receiver.take();
        assert_eq!(again.len(), 1, "{seconds}");
        assert!(verified(&again[0], &secret));
        assert_eq!(again[0].body, first.body);
        assert_eq!(again[0].headers["webhook-id"], first.headers["webhook-id"]);
        assert_ne!(
            again[0].headers["webhook-timestamp"],
            first.headers["webhook-timestamp"]
        );
    }
    server.advance(100 * HOUR).await;
    assert!(receiver.take().is_empty());

    let dead = get(&server, "/dlq?type=webhook").await.json();
    assert_eq!(dead["total"], 1);
    assert_eq!(dead["dlq"][0]["subject"], "webhook.test");
    assert_eq!(dead["dlq"][0]["contactId"], Value::Null);
    let path = format!("/dlq/{}/retry", dead["dlq"][0]["id"].as_str().unwrap());
    let retried = call(&server, Method::POST, &path, json!({})).await;
    assert_eq!(retried.status, 202);
    server.drain().await;
    let again = receiver.take();
    assert_eq!(again[0].headers["webhook-id"], first.headers["webhook-id"]);
    assert_eq!(
        call(&server, Method::POST, &path, json!({})).await.status,
        404
    );
    let list = get(
        &server,
        &format!("/webhooks/{id}/deliveries?status=delivered"),
    )
    .await;
    let list = list.json();
    assert_eq!(list["total"], 1);
    assert_eq!(list["deliveries"][0]["responseStatus"], 204);
    assert_eq!(list["deliveries"][0]["payload"]["data"]["test"], true);
    assert_eq!(get(&server, "/dlq").await.json()["total"], 0);

    // Kept for 30 days.
    server.advance(31 * 24 * HOUR).await;
    hogsend::worker::tidy(&server.app).await.unwrap();
    let left = "SELECT count(*) FROM webhook_deliveries";
    assert_eq!(server.count(left).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_ask_for_time_or_for_nothing_more() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let (id, _) = endpoint(&server, &receiver.url, &["email.sent"]).await;
    receiver.answer([(429, Some(("retry-after", "3600".into())), Duration::ZERO)]);
    test(&server, &id).await;
    server.drain().await;
    assert_eq!(receiver.take().len(), 1);
    server.advance(59 * MINUTE).await;
    assert!(receiver.take().is_empty());
    server.advance(MINUTE).await;
    assert_eq!(receiver.take().len(), 1);

    // A redirect is a refusal, not a way.
    let target = Receiver::start().await;
    receiver.answer([(302, Some(("location", target.url.clone())), Duration::ZERO)]);
    test(&server, &id).await;
    server.drain().await;
    assert!(target.take().is_empty());
    let list = get(
        &server,
        &format!("/webhooks/{id}/deliveries?status=pending"),
    )
    .await;
    let error = list.json()["deliveries"][0]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("redirects are not followed"), "{error}");
    server.advance(6 * MINUTE).await;
    assert_eq!(receiver.take().len(), 2);

    receiver.status(410);
    test(&server, &id).await;
    server.drain().await;
    let path = format!("/webhooks/{id}");
    let shown = get(&server, &path).await.json();
    assert_eq!(shown["disabled"], true);
    assert!(shown["disabledReason"].as_str().unwrap().contains("410"));
    let answer = call(&server, Method::POST, &format!("{path}/test"), json!({})).await;
    assert_eq!(answer.status, 409);
    let on = call(&server, Method::PATCH, &path, json!({ "disabled": false })).await;
    assert_eq!(on.json()["disabled"], false);
    receiver.take();
    test(&server, &id).await;
    server.drain().await;
    assert_eq!(receiver.take().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_secret_signs_beside_the_new_one_for_a_day() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let (id, old) = endpoint(&server, &receiver.url, &["email.sent"]).await;
    let path = format!("/webhooks/{id}/rotate-secret");
    let rotated = call(&server, Method::POST, &path, json!({})).await;
    assert_eq!(rotated.status, 200);
    let new = rotated.json()["secret"].as_str().unwrap().to_owned();
    test(&server, &id).await;
    server.drain().await;
    let both = receiver.take().remove(0);
    assert!(verified(&both, &old) && verified(&both, &new));
    server.advance(24 * HOUR + MINUTE).await;
    test(&server, &id).await;
    server.drain().await;
    let later = receiver.take().remove(0);
    assert!(!verified(&later, &old) && verified(&later, &new));

    // Nowhere but in the two answers.
    let audit = get(&server, "/audit-logs?limit=100").await.text();
    let shown = get(&server, "/webhooks").await.text();
    for secret in [&old, &new] {
        assert!(!audit.contains(secret.as_str()) && !shown.contains(secret.as_str()));
    }
    assert!(!audit.contains("token=t"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_inside_is_reached_unless_it_is_allowed() {
    let server = crate::support::admin::server().await;
    let receiver = Receiver::start().await;
    let body = |url: &str| json!({ "url": url, "eventTypes": ["email.sent"] });
    for url in [
        receiver.url.as_str(),
        "http://localhost:3002/v1/health",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0x7f.1/",
        "ftp://example.com/",
        "https://u:p@example.com/",
        "no url",
    ] {
        let made = call(&server, Method::POST, "/webhooks", body(url)).await;
        assert_eq!(made.status, 400, "{url}");
        assert_eq!(made.json()["error"]["issues"][0]["path"], "url");
    }
    // A name is judged by where it leads when it is asked, as this one does that led elsewhere.
    let (id, _) = endpoint(&server, "https://example.com/hook", &["email.sent"]).await;
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    let mut conn = server.app.db.conn().await.unwrap();
    sqlx::query("UPDATE webhook_endpoints SET url = $1")
        .bind(&by_name)
        .execute(&mut *conn)
        .await
        .unwrap();
    drop(conn);
    test(&server, &id).await;
    server.drain().await;
    assert!(receiver.take().is_empty());
    let list = get(&server, &format!("/webhooks/{id}/deliveries"))
        .await
        .json();
    let error = list["deliveries"][0]["error"].as_str().unwrap();
    assert!(error.contains("WEBHOOK_ALLOWED_NETWORKS"), "{error}");

    for (body, path) in [
        (json!({ "url": "https://example.com" }), "eventTypes"),
        (json!({ "eventTypes": ["email.sent"] }), "url"),
        (
            json!({ "url": "https://example.com", "eventTypes": [] }),
            "eventTypes",
        ),
        (
            json!({ "url": "https://example.com", "eventTypes": ["email.sent", "x"] }),
            "eventTypes.1",
        ),
    ] {
        let made = call(&server, Method::POST, "/webhooks", body).await;
        assert_eq!(made.status, 400);
        assert_eq!(made.json()["error"]["issues"][0]["path"], path);
    }
    assert_eq!(get(&server, "/webhooks").await.json()["total"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_told_of_no_more_and_a_deleted_endpoint_of_nothing() {
    let server = server().await;
    let receiver = Receiver::start().await;
    receiver.status(500);
    let types = ["journey.enrolled"];
    let (id, _) = endpoint(&server, &receiver.url, &types).await;
    enter(&server).await;
    assert!(
        server
            .count("SELECT count(*) FROM webhook_deliveries")
            .await
            > 0
    );
    let gone = call(&server, Method::DELETE, "/contacts/u1", json!({})).await;
    assert_eq!(gone.status, 200);
    assert_eq!(
        server
            .count("SELECT count(*) FROM webhook_deliveries")
            .await,
        0
    );

    test(&server, &id).await;
    let path = format!("/webhooks/{id}");
    let gone = call(&server, Method::DELETE, &path, json!({})).await;
    assert_eq!(gone.json()["deleted"], true);
    server.drain().await;
    assert!(receiver.take().is_empty());
    assert_eq!(
        call(&server, Method::DELETE, &path, json!({})).await.status,
        404
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_cannot_be_sent_is_told_as_failed() {
    let resend = Resend::start().await;
    let variables = [
        ("ADMIN_API_KEY", KEY),
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1"),
    ];
    let server = crate::delivery::server(&resend, &variables).await;
    let receiver = Receiver::start().await;
    endpoint(&server, &receiver.url, &["email.failed"]).await;
    resend.next(Mood::Refuse(422, "validation_error"));
    enter(&server).await;
    server.drain().await;
    let told = receiver.take();
    assert_eq!(told.len(), 1);
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(body["type"], "email.failed");
    assert!(body["data"]["reason"].is_string() && body["data"]["templateKey"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_is_new_changed_or_erased_is_told_of_once() {
    let server = server().await;
    let receiver = Receiver::start().await;
    let types = ["contact.created", "contact.updated", "contact.deleted"];
    endpoint(&server, &receiver.url, &types).await;
    let put = json!({ "userId": "u1", "email": "ann@example.com" });
    let changed = json!({ "userId": "u1", "properties": { "plan": "pro" } });
    let event =
        json!({ "name": "test.nothing", "userId": "u1", "contactProperties": { "plan": "team" } });
    let same =
        json!({ "name": "test.nothing", "userId": "u1", "contactProperties": { "plan": "team" } });
    let known = json!({ "name": "test.nothing", "userId": "u1" });
    let other = json!({ "name": "test.nothing", "userId": "u2" });
    let erase = json!({ "userId": "u1" });
    for (method, path, body, told) in [
        (
            Method::PUT,
            "/v1/contacts",
            put.clone(),
            vec!["contact.created u1 ann@example.com"],
        ),
        (Method::PUT, "/v1/contacts", put, vec![]),
        (
            Method::PUT,
            "/v1/contacts",
            changed.clone(),
            vec!["contact.updated u1 ann@example.com"],
        ),
        (Method::PUT, "/v1/contacts", changed, vec![]),
        (
            Method::POST,
            "/v1/events",
            event,
            vec!["contact.updated u1 ann@example.com"],
        ),
        (Method::POST, "/v1/events", same, vec![]),
        (Method::POST, "/v1/events", known, vec![]),
        (
            Method::POST,
            "/v1/events",
            other,
            vec!["contact.created u2 -"],
        ),
        (
            Method::DELETE,
            "/v1/contacts",
            erase.clone(),
            vec!["contact.deleted u1 -"],
        ),
        (Method::DELETE, "/v1/contacts", erase, vec![]),
    ] {
        let shown = format!("{method} {path} {body}");
        let answer = server.call(method, path, KEY, Some(&body)).await;
        assert!(answer.status.is_success(), "{shown}: {}", answer.text());
        server.drain().await;
        let seen = receiver.take().into_iter().map(|one| {
            let body: Value = serde_json::from_str(&one.body).unwrap();
            let id = one.headers["webhook-id"].to_str().unwrap();
            assert_eq!(body["id"], id, "the id of the body is that of the header");
            assert!(body["data"]["contactId"].is_string());
            let text = |name: &str| body["data"][name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {}",
                body["type"].as_str().unwrap(),
                text("userId"),
                text("email")
            )
        });
        assert_eq!(seen.collect::<Vec<_>>(), told, "{shown}");
    }
    // Nothing of the person is left but the ids that the deletion told.
    let left = "SELECT count(*) FROM webhook_deliveries WHERE body LIKE '%ann@example.com%'";
    assert_eq!(server.count(left).await, 0);
    server.stop().await;
}
