//! One decision to send is one mail, whatever the provider answers.

use std::time::Duration;

use serde_json::json;

use crate::support::resend::{Mood, Resend};
use crate::support::{Server, Store};

pub async fn server(resend: &Resend, more: &[(&str, &str)]) -> Server {
    let url = resend.url();
    let mut variables = vec![
        ("EMAIL_PROVIDER", "resend"),
        ("RESEND_API_KEY", Resend::KEY),
        ("RESEND_BASE_URL", url.as_str()),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
        // A short timeout, for tests whose provider never answers.
        ("EMAIL_ATTEMPT_SECONDS", "1"),
        ("WORKER_LEASE_SECONDS", "20"),
    ];
    variables.extend_from_slice(more);
    Server::with(Store::native().await, &variables).await
}

async fn mail(server: &Server, user: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "word": "wörld" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

async fn ledger(server: &Server) -> String {
    server
        .text("SELECT status || ' ' || attempts FROM email_sends")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_is_what_resend_documents() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    let seen = resend.seen();
    assert_eq!(seen.len(), 1);
    let body = &seen[0].body;
    assert_eq!(body["from"], "Acme <hello@acme.test>");
    assert_eq!(body["to"], json!(["ann@example.com"]));
    assert_eq!(body["subject"], "Plain wörld");
    assert!(body["html"].as_str().unwrap().contains("Hello wörld"));
    assert!(body["text"].as_str().unwrap().contains("Hello wörld"));
    assert_eq!(
        body["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert!(
        body["tags"]
            .as_array()
            .unwrap()
            .contains(&json!({ "name": "journey", "value": "t-mail" }))
    );
    assert!(!seen[0].key.as_deref().unwrap().is_empty());
    assert_eq!(seen[0].headers["content-type"], "application/json");
    assert_eq!(ledger(&server).await, "sent 1");
    assert_eq!(
        server.text("SELECT message_id FROM email_sends").await,
        resend.accepted()[0].0
    );
    assert_eq!(
        server
            .text("SELECT current_node_id FROM journey_states")
            .await,
        "was-sent"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_fault_is_retried_with_the_same_bytes_and_key() {
    let resend = Resend::start().await;
    resend.next(Mood::Refuse(500, "internal_server_error"));
    resend.next(Mood::Refuse(409, "concurrent_idempotent_requests"));
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    assert_eq!(ledger(&server).await, "queued 1");
    for _ in 0..3 {
        server.advance(Duration::from_secs(60)).await;
    }
    assert_eq!(ledger(&server).await, "sent 3");
    let seen = resend.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|one| one.key == seen[0].key && one.body == seen[0].body)
    );
    assert_eq!(resend.accepted().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_the_provider_rejects_fails_at_once_with_its_message() {
    let resend = Resend::start().await;
    resend.next(Mood::Refuse(422, "validation_error"));
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    server.advance(Duration::from_secs(86_400)).await;
    assert_eq!(resend.seen().len(), 1);
    assert_eq!(ledger(&server).await, "failed 1");
    assert!(
        server
            .text("SELECT reason FROM email_sends")
            .await
            .contains("as the test asked")
    );
    assert_eq!(
        server
            .text("SELECT current_node_id FROM journey_states")
            .await,
        "failed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_out_by_every_mail_and_uses_up_no_attempt() {
    let resend = Resend::start().await;
    resend.next(Mood::RateLimit(30));
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    mail(&server, "bob").await;
    server.advance(Duration::from_secs(20)).await;
    assert_eq!(
        resend.seen().len(),
        1,
        "asked again before the provider allowed it"
    );
    server.advance(Duration::from_secs(20)).await;
    server.advance(Duration::from_secs(20)).await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE status = 'sent' AND attempts = 1")
            .await,
        2
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_quota_or_a_wrong_key_keeps_the_mail_until_an_operator_acts() {
    for (status, name) in [
        (429, "daily_quota_exceeded"),
        (401, "restricted_api_key"),
        (403, "invalid_api_key"),
    ] {
        let resend = Resend::start().await;
        resend.next(Mood::Refuse(status, name));
        let server = server(&resend, &[]).await;
        mail(&server, "ann").await;
        server.advance(Duration::from_secs(20)).await;
        assert_eq!(resend.seen().len(), 1, "{name}");
        assert_eq!(ledger(&server).await, "queued 0", "{name}");
        assert!(
            !server
                .text("SELECT reason FROM email_sends")
                .await
                .contains(Resend::KEY)
        );
        server.advance(Duration::from_secs(15)).await;
        assert_eq!(ledger(&server).await, "sent 1", "{name}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_the_request_is_retried_and_the_mail_is_sent_once() {
    for mood in [Mood::AcceptAndHang, Mood::AcceptAndGarble] {
        let resend = Resend::start().await;
        resend.next(mood.clone());
        let server = server(&resend, &[]).await;
        mail(&server, "ann").await;
        assert_eq!(ledger(&server).await, "queued 1", "{mood:?}");
        assert_eq!(
            server
                .count("SELECT count(*) FROM email_sends WHERE in_doubt")
                .await,
            1
        );
        server.advance(Duration::from_secs(60)).await;
        assert_eq!(ledger(&server).await, "sent 2", "{mood:?}");
        assert_eq!(resend.accepted().len(), 1, "{mood:?}");
        assert_eq!(
            server.text("SELECT message_id FROM email_sends").await,
            resend.accepted()[0].0
        );
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_in_doubt_is_not_retried_after_the_idempotency_key_expired() {
    let resend = Resend::start().await;
    resend.next(Mood::AcceptAndHang);
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    // Longer than Resend remembers a key: a retry could send a second mail.
    server.advance(Duration::from_secs(25 * 3_600)).await;
    assert_eq!(ledger(&server).await, "ambiguous 1");
    assert_eq!(
        resend.seen().len() + resend.accepted().len(),
        1,
        "the hanging request is not counted as seen"
    );
    assert_eq!(
        server
            .text("SELECT current_node_id FROM journey_states")
            .await,
        "failed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_attempt_is_retried_even_after_an_unsubscribe() {
    let resend = Resend::start().await;
    resend.next(Mood::AcceptAndHang);
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    server.run_sql("INSERT INTO email_preferences (contact_id, unsubscribed_all, updated_at) SELECT id, true, now() FROM contacts").await;
    server.advance(Duration::from_secs(60)).await;
    // The provider has it: the retry settles the ledger and sends no second mail.
    assert_eq!(ledger(&server).await, "sent 2");
    assert_eq!(resend.accepted().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_not_yet_attempted_is_skipped_after_an_unsubscribe() {
    let resend = Resend::start().await;
    resend.next(Mood::Refuse(503, "internal_server_error"));
    let server = server(&resend, &[]).await;
    mail(&server, "ann").await;
    server.run_sql("INSERT INTO email_preferences (contact_id, categories, updated_at) SELECT id, '{\"journey\": false}', now() FROM contacts").await;
    server.advance(Duration::from_secs(60)).await;
    assert_eq!(
        server
            .text("SELECT status || ' ' || reason FROM email_sends")
            .await,
        "skipped user_unsubscribed"
    );
    assert_eq!(resend.seen().len(), 1);
    server.stop().await;
}
