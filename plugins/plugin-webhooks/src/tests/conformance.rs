//! Every preset keeps what every event source promises.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::Settings;
use hogsend_plugin_kit::event_source::{Sample, Signed, Vendor, described, no_host};
use serde_json::json;

use crate::presets::all;
use crate::verify::Algorithm::{Sha1, Sha256};

const SECRET: &str = "whisper-0123456789";
/// The same in the form of Svix and of Standard Webhooks.
const SVIX: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const STANDARD_WEBHOOKS: &str = "v1,whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn check(id: &str, vendor: &Vendor) {
    let sources = all();
    let source = sources.iter().find(|source| source.manifest.id == id);
    described(source.unwrap(), vendor);
}

fn vendor(setting: &str, secret: &str, sign: fn(&[u8], DateTime<Utc>) -> Signed) -> Vendor {
    Vendor {
        settings: Settings::from([(setting, secret)]),
        sign,
        tolerance: Some(TimeDelta::minutes(5)),
        events: Vec::new(),
        others: Vec::new(),
        gives_ids: true,
        host: no_host,
    }
}

fn one(name: &str, value: String, body: &[u8]) -> Signed {
    Signed::new(vec![(name.to_owned(), value)], body)
}

/// Svix and Standard Webhooks sign the same text. The id depends on the body.
fn signed_with_id(prefix: &str, secret: &str, body: &[u8], at: DateTime<Utc>) -> Signed {
    let key = STANDARD.decode(secret.rsplit('_').next().unwrap()).unwrap();
    let id = format!("msg_{}", hex::encode(Sha1.code(b"id", &[body])));
    let time = at.timestamp().to_string();
    let message = [id.as_bytes(), b".", time.as_bytes(), b".", body];
    let code = STANDARD.encode(Sha256.code(&key, &message));
    let header = |name: &str, value: String| (format!("{prefix}-{name}"), value);
    let headers = vec![
        header("id", id),
        header("timestamp", time),
        header("signature", format!("v1,{code}")),
    ];
    Signed::new(headers, body)
}

#[test]
fn stripe_keeps_its_promises() {
    let sign = |body: &[u8], at: DateTime<Utc>| {
        let time = at.timestamp().to_string();
        let code = Sha256.code(SECRET.as_bytes(), &[time.as_bytes(), b".", body]);
        one(
            "stripe-signature",
            format!("t={time},v1={}", hex::encode(code)),
            body,
        )
    };
    let object = |id: &str, kind: &str, object: serde_json::Value| -> Sample {
        let body = json!({
            "id": id, "object": "event", "created": 1_680_064_028, "type": kind, "livemode": true,
            "data": { "object": object },
        });
        Sample::new(body.to_string())
    };
    let invoice = json!({
        "id": "in_1", "object": "invoice", "customer": "cus_1", "customer_email": "ann@example.com",
        "amount_due": 2_000, "currency": "usd", "billing_reason": "subscription_cycle",
        "metadata": {}, "lines": { "data": [{ "plan": { "nickname": "Pro" } }] },
    });
    let subscription = json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "trialing",
        "trial_end": 1_680_841_628, "metadata": { "user_id": "u1" },
    });
    check(
        "stripe",
        &Vendor {
            events: vec![
                object("evt_1", "invoice.payment_failed", invoice),
                object(
                    "evt_2",
                    "customer.subscription.trial_will_end",
                    subscription,
                ),
            ],
            // A thin event, which has no data.
            others: vec![r#"{"id":"evt_3","object":"v2.core.event","type":"x"}"#.into()],
            ..vendor("STRIPE_WEBHOOK_SECRET", SECRET, sign)
        },
    );
}

#[test]
fn clerk_keeps_its_promises() {
    let user = json!({
        "object": "event", "type": "user.created", "timestamp": 1_654_012_591_835_i64,
        "data": {
            "id": "user_1", "external_id": null, "first_name": "Ann", "primary_email_address_id": "idn_1",
            "email_addresses": [
                { "id": "idn_1", "email_address": "ann@example.org", "verification": { "status": "verified" } }
            ],
        },
    });
    let session = json!({
        "type": "session.created", "timestamp": 1_654_012_591_835_i64,
        "data": { "id": "sess_1", "user_id": "user_1" },
    });
    check(
        "clerk",
        &Vendor {
            events: vec![
                Sample::new(user.to_string()),
                Sample::new(session.to_string()),
            ],
            others: vec![r#"{"type":"sms.created","data":{}}"#.into()],
            ..vendor("CLERK_WEBHOOK_SECRET", SVIX, |body, at| {
                signed_with_id("svix", SVIX, body, at)
            })
        },
    );
}

#[test]
fn supabases_auth_hooks_keep_their_promises() {
    let body = json!({
        "metadata": { "uuid": "8b34", "time": "2025-04-29T13:13:24.755552-07:00", "name": "after-user-created" },
        "user": { "id": "ff7f", "email": "ann@example.com", "user_metadata": { "first_name": "Ann" } },
    });
    check(
        "supabase-auth",
        &Vendor {
            events: vec![Sample::new(body.to_string())],
            others: vec![r#"{"metadata":{"name":"send-sms"},"user":{}}"#.into()],
            ..vendor(
                "SUPABASE_AUTH_HOOK_SECRET",
                STANDARD_WEBHOOKS,
                |body, at| signed_with_id("webhook", STANDARD_WEBHOOKS, body, at),
            )
        },
    );
}

#[test]
fn supabases_rows_keep_their_promises() {
    let row = json!({
        "id": "b5f1", "email": "ann@example.com", "created_at": "2026-03-01T10:00:00+00:00",
        "updated_at": "2026-03-01T10:00:01+00:00", "raw_user_meta_data": { "first_name": "Ann" },
    });
    let body = |kind: &str| {
        let body = json!({
            "type": kind, "table": "users", "schema": "auth", "record": row, "old_record": row,
        });
        Sample::new(body.to_string())
    };
    check(
        "supabase",
        &Vendor {
            tolerance: None,
            events: ["INSERT", "UPDATE", "DELETE"].map(body).into(),
            others: vec![
                r#"{"type":"INSERT","table":"orders","schema":"public","record":{}}"#.into(),
            ],
            ..vendor("SUPABASE_WEBHOOK_SECRET", SECRET, |body, _| {
                one("x-webhook-secret", SECRET.into(), body)
            })
        },
    );
}

#[test]
fn intercom_keeps_its_promises() {
    let contact = json!({
        "type": "notification_event", "id": "notif_1", "topic": "contact.user.created",
        "created_at": 1_680_064_028,
        "data": { "item": {
            "type": "contact", "id": "c1", "external_id": "u1", "email": "ann@example.com", "role": "user",
        } },
    });
    check(
        "intercom",
        &Vendor {
            tolerance: None,
            events: vec![Sample::new(contact.to_string())],
            others: vec![
                r#"{"type":"notification_event","topic":"ping","data":{"item":{}}}"#.into(),
            ],
            ..vendor("INTERCOM_WEBHOOK_SECRET", SECRET, |body, _| {
                let code = hex::encode(Sha1.code(SECRET.as_bytes(), &[body]));
                one("x-hub-signature", format!("sha1={code}"), body)
            })
        },
    );
}

#[test]
fn segment_keeps_its_promises() {
    let track = json!({
        "type": "track", "event": "Order Completed", "messageId": "m-1", "userId": "u1",
        "timestamp": "2026-03-01T10:00:00Z", "properties": { "total": 12 },
    });
    let identify = json!({
        "type": "identify", "messageId": "m-2", "userId": "u1", "traits": { "email": "ann@example.com" },
    });
    check(
        "segment",
        &Vendor {
            tolerance: None,
            events: vec![
                Sample::new(track.to_string()),
                Sample::new(identify.to_string()),
            ],
            others: vec![r#"{"type":"delete","messageId":"m-3","userId":"u1"}"#.into()],
            ..vendor("SEGMENT_WEBHOOK_SECRET", SECRET, |body, _| {
                one(
                    "x-signature",
                    hex::encode(Sha1.code(SECRET.as_bytes(), &[body])),
                    body,
                )
            })
        },
    );
}
