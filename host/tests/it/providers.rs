//! A provider, a queue or a worker that does not work is seen, and somebody is told.

use std::time::Duration;

use axum::http::Method;
use hogsend::crew::Crew;
use hogsend::worker;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::delivery;
use crate::support::admin::{KEY, call, get};
use crate::support::process::until;
use crate::support::receiver::{Received, Receiver};
use crate::support::resend::{Refusal, Resend};
use crate::support::{Server, Store};

const MINUTE: Duration = Duration::from_secs(60);
const ADMIN: (&str, &str) = ("ADMIN_API_KEY", KEY);
const NETWORKS: (&str, &str) = ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8");

const REVOKED: Refusal = Refusal {
    status: 401,
    name: "validation_error",
    message: "API key is invalid",
    from: "",
};

async fn decide(server: &Server, user: &str, event: &str) {
    let body =
        json!({ "event": event, "userId": user, "userEmail": format!("{user}@example.com") });
    let answer = server
        .call(Method::POST, "/v1/ingest", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn health(server: &Server) -> Value {
    let answer = server.call(Method::GET, "/v1/health", KEY, None).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

async fn rule(server: &Server, kind: &str, receiver: &Receiver, more: Value) {
    let mut body =
        json!({ "name": kind, "type": kind, "channel": "webhook", "target": receiver.url });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = call(server, Method::POST, "/alerts/rules", body).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// The message of an alert, which is told once.
fn message(told: &[Received]) -> String {
    assert_eq!(told.len(), 1);
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    body["data"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_everything_is_seen_and_told_of_until_it_is_cured() {
    let resend = Resend::start().await;
    let receiver = Receiver::start().await;
    let server = delivery::server(&resend, &[ADMIN, NETWORKS]).await;
    let mut conn = server.app.db.conn().await.unwrap();
    let beat = hogsend::db::Beat::default();
    hogsend::db::worker_beat(&mut conn, uuid::Uuid::now_v7(), &beat, server.now())
        .await
        .unwrap();
    drop(conn);
    rule(&server, "provider_blocked", &receiver, json!({})).await;
    decide(&server, "ann", "t.mail").await;
    let before = health(&server).await;
    assert_eq!(
        before["providers"],
        json!([{ "id": "resend", "purposes": ["lifecycle", "transactional"], "state": "up" }])
    );
    assert_eq!(before["queue"]["runs"]["due"], 1);
    let none = json!({ "due": 0, "oldestSeconds": 0 });
    for queue in ["mails", "captures", "webhooks"] {
        assert_eq!(before["queue"][queue], none, "{queue}");
    }

    resend.refuse(Some(REVOKED));
    server.drain().await;
    for _ in 0..20 {
        server.advance(Duration::from_secs(30)).await;
    }
    let seen = health(&server).await;
    assert_eq!(seen["status"], "degraded");
    assert_eq!(seen["providers"][0]["state"], "blocked");
    let reason = seen["providers"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("API key is invalid"), "{reason}");
    assert_eq!(seen["queue"]["mails"]["due"], 1);
    assert_eq!(seen["queue"]["mails"]["oldestSeconds"], 600);
    let findings = seen["findings"].to_string();
    assert!(
        findings.contains("The provider resend takes no mail until someone acts"),
        "{findings}"
    );
    let stranger = server.get("/v1/health").await.json();
    assert!(stranger.get("providers").is_none() && stranger.get("queue").is_none());

    let listed = get(&server, "/providers").await;
    assert_eq!(listed.status, 200);
    let listed = listed.json();
    assert_eq!(listed["total"], 1);
    let one = &listed["providers"][0];
    assert_eq!(
        (&one["id"], &one["state"]),
        (&json!("resend"), &json!("blocked"))
    );
    assert_eq!(one["holds"][0]["kind"], "block");
    assert!(one["holds"][0].get("sender").is_none());
    let told = message(&receiver.take());
    assert!(
        told.starts_with("1 of 1 delivery providers take no mail: resend ("),
        "{told}"
    );

    resend.refuse(None);
    server.advance(Duration::from_secs(30)).await;
    assert_eq!(resend.accepted().len(), 1);
    let cured = health(&server).await;
    assert_eq!(
        cured["providers"],
        json!([{ "id": "resend", "purposes": ["lifecycle", "transactional"], "state": "up" }])
    );
    assert_eq!(cured["queue"]["mails"], none);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_sender_is_named() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[ADMIN]).await;
    resend.refuse(Some(Refusal {
        status: 403,
        name: "validation_error",
        message: "The acme.test domain is not verified",
        from: "hello@acme.test",
    }));
    decide(&server, "ann", "t.mail").await;
    server.drain().await;
    let one = get(&server, "/providers").await.json()["providers"][0].clone();
    assert_eq!(one["state"], "blocked");
    assert_eq!(one["holds"][0]["sender"], "hello@acme.test");
    let reason = one["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("mail from hello@acme.test: "),
        "{reason}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_a_worker_tells_that_there_is_none_and_what_waits() {
    let server = Server::with(Store::native().await, &[ADMIN, NETWORKS]).await;
    let (workers, lag) = (Receiver::start().await, Receiver::start().await);
    rule(&server, "no_worker", &workers, json!({})).await;
    rule(&server, "queue_lag", &lag, json!({ "threshold": 600 })).await;
    decide(&server, "ann", "t.mail").await;
    // Looked at now, neither is worth an alert.
    worker::alert_due(&server.app).await.unwrap();
    assert!(workers.take().is_empty() && lag.take().is_empty());
    server.clock.advance(10 * MINUTE);

    let mut crew = Crew::new(CancellationToken::new());
    worker::watch(&server.app, &mut crew);
    let history = || async { get(&server, "/alerts/history").await.json() };
    until("both alerts are passed on", || async {
        let all = history().await["history"].clone();
        let all = all.as_array().unwrap();
        all.len() == 2 && all.iter().all(|one| one["status"] == "delivered")
    })
    .await;
    crew.stop().cancel();
    crew.ended().await.unwrap();
    assert_eq!(
        message(&workers.take()),
        "no worker has been seen for 600 s: runs and mails wait until `hogsend worker` runs"
    );
    assert_eq!(
        message(&lag.take()),
        "runs have waited for 600 s, 1 are due (threshold: 600 s)"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_people_in_one_journey_at_once_are_told_of() {
    let server = Server::with(Store::native().await, &[ADMIN, NETWORKS]).await;
    let (met, unmet) = (Receiver::start().await, Receiver::start().await);
    for user in ["a", "b", "c"] {
        decide(&server, user, "t.mail").await;
        decide(&server, user, "t.echo").await;
    }
    decide(&server, "d", "t.mail").await;
    rule(&server, "enrolment_spike", &met, json!({ "threshold": 4 })).await;
    rule(
        &server,
        "enrolment_spike",
        &unmet,
        json!({ "threshold": 5 }),
    )
    .await;
    server.drain().await;
    assert_eq!(
        message(&met.take()),
        "4 people entered the journey 't-mail' within 1 hour (threshold: 4)"
    );
    assert!(unmet.take().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_about_the_only_provider_does_not_go_by_mail() {
    let body = json!({
        "name": "Provider", "type": "provider_blocked", "channel": "email",
        "target": "ops@example.com",
    });
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[ADMIN]).await;
    let refused = call(&server, Method::POST, "/alerts/rules", body.clone()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["issues"][0]["path"], "channel");
    server.stop().await;
    let server = delivery::server(&resend, &[ADMIN, ("EMAIL_PROVIDER", "resend,outbox")]).await;
    let made = call(&server, Method::POST, "/alerts/rules", body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["rule"]["threshold"], 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_last_heard_of_by_a_clock_that_was_set_back_is_not_alive() {
    let server = Server::with(Store::native().await, &[ADMIN]).await;
    let mut conn = server.app.db.conn().await.unwrap();
    for (ahead, status) in [(120, "down"), (5, "up")] {
        let beat = server.now() + chrono::TimeDelta::seconds(ahead);
        let id = uuid::Uuid::now_v7();
        hogsend::db::worker_beat(&mut conn, id, &hogsend::db::Beat::default(), beat)
            .await
            .unwrap();
        let seen = health(&server).await["components"]["worker"].clone();
        assert_eq!(seen["status"], status, "{ahead} s ahead");
        assert_eq!(seen["lastSeenAt"].is_string(), status == "up");
    }
    drop(conn);
    server.stop().await;
}
