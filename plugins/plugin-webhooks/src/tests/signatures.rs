//! Signatures of each scheme, with vectors that were computed apart from this code.

use hogsend_plugin_api::Settings;

use super::{NOW, described, preset, verified, webhook};
use crate::source::Running;

const BODY: &str = r#"{"event":"x"}"#;
const SHA256: &str = "d3e1605d47ef7dcb51a1c506488393f329514f22326e7493a6cb12f377f289ab";
const SHA256_BASE64: &str = "0+FgXUfvfctRocUGSIOT8ylRTyIybnSTpssS83fyias=";

/// A source with this `[authentication]`, whose secret is `topsecret`, formerly `old`.
fn source(authentication: &str) -> Running {
    let text = format!(
        "name = \"/event\"\n[authentication]\nsecret = \"ACME\"\nprevious_secret = \"ACME_OLD\"\n{authentication}"
    );
    let settings = [("ACME", "topsecret"), ("ACME_OLD", "old")];
    described(&text, &Settings::from(settings))
}

#[test]
fn a_secret_in_a_header_is_compared_as_a_whole() {
    let plain = source("scheme = 'header'\nheader = 'X-Acme-Secret'");
    let bearer = source("scheme = 'header'\nheader = 'authorization'\nprefix = 'Bearer'");
    for (source, name, value, genuine) in [
        (&plain, "x-acme-secret", "topsecret", true),
        (&plain, "x-acme-secret", "old", true),
        (&plain, "x-acme-secret", "topsecre", false),
        (&plain, "x-acme-secret", "topsecrets", false),
        (&plain, "x-acme-secret", "TOPSECRET", false),
        (&plain, "x-acme-secret", "", false),
        (&plain, "x-other", "topsecret", false),
        (&bearer, "authorization", "Bearer topsecret", true),
        (&bearer, "authorization", "bearer  topsecret", true),
        (&bearer, "authorization", "topsecret", false),
        (&bearer, "authorization", "Basic topsecret", false),
        (&bearer, "authorization", "é", false),
    ] {
        let found = verified(source, &webhook(&[(name, value)], BODY));
        assert_eq!(found.is_ok(), genuine, "{name}: {value}");
        assert!(!found.is_err_and(|why| why.contains("topsecret")));
    }
}

#[test]
fn hmac_covers_what_the_file_says_in_the_encoding_it_says() {
    let hex = source("scheme = 'hmac'\nalgorithm = 'sha256'\nheader = 'x-sig'");
    let base64 =
        source("scheme = 'hmac'\nalgorithm = 'sha256'\nheader = 'x-sig'\nencoding = 'base64'");
    let prefixed =
        source("scheme = 'hmac'\nalgorithm = 'sha256'\nheader = 'x-sig'\nprefix = 'sha256='");
    let upper = SHA256.to_uppercase();
    let both = format!("00ff, {SHA256}");
    let named = format!("sha256={SHA256}");
    for (source, value, genuine) in [
        (&hex, SHA256, true),
        (&hex, &upper, true),
        (&hex, &both, true),
        (&hex, &SHA256[2..], false),
        (&hex, SHA256_BASE64, false),
        (&hex, "", false),
        (&hex, &named, false),
        (&base64, SHA256_BASE64, true),
        (&base64, SHA256_BASE64.trim_end_matches('='), true),
        (&base64, SHA256, false),
        (&prefixed, &named, true),
        (&prefixed, SHA256, false),
    ] {
        let found = verified(source, &webhook(&[("x-sig", value)], BODY));
        assert_eq!(found.is_ok(), genuine, "{value}: {found:?}");
        let changed = webhook(&[("x-sig", value)], "{\"event\":\"y\"}");
        assert!(verified(source, &changed).is_err());
    }
}

#[test]
fn a_signed_time_must_be_near_that_of_receipt() {
    let source = source(
        "scheme = 'hmac'\nalgorithm = 'sha512'\nheader = 'x-sig'\nsigned = 'v0:{header:x-time}:{body}'\n\
         timestamp = 'header:x-time'\ntolerance_seconds = 60",
    );
    let sign = |time: &str| {
        let message = format!("v0:{time}:{BODY}");
        let code = crate::verify::Algorithm::Sha512.code(b"topsecret", &[message.as_bytes()]);
        hex::encode(code)
    };
    for (time, why) in [
        (NOW.to_string(), None),
        ((NOW - 60).to_string(), None),
        ((NOW + 60).to_string(), None),
        (format!("{NOW}123"), None),
        ("2023-11-14T22:13:20Z".to_owned(), None),
        ((NOW - 61).to_string(), Some("61 s ago, more than 60 s")),
        ((NOW + 61).to_string(), Some("61 s ahead")),
        ("soon".to_owned(), Some("has no time")),
        (i64::MIN.to_string(), Some("s ago")),
    ] {
        let signature = sign(&time);
        let headers = [("x-sig", signature.as_str()), ("x-time", time.as_str())];
        match (verified(&source, &webhook(&headers, BODY)), why) {
            (Ok(()), None) => {}
            (Err(found), Some(why)) => assert!(found.contains(why), "{time}: {found}"),
            other => panic!("{time}: {other:?}"),
        }
    }
    let signature = sign(&NOW.to_string());
    let other = (NOW + 1).to_string();
    let headers = [("x-sig", signature.as_str()), ("x-time", other.as_str())];
    assert!(verified(&source, &webhook(&headers, BODY)).is_err());
    let without = webhook(&[("x-sig", &signature)], BODY);
    assert!(verified(&source, &without).is_err());
}

#[test]
fn basic_authentication_takes_a_pair_or_a_password_alone() {
    let text = "name = \"/event\"\n[authentication]\nscheme = \"basic\"\nsecret = \"ACME\"";
    let pair = described(text, &Settings::from([("ACME", "hook:s3cret")]));
    let alone = described(text, &Settings::from([("ACME", "s3cret")]));
    let right = "Basic aG9vazpzM2NyZXQ=";
    for (value, by_pair, by_password) in [
        (right, true, true),
        ("basic aG9vazpzM2NyZXQ=", true, true),
        ("Basic eDpzM2NyZXQ=", false, true),
        ("Basic czNjcmV0", false, false),
        ("Bearer aG9vazpzM2NyZXQ=", false, false),
        ("Basic", false, false),
        ("Basic %%%", false, false),
    ] {
        let webhook = webhook(&[("authorization", value)], BODY);
        assert_eq!(verified(&pair, &webhook).is_ok(), by_pair, "{value}");
        assert_eq!(verified(&alone, &webhook).is_ok(), by_password, "{value}");
    }
    assert!(verified(&pair, &webhook(&[], BODY)).is_err());
}

#[test]
fn stripe_signs_with_the_whole_secret_and_several_v1_while_it_changes() {
    let body = r#"{"id":"evt_1","object":"event","type":"invoice.payment_failed"}"#;
    let new = "6ba91f21ad80f8e66f70cc1ca35721a34ca50f25611ad469224138d8128232ca";
    let old = "86e6e5f1211e879eaf51216cd4507772009355489b8cb515fd2e8ee119de3039";
    let secret = ("STRIPE_WEBHOOK_SECRET", "whsec_test_secret");
    let one = preset("stripe", &Settings::from([secret]));
    let former = ("STRIPE_WEBHOOK_SECRET_PREVIOUS", "whsec_old_secret");
    let two = preset("stripe", &Settings::from([secret, former]));
    for (value, by_one, by_two) in [
        (format!("t={NOW},v1={new}"), true, true),
        (format!("t={NOW},v1={old}"), false, true),
        (format!("t={NOW},v1={old},v1={new},v0=00"), true, true),
        (format!("t={NOW}, v1={new}"), true, true),
        (format!("t={NOW},v0={new}"), false, false),
        (format!("t={},v1={new}", NOW + 1), false, false),
        (format!("v1={new}"), false, false),
        (String::new(), false, false),
    ] {
        let webhook = webhook(&[("stripe-signature", &value)], body);
        assert_eq!(verified(&one, &webhook).is_ok(), by_one, "{value}");
        assert_eq!(verified(&two, &webhook).is_ok(), by_two, "{value}");
    }
    let mut stale = webhook(&[("stripe-signature", &format!("t={NOW},v1={new}"))], body);
    stale.received_at += chrono::TimeDelta::seconds(300);
    assert_eq!(verified(&one, &stale), Ok(()));
    stale.received_at += chrono::TimeDelta::seconds(1);
    let why = verified(&one, &stale).unwrap_err();
    assert!(why.contains("301 s ago"), "{why}");
}

#[test]
fn clerks_signature_is_svixs() {
    let body = r#"{"type":"user.created","data":{"id":"user_1"}}"#;
    let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let source = preset("clerk", &Settings::from([("CLERK_WEBHOOK_SECRET", secret)]));
    let right = "v1,OEtdI41psTqejehgCngRgbdFZv6FEQ7xHhrsk92Vu7w=";
    let several = format!("v1a,AAAA v1,AAAA {right}");
    for prefix in ["svix", "webhook"] {
        for (signature, genuine) in [
            (right, true),
            (several.as_str(), true),
            ("v1,AAAA", false),
            (&right[3..], false),
            ("", false),
        ] {
            let time = NOW.to_string();
            let names = ["id", "timestamp", "signature"].map(|name| format!("{prefix}-{name}"));
            let values = ["msg_1", &time, signature];
            let headers: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
            let found = verified(&source, &webhook(&headers, body));
            assert_eq!(found.is_ok(), genuine, "{prefix} {signature}: {found:?}");
        }
    }
    let time = NOW.to_string();
    let headers = [
        ("svix-id", "msg_1"),
        ("svix-timestamp", time.as_str()),
        ("svix-signature", right),
    ];
    for (seconds, genuine) in [(300, true), (301, false), (-300, true), (-301, false)] {
        let mut moved = webhook(&headers, body);
        moved.received_at += chrono::TimeDelta::seconds(seconds);
        assert_eq!(verified(&source, &moved).is_ok(), genuine, "{seconds}");
    }
}

#[test]
fn supabase_joins_secrets_with_a_bar_and_signatures_with_a_comma() {
    let body = r#"{"metadata":{"name":"before-user-created"},"user":{"email":"a@example.com"}}"#;
    let secrets = [
        "v1,whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "v1,whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
    ];
    let first = "v1,9jkJZoscwZhxUzdI4pWkHQrOb009g8Ql+JbNlTuLjJw=";
    let second = "v1,j/iGLkrKK9vcTzq22OGrsWgD7a1WjwsybgYkI0r7BoU=";
    let both = format!("{first}, {second}");
    let joined = secrets.join("|");
    for (secret, signatures, genuine) in [
        (secrets[0], first, true),
        (secrets[1], second, true),
        (secrets[0], second, false),
        (secrets[0], both.as_str(), true),
        (secrets[1], &both, true),
        (&joined, first, true),
        (&joined, second, true),
    ] {
        let settings = Settings::from([("SUPABASE_AUTH_HOOK_SECRET", secret)]);
        let time = NOW.to_string();
        let headers = [
            ("webhook-id", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
            ("webhook-timestamp", &time),
            ("webhook-signature", signatures),
        ];
        let found = verified(
            &preset("supabase-auth", &settings),
            &webhook(&headers, body),
        );
        assert_eq!(found.is_ok(), genuine, "{signatures}: {found:?}");
    }
}

#[test]
fn segment_signs_the_first_event_and_no_other_is_read() {
    let event = r#"{"type":"track","event":"Order Completed","messageId":"m-1","userId":"u1"}"#;
    let code = "090444f21cda5851bca8b5a0221020249fe4732c";
    let secret = Settings::from([("SEGMENT_WEBHOOK_SECRET", "seg-secret")]);
    let source = preset("segment", &secret);
    let headers = [("x-signature", code)];
    let batch = format!(r#"[{event},{{"type":"identify","messageId":"m-2","userId":"u1"}}]"#);
    for body in [event, &batch, &format!("[{event}]")] {
        assert_eq!(
            verified(&source, &webhook(&headers, body)),
            Ok(()),
            "{body}"
        );
    }
    let refused = source.read_webhook(&webhook(&headers, &batch)).unwrap_err();
    assert!(format!("{refused:?}").contains("batch size"), "{refused:?}");
    let changed = event.replace("u1", "u2");
    assert!(verified(&source, &webhook(&headers, &changed)).is_err());
}

#[test]
fn intercoms_signature_has_a_prefix() {
    let body = r#"{"type":"notification_event","id":"notif_1","topic":"contact.user.created"}"#;
    let secret = Settings::from([("INTERCOM_WEBHOOK_SECRET", "ic-client-secret")]);
    let source = preset("intercom", &secret);
    let code = "bd6f12be9ca3c4d851d4e6a19ac23a05338ea66a";
    for (value, genuine) in [
        (format!("sha1={code}"), true),
        (code.to_owned(), false),
        (format!("sha256={code}"), false),
    ] {
        let found = verified(&source, &webhook(&[("x-hub-signature", &value)], body));
        assert_eq!(found.is_ok(), genuine, "{value}");
    }
}

#[test]
fn a_secret_that_is_none_is_refused_by_its_name_and_without_its_value() {
    for (id, name, value, fix) in [
        (
            "stripe",
            "STRIPE_WEBHOOK_SECRET",
            "sk_live_hush",
            "is an API key",
        ),
        (
            "clerk",
            "CLERK_WEBHOOK_SECRET",
            "whsec_%hush",
            "copy all of it",
        ),
        (
            "clerk",
            "CLERK_WEBHOOK_SECRET_PREVIOUS",
            "whsec_",
            "copy all of it",
        ),
    ] {
        let (_, text) = crate::presets::PRESETS
            .iter()
            .find(|(own, _)| *own == id)
            .unwrap();
        let source = crate::file::parse(id, text).unwrap();
        let settings = Settings::from([(name, value)]);
        let refused = source.authentication.verifier(&settings).err().unwrap();
        assert!(refused.contains(name) && refused.contains(fix), "{refused}");
        assert!(!refused.contains("hush"), "{refused}");
    }
}
