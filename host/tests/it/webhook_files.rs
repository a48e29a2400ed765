//! Webhook sources that files describe, presets among them.

use std::fs;
use std::path::Path;
use std::process::Command;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use hmac::{Hmac, Mac as _};
use hogsend::plugins::{Discovered, Origin};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::process::binary;
use crate::support::{Answer, Server, Store};

const SECRET: &str = "whsec_test_secret";

/// Posts an event as Stripe does.
async fn stripe(server: &Server, secret: &str, event: &Value) -> Answer {
    let (time, body) = (server.now().timestamp(), event.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let request = Request::post("/v1/webhooks/stripe")
        .header("stripe-signature", format!("t={time},v1={signature}"))
        .body(Body::from(body));
    server.request(request.unwrap()).await
}

/// An event of the shape in <https://docs.stripe.com/api/events/object>.
fn event(server: &Server, id: &str, kind: &str, object: Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2025-03-31.basil", "livemode": true,
        "created": server.now().timestamp(), "type": kind, "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null }, "data": { "object": object }
    })
}

fn invoice() -> Value {
    json!({
        "id": "in_1MtHbELkdIwHu7ixl4OzzPMv", "object": "invoice", "customer": "cus_NeZwdNtLEOXuvB",
        "customer_email": "jennyrosen@example.com", "amount_due": 2_000, "amount_paid": 0, "currency": "usd",
        "attempt_count": 1, "next_payment_attempt": null, "billing_reason": "subscription_cycle",
        "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_1", "metadata": {},
        "parent": { "type": "subscription_details", "subscription_details": {
            "metadata": {}, "subscription": "sub_1MowQVLkdIwHu7ixeRlqHVzs" } },
        "lines": { "object": "list", "data": [] }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripes_failed_payment_becomes_a_reminder_until_the_invoice_is_paid() {
    let variables = [("STRIPE_WEBHOOK_SECRET", SECRET)];
    let server = Server::with(Store::native().await, &variables).await;
    let failed = event(&server, "evt_1", "invoice.payment_failed", invoice());
    let forged = stripe(&server, "whsec_other", &failed).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    let answer = stripe(&server, SECRET, &failed).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["event"], "payment.failed");
    // Stripe tries again what it got no answer to.
    assert_eq!(
        stripe(&server, SECRET, &failed).await.status,
        StatusCode::OK
    );
    server.drain().await;
    let mails = "SELECT count(*) FROM email_sends WHERE template_key = 'churn-payment-failed' AND status = 'sent'";
    assert_eq!(server.count(mails).await, 1);
    let files: Vec<_> = fs::read_dir(server.app.config.data_dir.join("outbox"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1);
    let mail = mail_parser::MessageParser::default()
        .parse(&fs::read(&files[0]).unwrap())
        .unwrap()
        .into_owned();
    let to = mail.to().unwrap().first().unwrap().address();
    assert_eq!(to, Some("jennyrosen@example.com"));
    assert!(mail.body_html(0).unwrap().contains("20.00 USD"));
    let kinds = "SELECT string_agg(kind || ' ' || value, ',') FROM contact_identities WHERE kind = 'stripe_customer'";
    assert_eq!(
        server.text(kinds).await,
        "stripe_customer cus_NeZwdNtLEOXuvB"
    );

    // This event names the customer alone.
    let mut invoice = invoice();
    invoice["customer_email"] = json!(null);
    let paid = event(&server, "evt_2", "invoice.paid", invoice);
    let answer = stripe(&server, SECRET, &paid).await;
    assert_eq!(
        answer.json()["event"],
        "payment.succeeded",
        "{}",
        answer.text()
    );
    let left =
        "SELECT string_agg(status, ',') FROM journey_states WHERE journey_id = 'churn-prevention'";
    assert_eq!(server.text(left).await, "exited");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_a_source_without_its_secret_is_closed() {
    let variables = [
        ("NODE_ENV", "production"),
        ("DATABASE_URL", "postgres://localhost/unused"),
        ("RESEND_API_KEY", "re_test"),
        ("RESEND_FROM_EMAIL", "Acme <hello@acme.test>"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    for id in [
        "stripe",
        "clerk",
        "segment",
        "intercom",
        "supabase",
        "supabase-auth",
    ] {
        let body = json!({ "type": "x" });
        let answer = server.post(&format!("/v1/webhooks/{id}"), &body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{id}");
    }
    server.stop().await;
}

const ACME: &str = "
name = { from = '/kind', names = { signup = 'user.created' } }
key = '/id'
user_id = '/user'

[authentication]
scheme = 'header'
header = 'x-acme-secret'
secret = 'ACME_WEBHOOK_SECRET'
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_a_source_of_its_name_without_any_code() {
    let files = folder(&[("acme.toml", ACME), ("README.md", "no source")]);
    let variables = [
        ("WEBHOOK_DIR", files.path().to_str().unwrap()),
        ("ACME_WEBHOOK_SECRET", "hush"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let body = json!({ "id": "1", "kind": "signup", "user": 7 });
    let refused = server.post("/v1/webhooks/acme", &body).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let request = Request::post("/v1/webhooks/acme")
        .header("x-acme-secret", "hush")
        .body(Body::from(body.to_string()));
    let answer = server.request(request.unwrap()).await;
    assert_eq!(answer.json()["event"], "user.created", "{}", answer.text());
    assert_eq!(answer.json()["userId"], "7");
    server.stop().await;
}

/// What is found in a folder: each problem, and the origin of a source.
fn describe(folder: &Path, id: &str) -> (Vec<String>, Option<(Origin, Option<String>)>) {
    let (mut found, broken) = Discovered::find(None, folder);
    assert!(broken.is_empty(), "{}", broken[0]);
    let problems = found.describe(folder);
    let info = found.info().into_iter().find(|plugin| plugin.id == id);
    let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let origin = info.map(|info| (info.origin, info.path.map(name)));
    (problems.iter().map(ToString::to_string).collect(), origin)
}

#[test]
fn a_file_replaces_the_preset_of_its_name_but_no_plugin() {
    let (problems, origin) = describe(folder(&[]).path(), "stripe");
    assert_eq!((problems.len(), origin), (0, Some((Origin::Linked, None))));
    let files = folder(&[("stripe.toml", ACME), ("posthog.toml", ACME)]);
    let (problems, origin) = describe(files.path(), "stripe");
    assert_eq!(
        origin,
        Some((Origin::Linked, Some("stripe.toml".to_owned())))
    );
    assert_eq!(problems.len(), 1);
    let found = &problems[0];
    assert!(
        found.starts_with("PLUGIN-010") && found.contains("posthog.toml"),
        "{found}"
    );
    let (problems, _) = describe(&files.path().join("none"), "stripe");
    assert!(
        problems[0].contains("WEBHOOK_DIR cannot be read"),
        "{problems:?}"
    );
}

#[test]
fn every_mistake_in_every_file_is_named_by_the_command_line() {
    let broken = ACME
        .replace("user_id", "usr_id")
        .replace("'header'", "'heder'");
    let files = folder(&[
        ("acme.toml", &broken),
        ("Shop.toml", ACME),
        ("fine.toml", ACME),
    ]);
    let ran = Command::new(binary())
        .args(["plugins", "list"])
        .env_clear()
        .env("WEBHOOK_DIR", files.path())
        .env("HOGSEND_DATA_DIR", files.path().join("data"))
        .current_dir(files.path())
        .output()
        .unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert!(!ran.status.success(), "{said}");
    for told in [
        "acme.toml: usr_id: is not a key: did you mean 'user_id'?",
        "acme.toml: authentication.scheme: 'heder' is unknown (did you mean 'header'?)",
        "Shop.toml: the file's name",
        "described in ",
        "ACME_WEBHOOK_SECRET (secret)",
        "STRIPE_WEBHOOK_SECRET (secret)",
    ] {
        assert!(said.contains(told), "{told} is not in {said}");
    }
}
