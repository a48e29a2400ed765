//! No file and no webhook makes a source panic.

use hogsend_plugin_api::{Reading, Settings};
use proptest::prelude::*;
use serde_json::Value;

use super::{described, preset, webhook};
use crate::file::parse;
use crate::presets::PRESETS;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "event",
            "track",
            "contact",
            "INSERT",
            "auth",
            "users",
            "user.created",
            "usd",
            "invoice.payment_failed",
            "customer.subscription.deleted",
            "checkout.session",
            "checkout.session.expired",
            "before-user-created",
            "2026-03-01T10:00:00Z",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let name = prop::sample::select(vec![
            "data",
            "object",
            "type",
            "id",
            "customer",
            "metadata",
            "record",
            "schema",
            "table",
            "email_addresses",
            "item",
            "topic",
            "created",
            "traits",
            "properties",
            "event",
            "user",
            "currency",
            "amount_due",
            "trial_end",
            "ended_at",
            "name",
            "external_id",
            "0",
            "~/",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..8).prop_map(|fields| {
                let fields = fields.into_iter();
                Value::Object(
                    fields
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

/// Texts of headers, near what the schemes expect.
fn header() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "(v1,|sha1=|t=|Basic |Bearer )?[0-9a-fA-F=+/, v1]{0,80}",
        "t=[0-9-]{0,20},v1=[0-9a-f]{0,64}",
        any::<i64>().prop_map(|number| number.to_string()),
    ]
}

const NAMES: [&str; 9] = [
    "stripe-signature",
    "svix-id",
    "svix-timestamp",
    "svix-signature",
    "webhook-timestamp",
    "x-signature",
    "x-hub-signature",
    "x-webhook-secret",
    "authorization",
];

fn secrets() -> Settings {
    Settings::from([
        ("STRIPE_WEBHOOK_SECRET", "whsec_x"),
        (
            "CLERK_WEBHOOK_SECRET",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        ),
        ("SUPABASE_WEBHOOK_SECRET", "x"),
        (
            "SUPABASE_AUTH_HOOK_SECRET",
            "v1,whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        ),
        ("SEGMENT_WEBHOOK_SECRET", "x"),
        ("INTERCOM_WEBHOOK_SECRET", "x"),
    ])
}

/// TOML near what a file looks like.
fn toml_text() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "name",
        "key",
        "time",
        "user_id",
        "email",
        "identities",
        "properties",
        "where",
        "items",
        "events",
        "authentication",
        "untrusted",
        "from",
        "at",
        "equals",
        "unit",
        "as",
        "list",
        "take",
        "value",
        "scheme",
        "secret",
        "header",
        "signed",
        "timestamp",
        "skip",
        "*",
        "x",
    ]);
    let value = prop_oneof![
        "\\PC{0,20}".prop_map(toml::Value::from),
        prop::sample::select(vec![
            "/a",
            "{/a}",
            "body:/a~1",
            "header:x",
            "{body}",
            "hmac",
            "ACME",
            ""
        ])
        .prop_map(toml::Value::from),
        any::<i64>().prop_map(toml::Value::from),
        any::<f64>().prop_map(toml::Value::from),
        any::<bool>().prop_map(toml::Value::from),
    ];
    let value = value.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|fields| {
                let fields = fields.into_iter();
                toml::Value::Table(
                    fields
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    });
    value.prop_map(|value| match value {
        toml::Value::Table(table) => table.to_string(),
        other => format!("name = {other}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_a_preset_panic(body in json(), raw in "\\PC{0,60}") {
        for (id, _) in PRESETS {
            let source = preset(id, &Settings::default());
            let read = source.read_webhook(&webhook(&[("svix-id", "1")], &body.to_string()));
            if let Ok(Reading::Events(events)) = read {
                prop_assert!(events.iter().all(|event| !event.name.trim().is_empty()));
            }
            let _ = source.read_webhook(&webhook(&[], &raw));
        }
    }

    #[test]
    fn no_header_makes_a_preset_panic_or_passes_without_the_secret(
        headers in prop::collection::vec((prop::sample::select(NAMES.to_vec()), header()), 0..6),
        body in "\\PC{0,60}",
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for (id, _) in PRESETS {
            // The short secret of the header scheme may be guessed.
            let guessed = headers.iter().any(|(_, value)| value.trim() == "x");
            let read = preset(id, &secrets()).read_webhook(&webhook(&headers, &body));
            prop_assert!(read.is_err() || guessed, "{id}");
        }
    }

    #[test]
    fn no_file_panics_and_each_is_a_source_or_has_a_mistake(text in toml_text(), body in json()) {
        let secret = "\n[authentication]\nscheme = 'header'\nheader = 'x'\nsecret = 'ACME'\n";
        for text in [text.clone(), text + secret] {
            match parse("acme", &text) {
                Ok(_) => {
                    let source = described(&text, &Settings::default());
                    let _ = source.read_webhook(&webhook(&[], &body.to_string()));
                }
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }

    #[test]
    fn no_change_of_a_preset_panics(at in 0_usize..4_000, with in "\\PC{0,3}", body in json()) {
        for (id, text) in PRESETS {
            let at = text.floor_char_boundary(at.min(text.len()));
            let end = text.floor_char_boundary((at + 1).min(text.len()));
            let changed = format!("{}{with}{}", &text[..at], &text[end.max(at)..]);
            match parse(id, &changed) {
                Ok(_) => {
                    let source = described(&changed, &Settings::default());
                    let _ = source.read_webhook(&webhook(&[], &body.to_string()));
                }
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }
}
