//! Batches: one request, one idempotency key, always the same members in the same order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::delivery::server;
use crate::support::Server;
use crate::support::resend::{Mood, Resend, Seen};

/// Ingests an event for each of these people, then lets the worker do what is due.
async fn happen(server: &Server, people: &[&str]) {
    for user in people {
        let name = user.split('-').next().unwrap();
        let body = json!({ "event": "t.mail", "userId": name, "userEmail": format!("{name}@example.com"), "properties": { "word": user } });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    }
}

fn recipients(seen: &Seen) -> Vec<String> {
    let mails = seen.body.as_array().unwrap();
    let to = |mail: &Value| mail["to"][0].as_str().unwrap().to_owned();
    mails.iter().map(to).collect()
}

async fn statuses(server: &Server) -> String {
    server
        .text("SELECT string_agg(split_part(to_email, '@', 1) || ' ' || status || ' ' || attempts, ', ' ORDER BY to_email, id) FROM email_sends")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_due_together_are_sent_in_one_request_and_each_has_its_own_id() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    happen(&server, &["ann", "bob", "cy"]).await;
    server.drain().await;
    let seen = resend.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].path, "/emails/batch");
    assert_eq!(seen[0].headers["x-batch-validation"], "permissive");
    assert_eq!(statuses(&server).await, "ann sent 1, bob sent 1, cy sent 1");
    for (id, mail) in resend.accepted() {
        let to = mail["to"][0].as_str().unwrap();
        let mut conn = server.app.db.conn().await.unwrap();
        let known: String =
            sqlx::query_scalar("SELECT message_id FROM email_sends WHERE to_email = $1")
                .bind(to)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        assert_eq!(known, id, "{to}");
    }
    assert_eq!(
        server
            .count("SELECT count(*) FROM journey_states WHERE status = 'completed' AND current_node_id = 'was-sent'")
            .await,
        3
    );
    assert_eq!(
        server
            .count("SELECT count(*) FROM user_events WHERE name = 'email.sent'")
            .await,
        3
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_mail_among_good_ones_fails_by_itself() {
    let resend = Resend::start().await;
    let server = server(&resend, &[]).await;
    happen(&server, &["ann", "bad", "cy"]).await;
    server.drain().await;
    assert_eq!(
        statuses(&server).await,
        "ann sent 1, bad bounced 1, cy sent 1"
    );
    assert_eq!(resend.seen().len(), 1);
    let reason = server
        .text("SELECT reason FROM email_sends WHERE status = 'bounced'")
        .await;
    assert!(reason.contains("Invalid `to` field"), "{reason}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_refused_as_a_whole_is_sent_mail_by_mail() {
    let resend = Resend::start().await;
    resend.next(Mood::Refuse(422, "validation_error"));
    let server = server(&resend, &[]).await;
    happen(&server, &["ann", "bob", "cy"]).await;
    server.drain().await;
    // Three more requests at the provider's rate.
    for _ in 0..3 {
        server.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(statuses(&server).await, "ann sent 1, bob sent 1, cy sent 1");
    let paths: Vec<_> = resend.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/emails/batch", "/emails", "/emails", "/emails"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_the_batch_is_retried_with_the_same_mails_order_and_key() {
    let resend = Resend::start().await;
    resend.next(Mood::AcceptAndGarble);
    let server = server(&resend, &[]).await;
    happen(&server, &["ann", "bob", "cy"]).await;
    server.drain().await;
    assert_eq!(
        statuses(&server).await,
        "ann queued 1, bob queued 1, cy queued 1"
    );
    // One recipient unsubscribes and more mails become due; the batch stays unchanged.
    server.run_sql("INSERT INTO email_preferences (contact_id, unsubscribed_all, updated_at) SELECT id, true, now() FROM contacts WHERE external_id = 'bob'").await;
    happen(&server, &["dan", "eve"]).await;
    server.advance(Duration::from_secs(60)).await;
    let seen = resend.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    let again = seen.iter().filter(|one| one.key == seen[0].key);
    assert!(again.clone().count() == 2 && again.into_iter().all(|one| one.body == seen[0].body));
    assert_eq!(resend.accepted().len(), 5);
    assert_eq!(
        statuses(&server).await,
        "ann sent 2, bob sent 2, cy sent 2, dan sent 1, eve sent 1"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_dissolves_a_batch_and_uses_up_no_attempt() {
    let resend = Resend::start().await;
    resend.next(Mood::RateLimit(30));
    let server = server(&resend, &[]).await;
    happen(&server, &["ann", "bob"]).await;
    server.drain().await;
    assert_eq!(statuses(&server).await, "ann queued 0, bob queued 0");
    happen(&server, &["cy"]).await;
    server.advance(Duration::from_secs(60)).await;
    assert_eq!(statuses(&server).await, "ann sent 1, bob sent 1, cy sent 1");
    let seen = resend.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].key, seen[1].key, "other mails need another key");
    assert_eq!(recipients(&seen[1]).len(), 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_mails_to_one_person_never_share_a_request() {
    let resend = Resend::start().await;
    // At most one mail a day: the decision about one of them depends on the other.
    let server = server(&resend, &[("EMAIL_FREQUENCY_CAP", "1/24h")]).await;
    let twice = json!({ "event": "t.twice", "userId": "ann", "userEmail": "ann@example.com" });
    assert_eq!(server.post("/v1/ingest", &twice).await.status, 202);
    happen(&server, &["ann", "bob"]).await;
    server.drain().await;
    server.advance(Duration::from_secs(1)).await;
    server.advance(Duration::from_secs(1)).await;
    for seen in resend.seen() {
        if seen.body.is_array() {
            let mut to = recipients(&seen);
            to.sort_unstable();
            to.dedup();
            assert_eq!(to.len(), seen.body.as_array().unwrap().len(), "{seen:?}");
        }
    }
    assert_eq!(resend.accepted().len(), 2);
    assert_eq!(
        server
            .text("SELECT string_agg(status || ' ' || coalesce(reason, ''), ', ' ORDER BY status) FROM email_sends WHERE to_email = 'ann@example.com'")
            .await,
        "sent , skipped frequency_cap"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_doubt_that_cannot_be_retried_stays_in_doubt() {
    for erased in [false, true] {
        let resend = Resend::start().await;
        resend.next(Mood::AcceptAndGarble);
        let server = server(&resend, &[]).await;
        happen(&server, &["ann", "bob"]).await;
        server.drain().await;
        let late = Duration::from_secs(if erased {
            // Without her mail the request would differ under the same key.
            server
                .run_sql("DELETE FROM contacts WHERE external_id = 'ann'")
                .await;
            60
        } else {
            25 * 3_600
        });
        server.advance(late).await;
        let expected = if erased {
            "bob ambiguous 1"
        } else {
            "ann ambiguous 1, bob ambiguous 1"
        };
        assert_eq!(statuses(&server).await, expected);
        assert_eq!(resend.seen().len(), 1);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactional_mail_in_doubt_is_retried_alone_where_its_batch_cannot_be() {
    let resend = Resend::start().await;
    resend.next(Mood::AcceptAndGarble);
    let server = server(&resend, &[]).await;
    let body = json!({ "event": "t.mail", "userId": "ann", "userEmail": "ann@example.com", "properties": { "category": "transactional" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    happen(&server, &["bob", "cy"]).await;
    server.drain().await;
    // Without this mail the request would differ under the same key.
    server
        .run_sql("DELETE FROM contacts WHERE external_id = 'cy'")
        .await;
    server.advance(Duration::from_secs(60)).await;
    assert_eq!(statuses(&server).await, "ann sent 2, bob ambiguous 1");
    server.stop().await;
}
