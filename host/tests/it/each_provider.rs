//! A mail through each delivery plugin, to a stand-in that answers as the provider documents, and what
//! the webhooks of the newer ones do.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::mailgun::Mailgun;
use crate::support::resend::Resend;
use crate::support::ses::{Ses, post_message};
use crate::support::smtp::Smtp;
use crate::support::{Answer, Server, Store};

type Variables = Vec<(&'static str, String)>;

async fn server(variables: &[(&'static str, String)]) -> Server {
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    Server::with(Store::native().await, &variables).await
}

async fn mail(server: &Server) {
    let body = json!({ "event": "t.mail", "userId": "ann", "userEmail": "ann@example.com", "properties": { "word": "wörld" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

async fn ledger(server: &Server) -> String {
    server
        .text("SELECT status || ' ' || coalesce(provider, '') FROM email_sends")
        .await
}

async fn message_id(server: &Server) -> String {
    server.text("SELECT message_id FROM email_sends").await
}

/// A mail goes out by these settings. Returns the id the provider gave it.
async fn goes_out(provider: &str, variables: &[(&'static str, String)]) -> String {
    let server = server(variables).await;
    mail(&server).await;
    assert_eq!(ledger(&server).await, format!("sent {provider}"));
    let id = message_id(&server).await;
    assert!(!id.is_empty(), "{provider}");
    server.stop().await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_through_ses() {
    let ses = Ses::start().await;
    let id = goes_out("ses", &ses.variables()).await;
    let [taken] = ses.taken().try_into().unwrap();
    assert_eq!(taken.id, id);
    assert_eq!(
        (
            taken.to.as_str(),
            taken.from.as_str(),
            taken.subject.as_str()
        ),
        ("ann@example.com", "hello@acme.test", "Plain wörld")
    );
    let tags = taken.tags.as_array().unwrap();
    assert_eq!(tags[0]["Name"], "send_id");
    assert!(tags.contains(&json!({ "Name": "journey", "Value": "t-mail" })));
    assert_eq!(ses.asked_for_rate(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_through_mailgun() {
    let mailgun = Mailgun::start().await;
    let id = goes_out("mailgun", &mailgun.variables()).await;
    let [taken] = mailgun.taken().try_into().unwrap();
    assert_eq!(taken["h:Message-Id"], format!("<{id}>"));
    assert_eq!(taken["to"], "ann@example.com");
    assert_eq!(taken["from"], "Acme <hello@acme.test>");
    assert_eq!(taken["subject"], "Plain wörld");
    assert!(taken["html"].contains("Hello wörld") && taken["text"].contains("Hello wörld"));
    assert_eq!(
        taken["h:List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert_eq!(taken["o:tracking"], "no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_through_resend_smtp_and_the_outbox() {
    let resend = Resend::start().await;
    let variables: Variables = vec![
        ("EMAIL_PROVIDER", "resend".into()),
        ("RESEND_API_KEY", Resend::KEY.into()),
        ("RESEND_BASE_URL", resend.url()),
    ];
    let id = goes_out("resend", &variables).await;
    assert_eq!(resend.accepted()[0].0, id);
    let smtp = Smtp::start().await;
    let variables: Variables = vec![
        ("EMAIL_PROVIDER", "smtp".into()),
        ("SMTP_HOST", "127.0.0.1".into()),
        ("SMTP_PORT", smtp.port()),
        ("SMTP_TLS", "none".into()),
    ];
    goes_out("smtp", &variables).await;
    assert_eq!(smtp.taken().len(), 1);
    goes_out("outbox", &[("EMAIL_PROVIDER", "outbox".into())]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_accounts_fault_keeps_the_mail_until_it_is_cured() {
    let ses = Ses::start().await;
    let running = server(&ses.variables()).await;
    ses.refuse(Some((
        400,
        "MessageRejected",
        "Email address is not verified. The following identities failed the check in region EU-WEST-1: ann@example.com",
    )));
    mail(&running).await;
    assert!(ledger(&running).await.starts_with("queued"));
    let reason = running.text("SELECT reason FROM email_sends").await;
    assert!(reason.contains("sandbox"), "{reason}");
    ses.refuse(None);
    for _ in 0..40 {
        running.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(ledger(&running).await, "sent ses");
    running.stop().await;

    let mailgun = Mailgun::start().await;
    let running = server(&mailgun.variables()).await;
    mailgun.refuse(Some((401, "Forbidden")));
    mail(&running).await;
    assert!(ledger(&running).await.starts_with("queued"));
    let reason = running.text("SELECT reason FROM email_sends").await;
    assert!(reason.contains("MAILGUN_REGION"), "{reason}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_a_provider_without_idempotency_leaves_the_mail_in_doubt() {
    let ses = Ses::start().await;
    let running = server(&ses.variables()).await;
    ses.refuse(Some((500, "InternalServiceErrorException", "try again")));
    mail(&running).await;
    for _ in 0..10 {
        running.advance(Duration::from_secs(60)).await;
    }
    assert!(ledger(&running).await.starts_with("ambiguous"));
    running.stop().await;
}

fn ses_event(name: &str, field: &str, id: &str, details: Value) -> Value {
    json!({
        "eventType": name,
        "mail": {
            "timestamp": "2026-03-02T09:00:00.000Z", "messageId": id,
            "destination": ["ann@example.com"], "tags": {},
        },
        field: details,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_confirmed_and_its_events_reach_the_mail() {
    let ses = Ses::start().await;
    let server = server(&ses.variables()).await;
    let other = "arn:aws:sns:eu-west-1:999999999999:strangers";
    let refused = ses.ask_to_confirm(&server, other, "theirs").await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    let confirmed = ses.ask_to_confirm(&server, Ses::TOPIC, "ours").await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    assert_eq!(ses.confirmed(), ["ours"]);

    mail(&server).await;
    let id = message_id(&server).await;
    let delivered =
        json!({ "timestamp": "2026-03-02T09:00:03.000Z", "recipients": ["ann@example.com"] });
    let delivery = ses_event("Delivery", "delivery", &id, delivered);
    let mut forged = ses.message("Notification", &delivery.to_string(), json!({}));
    forged["Timestamp"] = json!("2026-03-02T09:00:06.000Z");
    assert_eq!(post_message(&server, &forged).await.status, 401);
    assert_eq!(ledger(&server).await, "sent ses");
    let told = ses.tell(&server, &delivery).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(ledger(&server).await, "delivered ses");

    let complaint = ses_event(
        "Complaint",
        "complaint",
        &id,
        json!({
            "timestamp": "2026-03-02T09:00:09.000Z", "feedbackId": "f-1",
            "complainedRecipients": [{ "emailAddress": "ann@example.com" }],
        }),
    );
    assert_eq!(ses.tell(&server, &complaint).await.status, 200);
    assert_eq!(ledger(&server).await, "complained ses");
    assert_eq!(
        server.text("SELECT reason FROM suppressions").await,
        "complained"
    );
    server.stop().await;
}

async fn post_mailgun(server: &Server, webhook: &Value) -> Answer {
    let request = Request::post("/v1/webhooks/mailgun")
        .header("content-type", "application/json")
        .body(Body::from(webhook.to_string()));
    server.request(request.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_of_mailgun_reaches_the_mail_and_its_signature_no_other_content() {
    let mailgun = Mailgun::start().await;
    let server = server(&mailgun.variables()).await;
    mail(&server).await;
    let id = message_id(&server).await;
    let now = server.now().timestamp();
    let data = json!({
        "event": "failed", "severity": "permanent", "reason": "bounce", "id": "a",
        "timestamp": now as f64 + 3.25, "recipient": "ann@example.com",
        "message": { "headers": { "message-id": id } },
        "delivery-status": { "code": 550, "message": "5.1.1 no such user" },
    });
    let webhook = Mailgun::webhook(&data, now);
    let told = post_mailgun(&server, &webhook).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(ledger(&server).await, "bounced mailgun");
    assert_eq!(
        server.text("SELECT reason FROM suppressions").await,
        "bounced"
    );
    // Mailgun repeats what was not answered; others do not know the key.
    assert_eq!(post_mailgun(&server, &webhook).await.status, 200);
    let mut forged = webhook;
    forged["event-data"]["event"] = json!("complained");
    assert_eq!(post_mailgun(&server, &forged).await.status, 401);
    server.stop().await;
}
