//! The spike guard holds a journey that far too many contacts enter, and nothing else.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::admin::{KEY, call, get};
use crate::support::receiver::Receiver;
use crate::support::{Server, Store};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

async fn server(variables: &[(&str, &str)]) -> Server {
    let mut all = vec![
        ("ADMIN_API_KEY", KEY),
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
        ("RATE_LIMIT_ADMIN", "0"),
    ];
    all.extend(variables);
    Server::with(Store::native().await, &all).await
}

/// So many contacts send an event at once; the worker sees them afterwards.
async fn enter(server: &Server, event: &str, from: usize, count: usize) {
    let events: Vec<Value> = (from..from + count)
        .map(|at| json!({ "name": event, "userId": format!("{event}-{at}"), "email": format!("{at}@example.com") }))
        .collect();
    let body = json!({ "events": events });
    let answer = server
        .call(Method::POST, "/v1/events/batch", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn journey(server: &Server, id: &str) -> Value {
    get(server, &format!("/journeys/{id}")).await.json()["journey"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_that_far_too_many_enter_is_held_with_a_reason_and_an_alert() {
    let server = server(&[("SPIKE_GUARD", "20")]).await;
    let receiver = Receiver::start().await;
    let rule = json!({ "name": "Spikes", "type": "enrolment_spike", "channel": "webhook", "target": receiver.url });
    assert_eq!(
        call(&server, Method::POST, "/alerts/rules", rule)
            .await
            .status,
        201
    );
    // As many as are allowed.
    enter(&server, "t.mail", 0, 20).await;
    server.drain().await;
    assert_eq!(journey(&server, "t-mail").await["held"], false);
    enter(&server, "t.mail", 20, 5).await;
    enter(&server, "t.twice", 0, 3).await;
    // Two workers notice at the same time.
    let other = server
        .replica(&[
            ("SPIKE_GUARD", "20"),
            ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
        ])
        .await;
    let (one, two) = tokio::join!(
        hogsend::worker::spikes_due(&server.app),
        hogsend::worker::spikes_due(&other.app)
    );
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    enter(&server, "t.mail", 25, 5).await;
    server.drain().await;

    let held = journey(&server, "t-mail").await;
    assert_eq!(held["held"], true);
    let reason = "25 contacts entered it within ten minutes, nobody entered it before";
    assert_eq!(held["hold"]["reason"], reason);
    assert_eq!(held["hold"]["cause"], "spike");
    assert_eq!(held["hold"]["pausedBy"], "spike guard");
    assert_eq!(held["skips"], json!({ "held": 5 }));
    assert_eq!(journey(&server, "t-twice").await["held"], false);
    // Its last runs came too late to be advanced.
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
            .await,
        20 + 3
    );
    let health = server
        .call(Method::GET, "/v1/health", KEY, None)
        .await
        .json();
    assert_eq!(health["paused"], json!(["journey:t-mail"]));
    let findings = health["findings"].to_string();
    assert!(
        findings.contains(reason) && findings.contains("hogsend resume --journey t-mail"),
        "{findings}"
    );
    let paused = get(&server, "/pauses").await.json();
    assert_eq!(paused["pauses"][0]["cause"], "spike");
    let told = receiver.take();
    assert_eq!(
        told.len(),
        1,
        "{:?}",
        told.iter().map(|one| &one.body).collect::<Vec<_>>()
    );
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(
        (&body["data"]["value"], &body["data"]["threshold"]),
        (&json!(25.0), &json!(20.0))
    );
    let message = body["data"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the journey 't-mail' is held: 25 contacts"),
        "{message}"
    );
    let audited = server
        .text("SELECT actor_type || ' ' || action FROM audit_logs WHERE resource_type = 'pause'")
        .await;
    assert_eq!(audited, "system pause.begin");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_s_resume_lets_everybody_in_for_a_day() {
    let server = server(&[("SPIKE_GUARD", "20")]).await;
    enter(&server, "t.mail", 0, 30).await;
    server.drain().await;
    enter(&server, "t.mail", 30, 30).await;
    server.drain().await;
    assert_eq!(
        journey(&server, "t-mail").await["skips"],
        json!({ "held": 30 })
    );
    // The operator looks at it first.
    server.advance(30 * MINUTE).await;
    let resumed = call(
        &server,
        Method::PATCH,
        "/journeys/t-mail",
        json!({ "held": false }),
    )
    .await;
    assert_eq!(resumed.status, 200);
    server.drain().await;
    server.advance(MINUTE).await;
    assert_eq!(journey(&server, "t-mail").await["held"], false);
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE status = 'sent'")
            .await,
        60
    );
    // A day later the guard counts again: five times the busiest ten minutes, those of the spike itself apart,
    // and those who were let in after it were 30.
    server.advance(DAY).await;
    enter(&server, "t.mail", 100, 100).await;
    server.drain().await;
    assert_eq!(journey(&server, "t-mail").await["held"], false);
    enter(&server, "t.mail", 200, 60).await;
    server.drain().await;
    let held = journey(&server, "t-mail").await;
    assert_eq!(held["hold"]["cause"], "spike", "{held}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_on_purpose_are_announced_and_what_is_usual_grows_with_them() {
    let server = server(&[("SPIKE_GUARD", "10")]).await;
    let resume = json!({ "journey": "t-mail" });
    let announced = call(&server, Method::POST, "/resume", resume).await.json();
    assert_eq!(announced["resumed"], false);
    enter(&server, "t.mail", 0, 40).await;
    server.drain().await;
    assert_eq!(journey(&server, "t-mail").await["held"], false);
    server.advance(2 * DAY).await;
    // 40 within ten minutes are usual now, so 200 are not too many.
    enter(&server, "t.mail", 40, 200).await;
    server.drain().await;
    assert_eq!(journey(&server, "t-mail").await["held"], false);
    enter(&server, "t.mail", 240, 1).await;
    server.drain().await;
    assert_eq!(journey(&server, "t-mail").await["held"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_growth_and_a_guard_that_is_off_hold_nothing() {
    let server = server(&[("SPIKE_GUARD", "10")]).await;
    for round in 0..4 {
        enter(&server, "t.mail", round * 10, 10).await;
        server.drain().await;
        server.advance(11 * MINUTE).await;
    }
    assert_eq!(journey(&server, "t-mail").await["held"], false);
    let off = server.replica(&[("SPIKE_GUARD", "off")]).await;
    enter(&server, "t.mail", 100, 50).await;
    assert_eq!(hogsend::worker::spikes_due(&off.app).await.unwrap(), 0);
    assert_eq!(hogsend::worker::spikes_due(&server.app).await.unwrap(), 1);
    server.stop().await;
}
