//! The variables: every problem is named with its fix, and the token is never shown.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hogsend_hatchet::{Problem, Settings, names};
use serde_json::{Value, json};

const NOW: u64 = 1_767_225_600;

fn token(claims: &Value) -> String {
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("eyJhbGciOiJFUzI1NiJ9.{payload}.c2lnbmF0dXJl")
}

fn good() -> String {
    token(&json!({ "sub": "tenant", "grpc_broadcast_address": "hatchet:7077", "exp": NOW + 60 }))
}

fn load(variables: &[(&str, &str)]) -> Result<Option<Settings>, Vec<Problem>> {
    let lookup = |name: &str| {
        let found = variables.iter().find(|(it, _)| *it == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let loaded = Settings::load(&lookup, now);
    for (name, value) in variables {
        let shown = format!("{loaded:?}");
        let is_token = *name == names::TOKEN && value.len() > 20;
        assert!(
            !is_token || !shown.contains(&value[10..]),
            "the token is shown: {shown}"
        );
    }
    loaded
}

fn problem(variables: &[(&str, &str)]) -> String {
    let problems = load(variables).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let text = problems[0].to_string();
    assert!(
        text.starts_with(problems[0].variable) && !text.contains('\n'),
        "{text}"
    );
    text
}

#[test]
fn without_a_token_there_is_no_engine() {
    assert!(load(&[]).unwrap().is_none());
    assert!(load(&[(names::TOKEN, " ")]).unwrap().is_none());
    assert!(load(&[(names::NAMESPACE, "Acme")]).unwrap().is_none());
}

#[test]
fn a_token_says_where_the_engine_is() {
    let settings = load(&[(names::TOKEN, &good())]).unwrap().unwrap();
    assert_eq!(settings.address, "hatchet:7077");
    assert_eq!(settings.token.tenant, "tenant");
    assert!(settings.tls.is_some());
    let own = load(&[(names::TOKEN, &good()), (names::HOST_PORT, "[::1]:7070")]);
    assert_eq!(own.unwrap().unwrap().address, "[::1]:7070");
}

#[test]
fn wrong_tokens() {
    let expired = token(&json!({ "sub": "t", "grpc_broadcast_address": "a:1", "exp": NOW }));
    let no_tenant = token(&json!({ "exp": NOW + 1 }));
    for (token, part) in [
        ("secret", "has 1 parts between dots"),
        ("a.b!.c", "not base64url"),
        ("a.e30.c", "lack the tenant"),
        (no_tenant.as_str(), "lack the tenant"),
        (expired.as_str(), "has expired"),
    ] {
        let text = problem(&[(names::TOKEN, token), (names::HOST_PORT, "a:1")]);
        assert!(
            text.starts_with(names::TOKEN) && text.contains(part),
            "{text}"
        );
        assert!(text.contains("hatchet-admin token create"), "{text}");
    }
    let nowhere = token(&json!({ "sub": "t" }));
    assert!(problem(&[(names::TOKEN, &nowhere)]).starts_with(names::HOST_PORT));
}

#[test]
fn wrong_addresses() {
    for (address, part) in [
        ("http://hatchet:7077", "it is a URL"),
        ("hatchet", "it has no port"),
        ("hatchet:0", "not a number"),
        ("hatchet:70777", "not a number"),
        (":7077", "not a name or an address"),
        ("me@hatchet:7077", "not a name or an address"),
    ] {
        let text = problem(&[(names::TOKEN, &good()), (names::HOST_PORT, address)]);
        assert!(
            text.starts_with(names::HOST_PORT) && text.contains(part),
            "{text}"
        );
    }
}

#[test]
fn a_namespace_with_capitals() {
    let text = problem(&[(names::TOKEN, &good()), (names::NAMESPACE, "Acme")]);
    assert_eq!(
        text,
        "HATCHET_CLIENT_NAMESPACE is 'Acme', and Hatchet knows no capitals: use 'acme'"
    );
}

#[test]
fn tls_settings_fit_their_strategy() {
    let token = good();
    let with = |changes: &[(&'static str, &'static str)]| {
        let mut all = vec![(names::TOKEN, token.as_str())];
        all.extend_from_slice(changes);
        problem(&all)
    };
    assert!(with(&[(names::TLS_STRATEGY, "ssl")]).contains("use tls, mtls"));
    let text = with(&[(names::TLS_STRATEGY, "none"), (names::TLS_SERVER_NAME, "x")]);
    assert!(text.starts_with(names::TLS_SERVER_NAME), "{text}");
    assert!(with(&[(names::TLS_CERT_FILE, "/x")]).contains("has no use with"));
    let text = with(&[(names::TLS_ROOT_CA_FILE, "/does/not/exist")]);
    assert!(text.contains("cannot be read: /does/not/exist"), "{text}");
    let this_file = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = with(&[(names::TLS_ROOT_CA_FILE, this_file)]);
    assert!(text.contains("without '-----BEGIN"), "{text}");
    let mutual = load(&[(names::TOKEN, &token), (names::TLS_STRATEGY, "mtls")]);
    let named: Vec<_> = mutual.unwrap_err().iter().map(|it| it.variable).collect();
    assert_eq!(named, [names::TLS_CERT_FILE, names::TLS_KEY_FILE]);
    let plain = load(&[(names::TOKEN, &token), (names::TLS_STRATEGY, "none")]);
    assert!(plain.unwrap().unwrap().tls.is_none());
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = load(&[
        (names::TOKEN, "x"),
        (names::HOST_PORT, "y"),
        (names::NAMESPACE, "Z"),
        (names::TLS_STRATEGY, "q"),
    ]);
    assert_eq!(problems.unwrap_err().len(), 4);
}
