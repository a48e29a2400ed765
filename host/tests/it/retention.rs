//! What is deleted by age, and what is not.

use std::time::Duration;

use hogsend::worker;
use serde_json::json;

use crate::support::{Server, Store};

const DAY: u64 = 86_400;

async fn mailed(more: &[(&str, &str)]) -> Server {
    let server = Server::with(Store::native().await, more).await;
    let body = json!({ "event": "t.mail", "userId": "u", "userEmail": "u@example.com", "properties": { "word": "w" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
    assert_eq!(server.text("SELECT status FROM email_sends").await, "sent");
    server
}

impl Server {
    async fn days_later(&self, days: u64) {
        self.clock.advance(Duration::from_secs(days * DAY));
        worker::tidy(&self.app).await.unwrap();
    }
}

const WITH_CONTENT: &str =
    "SELECT count(*) FROM email_sends WHERE mail IS NOT NULL OR prepared IS NOT NULL";
/// A mail that waits, as the one there is but for that.
const ONE_IS_OPEN: &str =
    "INSERT INTO email_sends (id, contact_id, template_key, category, from_email, to_email,
         subject, mail, prepared, idempotency_key, status, next_attempt_at, created_at, updated_at)
     SELECT gen_random_uuid(), contact_id, template_key, category, from_email, to_email,
         subject, mail, 'x', 'open', 'queued', created_at + interval '9 years', created_at,
         updated_at FROM email_sends";
const LOGS: &str = "SELECT count(*) FROM journey_logs";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_go_after_a_month_and_logs_after_a_year_but_mails_and_runs_stay() {
    let server = mailed(&[]).await;
    // What is not over keeps all it needs, however old it is.
    server.run_sql(ONE_IS_OPEN).await;
    let logs = server.count(LOGS).await;
    assert!(logs > 0);
    server.days_later(29).await;
    assert_eq!(server.count(WITH_CONTENT).await, 2);
    server.days_later(2).await;
    assert_eq!(server.count(WITH_CONTENT).await, 1);
    let open = "SELECT count(*) FROM email_sends WHERE status = 'queued' AND prepared IS NOT NULL";
    assert_eq!(server.count(open).await, 1);
    assert_eq!(server.count(LOGS).await, logs);

    server.days_later(330).await;
    assert_eq!(server.count(LOGS).await, logs);
    // Ids never go back, so those of a process whose clock was once ahead are ahead as well.
    let id = server
        .text("SELECT max(id::text) FROM journey_states")
        .await;
    let made = uuid::Uuid::parse_str(&id).unwrap().get_timestamp().unwrap();
    let born = "SELECT extract(epoch FROM min(created_at))::bigint FROM journey_states";
    let born = server.count(born).await.unsigned_abs();
    let ahead = made.to_unix().0.saturating_sub(born).div_ceil(DAY);
    server.days_later(10 + ahead).await;
    assert_eq!(server.count(LOGS).await, 0);
    assert_eq!(server.count("SELECT count(*) FROM journey_states").await, 1);
    assert_eq!(server.count("SELECT count(*) FROM email_sends").await, 2);
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 't.mail'")
            .await,
        1
    );
    assert_eq!(server.count("SELECT count(*) FROM event_keys").await, server.count("SELECT count(*) FROM event_keys k WHERE EXISTS (SELECT 1 FROM user_events e WHERE e.id = k.event_id)").await);
    server
        .run_sql("DELETE FROM email_sends WHERE idempotency_key = 'open'")
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_a_providers_request_goes_as_soon_as_its_mail_is_over() {
    let server = mailed(&[]).await;
    server.run_sql(ONE_IS_OPEN).await;
    let requests = "SELECT string_agg(status, ' ') FROM email_sends WHERE prepared IS NOT NULL";
    worker::tidy(&server.app).await.unwrap();
    // The development page shows it.
    assert_eq!(server.text(requests).await.split(' ').count(), 2);
    let production = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://localhost/unused"),
        ("RESEND_API_KEY", "re_test"),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
    ];
    let replica = server.replica(&production).await;
    worker::tidy(&replica.app).await.unwrap();
    assert_eq!(server.text(requests).await, "queued");
    assert_eq!(server.count(WITH_CONTENT).await, 2);
    server
        .run_sql("DELETE FROM email_sends WHERE idempotency_key = 'open'")
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_keeps_for_ever() {
    let server = mailed(&[("RETENTION_BODIES_DAYS", "0"), ("RETENTION_LOGS_DAYS", "0")]).await;
    let logs = server.count(LOGS).await;
    server.days_later(3_000).await;
    assert_eq!(server.count(WITH_CONTENT).await, 1);
    assert_eq!(server.count(LOGS).await, logs);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_their_keys_and_the_audit_log_go_when_a_setting_says_so() {
    let settings = [
        ("RETENTION_EVENTS_DAYS", "20"),
        ("RETENTION_KEYS_DAYS", "10"),
        ("RETENTION_AUDIT_DAYS", "30"),
    ];
    let server = mailed(&settings).await;
    // Ids of this test alone: others in the process may be ahead of this clock.
    for sql in [
        "UPDATE user_events SET id = '019ca000-0000-7000-8000-000000000001' WHERE name = 't.mail'",
        "DELETE FROM event_keys",
        "INSERT INTO event_keys (source, key, event_id, received_at)
         SELECT 'api', 'k', id, received_at FROM user_events WHERE name = 't.mail'",
        "INSERT INTO audit_logs (id, actor_type, actor_name, action, resource_type, resource_id,
             created_at)
         SELECT id, 'command', 'c', 'a', 't', 'r', received_at FROM user_events
         WHERE name = 't.mail'",
    ] {
        server.run_sql(sql).await;
    }
    let left = async || {
        let mut left = Vec::new();
        for (what, count) in [
            ("key", "SELECT count(*) FROM event_keys"),
            (
                "event",
                "SELECT count(*) FROM user_events WHERE name = 't.mail'",
            ),
            ("audit", "SELECT count(*) FROM audit_logs"),
        ] {
            if server.count(count).await > 0 {
                left.push(what);
            }
        }
        left
    };
    for (days, expected) in [
        (9, vec!["key", "event", "audit"]),
        (2, vec!["event", "audit"]),
        (10, vec!["audit"]),
        (10, vec![]),
    ] {
        server.days_later(days).await;
        assert_eq!(left().await, expected);
    }
    server.stop().await;
}
