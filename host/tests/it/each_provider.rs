//! A mail through each delivery plugin, to a stand-in that answers as the provider documents, and what
//! the webhooks of the newer ones do.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::brevo::{self, Brevo};
use crate::support::mailgun::Mailgun;
use crate::support::resend::Resend;
use crate::support::sendgrid::{self, SendGrid};
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
    mail_to(server, "ann").await;
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

/// A mail to a person of this name.
async fn mail_to(server: &Server, user: &str) {
    let body = json!({ "event": "t.mail", "userId": user, "userEmail": format!("{user}@example.com"), "properties": { "word": "wörld" } });
    assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
    server.drain().await;
}

/// The status of each mail and the number of its attempts, by recipient.
async fn attempts(server: &Server) -> String {
    server
        .text(
            "SELECT string_agg(status || ' ' || attempts, ', ' ORDER BY to_email) FROM email_sends",
        )
        .await
}

/// A mail that the provider refuses for its recipient ends, and one that it refuses because no credits are left
/// waits. `refuse` makes the provider refuse the next mail for its credits.
async fn a_bad_address_ends_and_used_up_credits_wait(server: &Server, refuse: impl FnOnce()) {
    mail_to(server, "bad").await;
    assert_eq!(attempts(server).await, "bounced 1");
    assert_eq!(server.count("SELECT count(*) FROM suppressions").await, 0);
    refuse();
    mail_to(server, "cy").await;
    assert_eq!(attempts(server).await, "bounced 1, queued 0");
    server.advance(Duration::from_secs(3_700)).await;
    assert_eq!(attempts(server).await, "bounced 1, sent 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_through_brevo_and_events_about_it_come_back() {
    let brevo = Brevo::start().await;
    let server = server(&brevo.variables()).await;
    mail(&server).await;
    let (id, sent) = brevo.accepted().remove(0);
    assert_eq!(
        sent["sender"],
        json!({ "email": "hello@acme.test", "name": "Acme" })
    );
    assert_eq!(sent["subject"], "Plain wörld");
    assert_eq!(
        sent["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    let send = server.text("SELECT id::text FROM email_sends").await;
    assert_eq!(sent["headers"]["X-Mailin-custom"], json!(send));
    assert_eq!(attempts(&server).await, "sent 1");
    assert_eq!(message_id(&server).await, id);

    let event = |name: &str, at: i64| {
        json!({
            "event": name, "email": "ann@example.com", "id": 7, "message-id": id, "ts_epoch": at,
            "X-Mailin-custom": send, "reason": "550 no such user",
        })
    };
    let delivered = event("delivered", 1_772_442_003_000);
    assert_eq!(brevo::tell(&server, &delivered, false).await.status, 401);
    assert_eq!(attempts(&server).await, "sent 1");
    for body in [delivered.clone(), json!([delivered])] {
        let answer = brevo::tell(&server, &body, true).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(attempts(&server).await, "delivered 1");
    let told = "SELECT count(*) FROM user_events WHERE name = 'email.delivered'";
    assert_eq!(server.count(told).await, 1);
    let complaint = event("spam", 1_772_442_004_000);
    assert_eq!(brevo::tell(&server, &complaint, true).await.status, 200);
    assert_eq!(
        server.text("SELECT reason FROM suppressions").await,
        "complained"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_brevo_recognises_the_repeat_and_nobody_gets_two() {
    let brevo = Brevo::start().await;
    let server = server(&brevo.variables()).await;
    brevo.next(500, "internal_error", true);
    mail_to(&server, "ann").await;
    assert_eq!(attempts(&server).await, "queued 1");
    for _ in 0..3 {
        server.advance(Duration::from_secs(60)).await;
    }
    assert_eq!(attempts(&server).await, "sent 2");
    assert_eq!((brevo.seen(), brevo.accepted().len()), (2, 1));
    // Later than Brevo surely remembers the key, the mail is not sent again.
    brevo.next(500, "internal_error", true);
    mail_to(&server, "bob").await;
    server.advance(Duration::from_secs(901)).await;
    assert_eq!(attempts(&server).await, "sent 2, ambiguous 1");
    assert_eq!((brevo.seen(), brevo.accepted().len()), (3, 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_goes_out_through_sendgrid_and_signed_events_about_it_come_back() {
    let sendgrid = SendGrid::start().await;
    let server = server(&sendgrid.variables()).await;
    mail(&server).await;
    let (id, sent) = sendgrid.accepted().remove(0);
    assert_eq!(
        sent["from"],
        json!({ "email": "hello@acme.test", "name": "Acme" })
    );
    assert_eq!(sent["subject"], "Plain wörld");
    assert_eq!(
        sent["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert_eq!(sent["tracking_settings"]["click_tracking"]["enable"], false);
    let send = server.text("SELECT id::text FROM email_sends").await;
    assert_eq!(
        sent["personalizations"][0]["custom_args"]["hs_id"],
        json!(send)
    );
    assert_eq!(attempts(&server).await, "sent 1");
    assert_eq!(message_id(&server).await, id);

    let event = |name: &str, key: &str| {
        json!({
            "email": "ann@example.com", "event": name, "timestamp": 1_772_442_003, "hs_id": send,
            "sg_event_id": key, "sg_message_id": format!("{id}.recvd-5f-1-1.0"),
        })
    };
    let events = json!([event("processed", "e1"), event("delivered", "e2")]);
    assert_eq!(sendgrid::tell(&server, &events, false).await.status, 401);
    assert_eq!(attempts(&server).await, "sent 1");
    for _ in 0..2 {
        let answer = sendgrid::tell(&server, &events, true).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(attempts(&server).await, "delivered 1");

    // An asynchronous bounce has the address alone.
    let bounce = json!([{
        "email": "Ann@example.com", "event": "bounce", "type": "bounce", "reason": "550 no such user",
        "timestamp": 1_772_442_004, "sg_event_id": "e3",
    }]);
    assert_eq!(sendgrid::tell(&server, &bounce, true).await.status, 200);
    assert_eq!(
        server.text("SELECT reason FROM suppressions").await,
        "bounced"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_address_ends_its_mail_and_used_up_credits_delay_it() {
    let brevo = Brevo::start().await;
    let running = server(&brevo.variables()).await;
    a_bad_address_ends_and_used_up_credits_wait(&running, || {
        brevo.next(402, "not_enough_credits", false);
    })
    .await;
    running.stop().await;

    let sendgrid = SendGrid::start().await;
    let running = server(&sendgrid.variables()).await;
    a_bad_address_ends_and_used_up_credits_wait(&running, || {
        sendgrid.next(401, "Maximum credits exceeded", false);
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_settles_the_doubt_that_a_fault_of_sendgrid_left() {
    let sendgrid = SendGrid::start().await;
    let server = server(&sendgrid.variables()).await;
    sendgrid.next(500, "An error occurred", true);
    mail_to(&server, "dan").await;
    for _ in 0..5 {
        server.advance(Duration::from_secs(600)).await;
    }
    assert_eq!(attempts(&server).await, "ambiguous 1");
    assert_eq!(sendgrid.accepted().len(), 1);
    let send = server.text("SELECT id::text FROM email_sends").await;
    let events = json!([{
        "email": "dan@example.com", "event": "delivered", "timestamp": 1_772_442_003, "hs_id": send,
        "sg_event_id": "e9", "sg_message_id": "14c5.recvd-1.0",
    }]);
    assert_eq!(sendgrid::tell(&server, &events, true).await.status, 200);
    assert_eq!(attempts(&server).await, "delivered 1");
    server.stop().await;
}
