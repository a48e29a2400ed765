//! Lifecycle and transactional mail have providers and senders of their own, and neither waits for what
//! holds up the other.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use crate::delivery;
use crate::support::Server;
use crate::support::admin::KEY;
use crate::support::mailgun::Mailgun;
use crate::support::resend::{Mood, Refusal, Resend};

const ADMIN: (&str, &str) = ("ADMIN_API_KEY", KEY);

const NEWS: (&str, &str) = ("RESEND_FROM_EMAIL", "Acme <news@acme.test>");

/// Resend for lifecycle mail and Mailgun for transactional mail, each followed by the outbox.
async fn apart(resend: &Resend, mailgun: &Mailgun, providers: [&str; 2]) -> Server {
    let mut variables: Vec<(&str, String)> = mailgun.variables();
    variables.retain(|(name, _)| *name != "EMAIL_PROVIDER");
    let [lifecycle, transactional] = providers;
    let mut all: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    all.extend([
        ADMIN,
        NEWS,
        ("EMAIL_PROVIDER", lifecycle),
        ("EMAIL_PROVIDER_TRANSACTIONAL", transactional),
    ]);
    delivery::server(resend, &all).await
}

async fn decide(server: &Server, user: &str, category: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "category": category } });
    let answer = server
        .call(Method::POST, "/v1/ingest", KEY, Some(&body))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn mail(server: &Server, user: &str, category: &str) {
    decide(server, user, category).await;
    // The stand-in for Resend takes one request a second.
    server.advance(Duration::from_secs(1)).await;
}

/// Each mail's recipient, status, provider and sender.
async fn ledger(server: &Server) -> String {
    server
        .text("SELECT string_agg(split_part(to_email, '@', 1) || ' ' || status || ' ' || coalesce(provider, '-') || ' ' || split_part(split_part(from_email, '<', 2), '@', 1), ', ' ORDER BY to_email) FROM email_sends")
        .await
}

/// As Resend answers a key that was revoked.
const REVOKED: Refusal = Refusal {
    status: 400,
    name: "validation_error",
    message: "API key is invalid",
    from: "",
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_purpose_has_its_provider_and_its_sender() {
    let (resend, mailgun) = (Resend::start().await, Mailgun::start().await);
    let server = apart(&resend, &mailgun, ["resend", "mailgun,resend"]).await;
    mail(&server, "ann", "journey").await;
    mail(&server, "tia", "transactional").await;
    assert_eq!(
        ledger(&server).await,
        "ann sent resend news, tia sent mailgun hello"
    );
    let answer = server
        .call(Method::GET, "/v1/admin/providers", KEY, None)
        .await
        .json();
    assert_eq!(
        answer["routes"],
        json!([
            { "purpose": "lifecycle", "providers": ["resend"], "sender": "Acme <news@acme.test>" },
            { "purpose": "transactional", "providers": ["mailgun", "resend"], "sender": "Acme <hello@acme.test>" },
        ])
    );
    let health = server.call(Method::GET, "/v1/health", KEY, None).await;
    assert_eq!(
        health.json()["providers"],
        json!([
            { "id": "resend", "purposes": ["lifecycle", "transactional"], "state": "up" },
            { "id": "mailgun", "purposes": ["transactional"], "state": "up" },
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_moves_on_only_to_providers_of_its_purpose() {
    let (resend, mailgun) = (Resend::start().await, Mailgun::start().await);
    let server = apart(&resend, &mailgun, ["resend,outbox", "mailgun"]).await;
    resend.refuse(Some(REVOKED));
    mailgun.refuse(Some((401, "Forbidden")));
    for (user, category) in [
        ("ann", "journey"),
        ("bob", "journey"),
        ("tia", "transactional"),
        ("tom", "transactional"),
    ] {
        mail(&server, user, category).await;
    }
    server.advance(Duration::from_secs(5)).await;
    let of_resend = resend.seen().len();
    assert_eq!(
        ledger(&server).await,
        "ann sent outbox news, bob sent outbox news, tia queued mailgun hello, tom queued - hello"
    );
    mailgun.refuse(None);
    for _ in 0..3 {
        server.advance(Duration::from_secs(30)).await;
    }
    assert_eq!(mailgun.taken().len(), 2);
    assert!(
        ledger(&server)
            .await
            .ends_with("tia sent mailgun hello, tom sent mailgun hello")
    );
    assert_eq!(resend.seen().len(), of_resend, "none of them tried Resend");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_probed_by_mail_that_it_takes() {
    let (resend, mailgun) = (Resend::start().await, Mailgun::start().await);
    let server = apart(&resend, &mailgun, ["resend", "mailgun"]).await;
    resend.refuse(Some(REVOKED));
    mailgun.refuse(Some((401, "Forbidden")));
    for user in ["tia", "tim", "tom"] {
        mail(&server, user, "transactional").await;
    }
    mail(&server, "ann", "journey").await;
    mail(&server, "bob", "journey").await;
    server.advance(Duration::from_secs(5)).await;
    // More transactional mails than probes are waiting, and are picked first.
    resend.refuse(None);
    for _ in 0..3 {
        server.advance(Duration::from_secs(30)).await;
    }
    assert!(mailgun.taken().is_empty());
    assert_eq!(resend.accepted().len(), 2, "{}", ledger(&server).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_sender_of_one_purpose_leaves_the_other_alone() {
    let resend = Resend::start().await;
    let from = ("EMAIL_FROM_TRANSACTIONAL", "Acme <accounts@acme.test>");
    let server = delivery::server(&resend, &[ADMIN, NEWS, from]).await;
    resend.refuse(Some(Refusal {
        status: 403,
        name: "validation_error",
        message: "The acme.test domain is not verified",
        from: "accounts@acme.test",
    }));
    // Both are due at once: one request for each sender.
    decide(&server, "tia", "transactional").await;
    decide(&server, "ann", "journey").await;
    decide(&server, "bob", "journey").await;
    for _ in 0..5 {
        server.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        ledger(&server).await,
        "ann sent resend news, bob sent resend news, tia queued resend accounts"
    );
    let listed = server
        .call(Method::GET, "/v1/admin/providers", KEY, None)
        .await
        .json();
    let holds = &listed["providers"][0]["holds"];
    assert_eq!(holds.as_array().unwrap().len(), 1);
    assert_eq!(holds[0]["sender"], "accounts@acme.test");
    resend.refuse(None);
    for _ in 0..3 {
        server.advance(Duration::from_secs(30)).await;
    }
    assert!(ledger(&server).await.ends_with("tia sent resend accounts"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_in_doubt_stays_with_its_provider_whatever_the_settings_say_now() {
    let resend = Resend::start().await;
    let server = delivery::server(&resend, &[ADMIN]).await;
    resend.next(Mood::AcceptAndGarble);
    mail(&server, "ann", "journey").await;
    assert_eq!(
        server
            .count("SELECT count(*) FROM email_sends WHERE in_doubt")
            .await,
        1
    );
    let url = resend.url();
    let changed = server
        .replica(&[
            ADMIN,
            ("EMAIL_PROVIDER", "outbox"),
            ("EMAIL_PROVIDER_TRANSACTIONAL", "resend"),
            ("RESEND_API_KEY", Resend::KEY),
            ("RESEND_BASE_URL", url.as_str()),
            ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
        ])
        .await;
    changed.clock.advance(Duration::from_secs(2));
    mail(&changed, "bob", "journey").await;
    for _ in 0..4 {
        changed.advance(Duration::from_secs(30)).await;
    }
    assert_eq!(
        ledger(&changed).await,
        "ann sent resend hello, bob sent outbox hello"
    );
    let keys: Vec<_> = resend.seen().into_iter().map(|seen| seen.key).collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
    assert_eq!(resend.accepted().len(), 1, "the repeat is the same mail");
    changed.app.db.close().await;
    server.stop().await;
}
