//! The other presets, with bodies of the shape that the vendors document.

use hogsend_plugin_api::Settings;
use serde_json::{Value, json};

use super::{event, preset, skipped, webhook};
use crate::presets::{PRESETS, all};

#[test]
fn every_preset_is_a_source_of_its_name() {
    let sources = all();
    let ids: Vec<_> = sources
        .iter()
        .map(|source| source.manifest.id.as_str())
        .collect();
    assert_eq!(ids, PRESETS.map(|(id, _)| id));
    for source in &sources {
        let manifest = &source.manifest;
        assert!(manifest.optional && manifest.settings[0].secret);
        let secret = manifest.webhook_secret.as_deref();
        assert_eq!(secret, Some(manifest.settings[0].name.as_str()));
        // Strangers can send events to these.
        let open = ["segment", "intercom"].contains(&manifest.id.as_str());
        assert_eq!(manifest.untrusted, open, "{}", manifest.id);
        source.create(&Settings::default()).unwrap();
    }
}

fn clerk() -> Value {
    json!({
        "object": "event", "type": "user.created", "timestamp": 1_654_012_591_835_i64,
        "data": {
            "id": "user_29w83sxmDNGwOuEthce5gg56FcC", "external_id": null, "first_name": "Example",
            "last_name": "Example", "primary_email_address_id": "idn_2",
            "email_addresses": [
                { "id": "idn_1", "email_address": "old@example.org", "verification": { "status": "verified" } },
                { "id": "idn_2", "email_address": "example@example.org", "verification": { "status": "verified" } }
            ]
        }
    })
}

#[test]
fn clerks_users_come_with_their_primary_verified_address() {
    let headers = [("svix-id", "msg_1")];
    let read = event("clerk", &headers, &clerk());
    assert_eq!(
        (read.name.as_str(), read.dedupe_key.as_deref()),
        ("user.created", Some("msg_1"))
    );
    assert_eq!(
        read.user_id.as_deref(),
        Some("user_29w83sxmDNGwOuEthce5gg56FcC")
    );
    assert_eq!(read.email.as_deref(), Some("example@example.org"));
    assert_eq!(read.contact_properties["first_name"], "Example");
    assert_eq!(
        read.occurred_at.unwrap().timestamp_millis(),
        1_654_012_591_835
    );
    for (pointer, value) in [
        ("/data/primary_email_address_id", json!(null)),
        ("/data/primary_email_address_id", json!("idn_3")),
        ("/data/email_addresses", json!([])),
        (
            "/data/email_addresses/1/verification/status",
            json!("unverified"),
        ),
    ] {
        let mut body = clerk();
        *body.pointer_mut(pointer).unwrap() = value;
        assert_eq!(event("clerk", &headers, &body).email, None, "{pointer}");
    }
    let mut own = clerk();
    own["data"]["external_id"] = json!("u1");
    let read = event("clerk", &headers, &own);
    assert_eq!(read.user_id.as_deref(), Some("u1"));
    assert_eq!(read.identities[0].0, "clerk_user");
    let deleted = json!({ "type": "user.deleted", "data": { "id": "user_1", "deleted": true } });
    assert_eq!(
        event("clerk", &headers, &deleted).user_id.as_deref(),
        Some("user_1")
    );
    let other = json!({ "type": "sms.created", "data": {} });
    assert!(skipped("clerk", &other).contains("/type is 'sms.created'"));
}

#[test]
fn supabases_rows_of_users_are_read_without_what_is_secret() {
    let row = json!({
        "id": "b5f1", "email": "a@example.com", "encrypted_password": "$2a$10$hash",
        "created_at": "2026-03-01T10:00:00+00:00", "updated_at": "2026-03-01T10:00:01+00:00",
        "raw_user_meta_data": { "first_name": "Ann" }
    });
    let body = |kind: &str| json!({ "type": kind, "table": "users", "schema": "auth", "record": row, "old_record": row });
    for (kind, name, key) in [
        ("INSERT", "user.created", "user.created:b5f1"),
        (
            "UPDATE",
            "user.updated",
            "user.updated:b5f1:2026-03-01T10:00:01+00:00",
        ),
        ("DELETE", "user.deleted", "user.deleted:b5f1"),
    ] {
        let read = event("supabase", &[], &body(kind));
        assert_eq!(
            (read.name.as_str(), read.dedupe_key.as_deref()),
            (name, Some(key))
        );
        assert_eq!(
            (read.user_id.as_deref(), read.email.as_deref()),
            (Some("b5f1"), Some("a@example.com"))
        );
        assert!(!format!("{read:?}").contains("hash"));
    }
    for (field, value) in [("schema", "public"), ("table", "sessions")] {
        let mut other = body("INSERT");
        other[field] = json!(value);
        assert!(skipped("supabase", &other).contains("auth.users"));
    }
}

#[test]
fn supabases_hooks_tell_of_a_user_once() {
    let body = |name: &str, uuid: &str| {
        json!({
            "metadata": { "uuid": uuid, "time": "2025-04-29T13:13:24.755552-07:00", "name": name },
            "user": { "id": "ff7f", "email": "a@example.com", "user_metadata": {} }
        })
    };
    let before = event("supabase-auth", &[], &body("before-user-created", "8b34"));
    let after = event("supabase-auth", &[], &body("after-user-created", "9c45"));
    assert_eq!(before.name, "user.created");
    assert_eq!(before.dedupe_key, after.dedupe_key);
    assert_eq!(before.user_id.as_deref(), Some("ff7f"));
    let sms = body("send-sms", "1");
    assert!(skipped("supabase-auth", &sms).contains("send-sms"));
}

#[test]
fn segments_calls_become_events() {
    let call = |kind: &str, more: Value| {
        let mut body = json!({
            "type": kind, "messageId": "m-1", "anonymousId": "507f", "userId": "u1",
            "timestamp": "2026-03-01T10:00:00.000Z", "context": { "traits": { "email": "c@example.com" } }
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let track = call(
        "track",
        json!({ "event": "Order Completed", "properties": { "plan": "pro" } }),
    );
    let read = event("segment", &[], &track);
    assert_eq!(
        (read.name.as_str(), read.dedupe_key.as_deref()),
        ("Order Completed", Some("m-1"))
    );
    assert_eq!(
        (read.user_id.as_deref(), read.anonymous_id.as_deref()),
        (Some("u1"), Some("507f"))
    );
    assert_eq!(read.email.as_deref(), Some("c@example.com"));
    assert_eq!(json!(read.properties), json!({ "plan": "pro" }));

    let identify = call(
        "identify",
        json!({ "traits": { "email": "t@example.com", "plan": "pro" } }),
    );
    let read = event("segment", &[], &identify);
    assert_eq!(
        (read.name.as_str(), read.email.as_deref()),
        ("user.identified", Some("t@example.com"))
    );
    assert_eq!(read.contact_properties["plan"], "pro");

    let alias = event(
        "segment",
        &[],
        &call("alias", json!({ "previousId": "old" })),
    );
    let old = |kind: &str| (kind.to_owned(), "old".to_owned());
    assert_eq!(alias.identities, [old("anonymous"), old("user")]);

    let group = call(
        "group",
        json!({ "groupId": "g1", "traits": { "name": "Acme", "group_id": "x" } }),
    );
    assert_eq!(
        json!(event("segment", &[], &group).properties),
        json!({ "name": "Acme", "group_id": "g1" })
    );
    for (kind, name) in [("page", "page.viewed"), ("screen", "screen.viewed")] {
        let mut body = call(kind, json!({ "name": "Home" }));
        body["userId"] = json!(null);
        let read = event("segment", &[], &body);
        assert_eq!((read.name.as_str(), read.user_id), (name, None));
        assert_eq!(read.properties[kind], "Home");
    }
    let nameless = call("track", json!({}));
    assert!(skipped("segment", &nameless).contains("no name"));
}

#[test]
fn intercoms_topics_find_the_contact_where_it_is() {
    let topic = |name: &str, item: Value| {
        json!({
            "type": "notification_event", "id": "notif_1", "topic": name, "app_id": "a",
            "created_at": 1_700_000_000, "data": { "type": "notification_event_data", "item": item }
        })
    };
    let person = json!({ "type": "contact", "id": "5ba6", "external_id": "u1", "email": "a@example.com", "role": "user" });
    for (name, item, own) in [
        ("contact.user.created", person.clone(), "user.created"),
        ("contact.lead.created", person.clone(), "lead.created"),
        (
            "contact.unsubscribed",
            person.clone(),
            "contact.unsubscribed",
        ),
        (
            "contact.tag.created",
            json!({ "type": "contact_tag", "contact": person }),
            "contact.tag.created",
        ),
        (
            "conversation.user.created",
            json!({
                "type": "conversation", "id": "1",
                "contacts": { "contacts": [{ "type": "contact", "id": "5ba6", "external_id": "u1" }] },
                "source": { "author": { "type": "user", "email": "a@example.com" } }
            }),
            "conversation.user.created",
        ),
    ] {
        let read = event("intercom", &[], &topic(name, item));
        assert_eq!(
            (read.name.as_str(), read.dedupe_key.as_deref()),
            (own, Some("notif_1"))
        );
        assert_eq!(
            (read.user_id.as_deref(), read.email.as_deref()),
            (Some("u1"), Some("a@example.com")),
            "{name}"
        );
        assert_eq!(
            read.identities,
            [("intercom_contact".to_owned(), "5ba6".to_owned())]
        );
    }
    let teammate = json!({
        "type": "conversation", "contacts": { "contacts": [{ "id": "5ba6" }] },
        "source": { "author": { "type": "admin", "email": "team@acme.test" } }
    });
    let read = event(
        "intercom",
        &[],
        &topic("conversation.admin.single.created", teammate),
    );
    assert_eq!(read.email, None);
    assert!(
        skipped("intercom", &topic("ping", json!({ "type": "ping" }))).contains("tests the URL")
    );
}

#[test]
fn what_is_no_json_is_refused_and_a_get_is_skipped() {
    let source = preset("stripe", &Settings::default());
    for body in ["", "{", "a=b", "\u{0}"] {
        let refused = source.read_webhook(&webhook(&[], body)).unwrap_err();
        assert!(format!("{refused:?}").contains("not valid JSON"), "{body}");
    }
    let mut get = webhook(&[], "");
    get.method = "GET".into();
    assert!(matches!(
        source.read_webhook(&get).unwrap(),
        hogsend_plugin_api::Reading::Skipped { .. }
    ));
}
