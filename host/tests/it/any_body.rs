//! Arbitrary bodies, to every operation that takes one: no 5xx, no answer outside the OpenAPI
//! document (each is validated against it), and a refused request stores nothing.

use axum::body::Body;
use axum::http::{Method, Request, header};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::admin::KEY;
use crate::support::{Server, Store};

/// Number of bodies per operation.
const CASES: usize = 48;

/// Text that some part of a server may misinterpret.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "", " ", "u1", "ann@example.com", "a@b", "Ann <ann@example.com>", "\0", "a\0b",
            "'; DROP TABLE contacts; --", "%", "_", "\\", "\"", "=1+1", "@SUM(A1)", "-1", "\r\n",
            "x\r\nBcc: eve@example.com", "../../etc/passwd", "<script>", "{{ contact.email }}",
            "${jndi:ldap://x}", "\u{202e}x", "\u{feff}", "\u{1f600}", "ﬁ", "null", "true",
            "1e999", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
            "+275760-09-13T00:00:00Z", "2026-03-02T09:00:00+23:59", "https://example.com",
            "http://127.0.0.1", "journey.completed", "email.sent", "read", "full-admin", "welcome",
            "transactional", "t.slow", "csv", "01900000-0000-7000-8000-000000000000",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,40}",
        1 => prop::collection::vec(any::<char>(), 0..60).prop_map(|all| all.into_iter().collect()),
        1 => (1_usize..5_000).prop_map(|length| "x".repeat(length)),
    ]
}

/// Any JSON.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => prop::num::f64::NORMAL.prop_map(Value::from),
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, 0.5, f64::MAX, 5e-324]).prop_map(Value::from),
        4 => text().prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    });
    prop_oneof![
        20 => nested,
        1 => (30_usize..120).prop_map(|depth| (0..depth).fold(json!(1), |inner, _| json!({ "d": inner }))),
    ]
}

/// The fields in the document, each with a valid value.
fn fields(document: &Value, operation: &Value) -> Vec<(String, Value)> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = follow(document, schema);
    let schema = match schema["oneOf"].as_array() {
        Some(either) => follow(document, either.last().expect("an alternative")),
        None => schema,
    };
    let known = schema["properties"].as_object();
    let known = known.into_iter().flatten();
    known
        .map(|(name, told)| (name.clone(), good(document, name, told)))
        .collect()
}

fn follow<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(pointer) => document.pointer(&pointer[1..]).expect("a reference"),
        None => schema,
    }
}

fn good(document: &Value, name: &str, told: &Value) -> Value {
    match name {
        "email" | "userEmail" | "to" => return json!("ann@example.com"),
        "template" => return json!("welcome"),
        "scopes" => return json!(["read"]),
        "eventTypes" => return json!(["email.sent"]),
        "url" | "target" => return json!("https://example.com/hook"),
        "channel" => return json!("webhook"),
        "type" => return json!("delivery_issue"),
        "timestamp" => return json!("2026-03-02T08:00:00Z"),
        "expiresAt" => return json!("2030-03-02T08:00:00Z"),
        _ => {}
    }
    let told = follow(document, told);
    let kind = told["type"].as_str();
    let kind = kind.or_else(|| told["type"].as_array()?.first()?.as_str());
    match kind {
        Some("object") => json!({}),
        Some("array") => json!([]),
        Some("boolean") => json!(true),
        Some("integer" | "number") => json!(60),
        _ => json!("u1"),
    }
}

/// A body of these fields in which some are valid, some arbitrary and some missing; sometimes an
/// entirely different body.
fn body(fields: Vec<(String, Value)>) -> impl Strategy<Value = Vec<u8>> {
    let whole = fields
        .into_iter()
        .map(|(name, good)| {
            let any = prop_oneof![
                16 => Just(Some(good)),
                2 => Just(None),
                1 => value().prop_map(Some),
            ];
            any.prop_map(move |value| (name.clone(), value))
        })
        .collect::<Vec<_>>()
        .prop_map(|all| {
            let all = all
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            Value::Object(all.collect::<Map<_, _>>())
                .to_string()
                .into_bytes()
        });
    prop_oneof![
        12 => whole.clone(),
        2 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (whole, any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
            bytes.truncate(at.index(bytes.len() + 1));
            bytes
        }),
    ]
}

/// A digest of every row of every table, with the transactions that wrote them.
const ALL: &str =
    "SELECT md5(string_agg(query_to_xml(format('SELECT t.xmin, t.* FROM %I t', relname), \
                   true, true, '')::text, '' ORDER BY relname))
                   FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_withstands_any_body_and_what_is_refused_is_not_stored() {
    let variables = [
        ("ADMIN_API_KEY", KEY),
        ("RATE_LIMIT_ADMIN", "0"),
        ("RATE_LIMIT_EMAILS", "0"),
    ];
    let server = Server::with(Store::native().await, &variables).await;
    let known = json!({ "name": "t.slow", "userId": "u1", "email": "ann@example.com" });
    server
        .call(Method::POST, "/v1/events", KEY, Some(&known))
        .await;
    let document = server.get("/openapi.json").await.json();
    let seed = std::env::var("HOGSEND_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or(20_260_302);
    let mut words = [0_u8; 32];
    words[..8].copy_from_slice(&seed.to_le_bytes());
    let random =
        prop::test_runner::TestRng::from_seed(prop::test_runner::RngAlgorithm::ChaCha, &words);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let (mut taken, mut refused) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("requestBody").is_none() {
                continue;
            }
            let strategy = body(fields(&document, operation));
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let path = path
                .replace("{source}", "posthog")
                .replace("{provider}", "resend")
                .replace("{id}", "u1")
                .replace("{key}", "welcome");
            for _ in 0..CASES {
                let bytes = strategy.new_tree(&mut runner).unwrap().current();
                let before = server.text(ALL).await;
                let request = Request::builder()
                    .method(&method)
                    .uri(&path)
                    .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
                    .header(header::CONTENT_TYPE, "application/json");
                let shown = String::from_utf8_lossy(&bytes).into_owned();
                let answer = server
                    .request(request.body(Body::from(bytes)).unwrap())
                    .await;
                let told = format!("{method} {path} {shown}: {}", answer.text());
                assert!(!answer.status.is_server_error(), "{told}");
                if answer.status.is_client_error() {
                    refused += 1;
                    assert_eq!(server.text(ALL).await, before, "{told}");
                    // The recipients' pages are HTML.
                    if !path.starts_with("/v1/email/") {
                        let error = &answer.json()["error"];
                        assert!(error.is_object() || error.is_string(), "{told}");
                    }
                } else {
                    taken += 1;
                }
            }
        }
    }
    // Both must happen often, or the test proves nothing.
    assert!(
        taken > 100 && refused > 200,
        "{taken} taken, {refused} refused"
    );
    server.drain().await;
    server.stop().await;
}
