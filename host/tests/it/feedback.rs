//! What a provider's webhooks do.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::delivery::server;
use crate::support::resend::{Mood, Resend};
use crate::support::{Answer, Server};

async fn mail(server: &Server, user: &str, category: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@Example.com"), "properties": { "category": category } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

/// A webhook of Resend, without a secret in development.
async fn tell(server: &Server, path: &str, id: &str, body: &Value) -> Answer {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("svix-id", id)
        .body(Body::from(body.to_string()));
    server.request(request.unwrap()).await
}

fn event(kind: &str, message: &str, at: &str, more: Value) -> Value {
    let mut data = json!({ "email_id": message, "created_at": at, "to": ["ann@example.com"], "from": "x", "subject": "y" });
    data.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "type": kind, "created_at": at, "data": data })
}

async fn ann(server: &Server) -> String {
    server.text("SELECT message_id FROM email_sends").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_only_moves_forward_with_the_providers_own_times() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    mail(&server, "ann", "journey").await;
    let id = ann(&server).await;
    for (n, kind, at, status) in [
        (1, "email.sent", "2026-03-02T09:00:01Z", "sent"),
        (
            2,
            "email.delivered",
            "2026-03-02T09:00:03.250Z",
            "delivered",
        ),
        (
            3,
            "email.delivery_delayed",
            "2026-03-02T09:00:02Z",
            "delivered",
        ),
        (
            2,
            "email.delivered",
            "2026-03-02T09:00:03.250Z",
            "delivered",
        ),
        (4, "email.delivered", "2026-03-02T09:00:09Z", "delivered"),
        (5, "contact.created", "2026-03-02T09:00:09Z", "delivered"),
    ] {
        let path = ["/v1/webhooks/resend", "/v1/webhooks/email/resend"][n % 2];
        let answer = tell(
            &server,
            path,
            &format!("msg_{n}"),
            &event(kind, &id, at, json!({})),
        )
        .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["ok"], true);
        assert_eq!(
            server.text("SELECT status FROM email_sends").await,
            status,
            "{kind}"
        );
    }
    assert_eq!(
        server
            .text(
                "SELECT to_char(delivered_at AT TIME ZONE 'UTC', 'HH24:MI:SS.MS') FROM email_sends"
            )
            .await,
        "09:00:03.250"
    );
    // Each is told once, to journeys and to analytics, whatever the provider repeats.
    let told = "SELECT string_agg(name || ' ' || n, ', ' ORDER BY name) FROM (SELECT name, count(*) AS n FROM user_events WHERE name LIKE 'email.%' GROUP BY name) AS all_names";
    assert_eq!(
        server.text(told).await,
        "email.delivered 1, email.delivery_delayed 1, email.sent 1"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_bounce_or_a_complaint_suppresses_the_address_at_once() {
    for (kind, more, reason) in [
        (
            "email.bounced",
            json!({ "bounce": { "type": "Permanent", "subType": "General", "message": "no such user" } }),
            "bounced",
        ),
        ("email.complained", json!({}), "complained"),
    ] {
        let resend = Resend::start().await;
        let server = server(&resend, &[]).await;
        mail(&server, "ann", "journey").await;
        let id = ann(&server).await;
        let body = event(kind, &id, "2026-03-02T09:00:05Z", more);
        assert_eq!(
            tell(&server, "/v1/webhooks/resend", "msg_1", &body)
                .await
                .status,
            200
        );
        assert_eq!(server.text("SELECT status FROM email_sends").await, reason);
        assert_eq!(server.text("SELECT reason FROM suppressions").await, reason);
        assert_eq!(
            server.count("SELECT count(*) FROM email_preferences").await,
            0
        );
        // Another mail, and a transactional one, to the address in another case.
        mail(&server, "ann", "journey").await;
        mail(&server, "ann", "transactional").await;
        assert_eq!(resend.accepted().len(), 1);
        assert_eq!(
            server.count("SELECT count(*) FROM email_sends WHERE status = 'skipped' AND reason = 'suppressed'").await,
            2
        );
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_bounces_are_counted_and_suppress_nobody() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    mail(&server, "ann", "journey").await;
    let id = ann(&server).await;
    for (n, bounce) in ["Transient", "Undetermined", "Transient"]
        .iter()
        .enumerate()
    {
        let more = json!({ "bounce": { "type": bounce, "message": "mailbox full" } });
        let body = event("email.bounced", &id, "2026-03-02T09:00:05Z", more);
        for _ in 0..2 {
            tell(&server, "/v1/webhooks/resend", &format!("msg_{n}"), &body).await;
        }
    }
    assert_eq!(
        server
            .count("SELECT bounce_count::bigint FROM email_preferences")
            .await,
        3
    );
    assert_eq!(server.count("SELECT count(*) FROM suppressions").await, 0);
    server.advance(Duration::from_secs(1)).await;
    mail(&server, "ann", "journey").await;
    assert_eq!(resend.accepted().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_settles_a_mail_whose_answer_was_lost() {
    for late in [false, true] {
        let resend = Resend::start().await;
        resend.next(Mood::AcceptAndGarble);
        let server = server(&resend, &[]).await;
        mail(&server, "ann", "journey").await;
        if late {
            server.advance(Duration::from_secs(25 * 3_600)).await;
            assert_eq!(
                server.text("SELECT status FROM email_sends").await,
                "ambiguous"
            );
        }
        let send = server.text("SELECT id::text FROM email_sends").await;
        let (id, _) = resend.accepted().remove(0);
        // Resend gives tags back as an object.
        let body = event(
            "email.delivered",
            &id,
            "2026-03-02T09:00:05Z",
            json!({ "tags": { "send_id": send } }),
        );
        assert_eq!(
            tell(&server, "/v1/webhooks/resend", "msg_1", &body)
                .await
                .status,
            200
        );
        server.advance(Duration::from_secs(26 * 3_600)).await;
        assert_eq!(
            server
                .text("SELECT status || ' ' || message_id || ' ' || in_doubt FROM email_sends")
                .await,
            format!("delivered {id} false")
        );
        assert_eq!(resend.seen().len(), 1, "nothing was left to ask");
        let node = server
            .text("SELECT current_node_id FROM journey_states")
            .await;
        assert_eq!(node, if late { "failed" } else { "was-sent" });
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_unknown_webhooks_are_refused_and_change_nothing() {
    let resend = Resend::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let server = server(&resend, &[("RESEND_WEBHOOK_SECRET", secret)]).await;
    mail(&server, "ann", "journey").await;
    let id = ann(&server).await;
    let body = event("email.complained", &id, "2026-03-02T09:00:05Z", json!({}));
    for path in ["/v1/webhooks/resend", "/v1/webhooks/email/resend"] {
        let answer = tell(&server, path, "msg_1", &body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            answer.json(),
            json!({ "error": "Webhook verification failed" })
        );
    }
    for path in ["/v1/webhooks/email/pigeon", "/v1/webhooks/pigeon"] {
        assert_eq!(
            tell(&server, path, "msg_1", &body).await.status,
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(server.count("SELECT count(*) FROM suppressions").await, 0);
    assert_eq!(server.text("SELECT status FROM email_sends").await, "sent");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_waits_for_what_becomes_of_its_mail() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    let body =
        json!({ "event": "t.await-delivery", "userId": "ann", "userEmail": "ann@example.com" });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
    let id = ann(&server).await;
    let body = event("email.delivered", &id, "2026-03-02T09:00:05Z", json!({}));
    tell(&server, "/v1/webhooks/resend", "msg_1", &body).await;
    server.drain().await;
    assert_eq!(
        server
            .text("SELECT current_node_id || ' ' || status FROM journey_states")
            .await,
        "delivered completed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_note_takes_no_delivery_back_in_either_order() {
    let soft = json!({ "bounce": { "type": "Transient", "subType": "General", "message": "I am on holiday" } });
    for kinds in [
        ["email.delivered", "email.bounced"],
        ["email.bounced", "email.delivered"],
    ] {
        let resend = Resend::start().await;
        let server = server(&resend, &[]).await;
        mail(&server, "ann", "journey").await;
        let id = ann(&server).await;
        for (n, kind) in kinds.into_iter().enumerate() {
            let more = if kind == "email.bounced" {
                soft.clone()
            } else {
                json!({})
            };
            let body = event(kind, &id, "2026-03-02T09:00:03Z", more);
            let answer = tell(&server, "/v1/webhooks/resend", &format!("m{n}"), &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        }
        assert_eq!(
            server
                .text("SELECT status || coalesce(' ' || bounced_at::text, '') FROM email_sends")
                .await,
            "delivered",
            "{kinds:?}"
        );
        assert_eq!(
            server
                .text("SELECT string_agg(name, ' ' ORDER BY name) FROM user_events WHERE name LIKE 'email.%bounced'")
                .await,
            "email.soft_bounced"
        );
        assert_eq!(
            server
                .count("SELECT bounce_count::bigint FROM email_preferences")
                .await,
            1
        );
        server.stop().await;
    }
}
