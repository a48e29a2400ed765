//! Alerts: checked on a schedule, raised once, sent.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::admin::{KEY, call, get};
use crate::support::receiver::Receiver;
use crate::support::{Server, Store};

const MINUTE: Duration = Duration::from_secs(60);

async fn server() -> Server {
    let variables = [
        ("ADMIN_API_KEY", KEY),
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
    ];
    Server::with(Store::native().await, &variables).await
}

async fn rule(server: &Server, body: Value) -> Value {
    let made = call(server, Method::POST, "/alerts/rules", body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

/// A hundred mails of this hour, of which 6 bounced and 1 drew a complaint, and 25 that no provider
/// accepted.
async fn mails(server: &Server) {
    server
        .run_sql(
            "WITH ann AS (
                 INSERT INTO contacts (id, email, first_seen_at, last_seen_at, created_at, updated_at)
                 SELECT gen_random_uuid(), 'ann@example.com', t, t, t, t
                 FROM (SELECT timestamptz '2026-03-02T08:30:00Z' AS t) x RETURNING id, created_at)
             INSERT INTO email_sends (id, contact_id, template_key, category, from_email, to_email,
                 subject, idempotency_key, status, created_at, updated_at, sent_at, bounced_at,
                 complained_at)
             SELECT gen_random_uuid(), a.id, 'welcome', 'journey', 'x@acme.test', 'ann@example.com',
                 's', 'key-' || n, CASE WHEN n > 100 THEN 'failed' ELSE 'sent' END, a.created_at,
                 a.created_at, CASE WHEN n <= 100 THEN a.created_at END,
                 CASE WHEN n <= 6 THEN a.created_at END, CASE WHEN n = 7 THEN a.created_at END
             FROM ann a, generate_series(1, 125) n",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_alerts_once_signed_and_again_after_its_cooldown() {
    let server = server().await;
    let receiver = Receiver::start().await;
    mails(&server).await;
    let made = rule(
        &server,
        json!({
            "name": "Bounces <b>", "type": "bounce_rate_exceeded", "channel": "webhook",
            "target": receiver.url, "windowMinutes": 1440, "cooldownMinutes": 120,
        }),
    )
    .await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(made["rule"]["threshold"], 0.05);
    assert!(!made["rule"].to_string().contains("token=t"));

    // Two workers check at the same time.
    let other = server
        .replica(&[("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")])
        .await;
    tokio::join!(server.drain(), other.drain());
    let told = receiver.take();
    assert_eq!(told.len(), 1);
    assert!(crate::outbound::verified(&told[0], secret));
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(body["type"], "alert.triggered");
    assert_eq!(body["data"]["value"], 0.06);
    assert_eq!(body["data"]["cases"], 100);
    assert_eq!(
        body["data"]["message"],
        "6% of the 100 mails sent within 1 day bounced, more than 5%"
    );
    for _ in 0..119 {
        server.advance(MINUTE).await;
    }
    assert!(receiver.take().is_empty());
    server.advance(2 * MINUTE).await;
    assert_eq!(receiver.take().len(), 1);
    let history = get(&server, "/alerts/history").await.json();
    assert_eq!(history["total"], 2);
    assert_eq!(history["history"][0]["status"], "delivered");
    assert_eq!(history["history"][0]["value"], 0.06);

    // Once the mails are older than the window there is no alert.
    server.advance(26 * 60 * MINUTE).await;
    server.advance(120 * MINUTE).await;
    assert!(receiver.take().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_type_checks_its_own_figure() {
    let server = server().await;
    let receiver = Receiver::start().await;
    mails(&server).await;
    let body = json!({ "name": "t.error", "userId": "bob", "email": "bob@example.com" });
    server
        .call(Method::POST, "/v1/events", KEY, Some(&body))
        .await;
    server.drain().await;
    for (kind, more, expected) in [
        (
            "high_complaint_rate",
            json!({ "minimum": 100 }),
            "1% of the 100 mails sent within 1 hour drew complaints, more than 0.1%",
        ),
        (
            "delivery_issue",
            json!({}),
            "20% of the 125 mails tried within 1 hour could not be handed over, more than 10%",
        ),
        (
            "journey_failure_spike",
            json!({ "threshold": 1 }),
            "1 journey runs failed or got stuck within 1 hour (threshold: 1)",
        ),
        // Too few mails for a rate.
        ("high_complaint_rate", json!({}), ""),
        ("bounce_rate_exceeded", json!({ "threshold": 0.06 }), ""),
        ("bounce_rate_exceeded", json!({ "enabled": false }), ""),
    ] {
        let mut body =
            json!({ "name": "x < y", "type": kind, "channel": "slack", "target": receiver.url });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = rule(&server, body).await;
        assert!(made.get("secret").is_none());
        server.drain().await;
        let told = receiver.take();
        assert_eq!(
            told.len(),
            usize::from(!expected.is_empty()),
            "{kind} {more}"
        );
        for one in told {
            let body: Value = serde_json::from_str(&one.body).unwrap();
            assert_eq!(body, json!({ "text": format!("*x &lt; y*: {expected}") }));
            assert!(!one.headers.contains_key("webhook-signature"));
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_by_mail_is_one_mail_of_the_ledger() {
    let server = server().await;
    mails(&server).await;
    rule(
        &server,
        json!({
            "name": "Bounces", "type": "bounce_rate_exceeded", "channel": "email",
            "target": "Ops@example.com",
        }),
    )
    .await;
    server.drain().await;
    let sent = server
        .text(
            "SELECT string_agg(status || ' ' || to_email || ' ' || subject, ', ')
             FROM email_sends WHERE template_key = 'hogsend-alert'",
        )
        .await;
    assert_eq!(sent, "sent Ops@example.com Alert: Bounces");
    let text = server
        .text("SELECT mail->>'text' FROM email_sends WHERE template_key = 'hogsend-alert'")
        .await;
    assert!(
        text.starts_with("6% of the 100 mails sent within 1 hour bounced"),
        "{text}"
    );
    assert_eq!(
        get(&server, "/alerts/history").await.json()["history"][0]["status"],
        "delivered"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_down_is_retried() {
    let server = server().await;
    let receiver = Receiver::start().await;
    receiver.status(503);
    mails(&server).await;
    let made = rule(
        &server,
        json!({
            "name": "Bounces", "type": "bounce_rate_exceeded", "channel": "webhook",
            "target": receiver.url,
        }),
    )
    .await;
    server.drain().await;
    let id = made["rule"]["id"].as_str().unwrap();
    let history = format!("/alerts/history?ruleId={id}");
    let one = get(&server, &history).await.json()["history"][0].clone();
    assert_eq!(
        (&one["status"], &one["error"]),
        (&json!("pending"), &json!("answered 503"))
    );
    server.advance(Duration::from_secs(6)).await;
    assert_eq!(receiver.take().len(), 2);
    assert_eq!(
        get(&server, &history).await.json()["history"][0]["status"],
        "delivered"
    );

    let path = format!("/alerts/rules/{id}");
    let body = json!({ "channel": "email" });
    let changed = call(&server, Method::PATCH, &path, body).await;
    assert_eq!(changed.status, 400);
    assert_eq!(changed.json()["error"]["issues"][0]["path"], "target");
    let body = json!({ "channel": "email", "target": "ops@example.com", "threshold": 0.5 });
    let changed = call(&server, Method::PATCH, &path, body).await.json();
    assert_eq!(changed["rule"]["target"], "ops@example.com");
    assert_eq!(
        call(&server, Method::DELETE, &path, json!({})).await.status,
        200
    );
    assert_eq!(
        call(&server, Method::DELETE, &path, json!({})).await.status,
        404
    );
    assert_eq!(get(&server, "/alerts/rules").await.json()["total"], 0);
    let audit = get(&server, "/audit-logs?resourceType=alert_rule").await;
    assert_eq!(audit.json()["total"], 3);
    assert!(!audit.text().contains("token=t") && !audit.text().contains("whsec_"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_makes_no_sense_is_refused_by_its_field() {
    let server = server().await;
    let good = json!({
        "name": "x", "type": "bounce_rate_exceeded", "channel": "email", "target": "ops@example.com",
    });
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(101))),
        ("type", json!("other")),
        ("threshold", json!(1.5)),
        ("threshold", json!(-0.1)),
        ("threshold", json!(1e300)),
        ("windowMinutes", json!(4)),
        ("windowMinutes", json!(9_223_372_036_854_775_807_i64)),
        ("minimum", json!(0)),
        ("cooldownMinutes", json!(0)),
        ("channel", json!("pager")),
        ("target", json!("no address")),
        ("target", Value::Null),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let made = call(&server, Method::POST, "/alerts/rules", body).await;
        assert_eq!(made.status, 400, "{field} {value}");
        assert_eq!(made.json()["error"]["issues"][0]["path"], field, "{value}");
    }
    assert_eq!(get(&server, "/alerts/rules").await.json()["total"], 0);
    assert_eq!(get(&server, "/alerts/history?ruleId=x").await.status, 400);
    server.stop().await;
}
