//! What comes from outside can always be stored: it is cleaned, cut to size, or refused by name.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::on_each_store;
use crate::support::resend::Resend;
use crate::support::{Server, Store, posthog};

on_each_store! {
    async fn text_that_cannot_be_stored_costs_nobody_an_event(server: Server) {
        let bodies = [
            ("/v1/events", r#"{"name":"t.odd","userId":"u1","eventProperties":{"cut \ud83d":"a\u0000b"}}"#),
            ("/v1/ingest", r#"{"event":"t.odd","userId":"u\udc00","idempotencyKey":"\u0000"}"#),
            ("/v1/events/batch", r#"{"events":[{"name":"t.odd","userId":"u3"},{"name":"t.odd","userId":"\ud800\ud800"}]}"#),
        ];
        for (path, body) in bodies {
            let answer = server.post_raw(path, body.into()).await;
            assert_eq!(answer.status, 202, "{path}: {}", answer.text());
        }
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name = 't.odd'").await, 4);
        let stored = server.text("SELECT properties::text FROM user_events WHERE properties <> '{}'").await;
        assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), json!({ "cut \u{fffd}": "a\u{fffd}b" }));
        let body = r#"{"name":"t.odd","userId":"u1","contactProperties":{"note\ud83d":"\u0000"}}"#;
        let answer = server.post_raw("/v1/events", body.into()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let stored = server.text("SELECT properties::text FROM contacts WHERE external_id = 'u1'").await;
        assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), json!({ "note\u{fffd}": "\u{fffd}" }));
        server.stop().await;
    }
}

on_each_store! {
    async fn a_source_keeps_the_event_and_drops_only_what_does_not_fit(server: Server) {
        let cut = r#"{"event":{"uuid":"sur-1","event":"t.seen","distinct_id":"sur1","properties":{"title":"cut \ud83d","$exception":{"msg":"a\u0000b"}}},"person":{"properties":{"email":"sur1@ex.test"}}}"#;
        let answer = server.post_raw("/v1/webhooks/posthog", cut.into()).await;
        assert_eq!((answer.status, &answer.json()["event"]), (StatusCode::OK, &json!("t.seen")));
        assert_eq!(
            server.text("SELECT properties->>'title' FROM user_events").await,
            "cut \u{fffd}"
        );
        // Neither sizes, nor names, nor numbers, nor depth lose the event.
        let mut odd = posthog("odd-1", "t.seen", "u2", "u2@ex.test", "Ann");
        odd["event"]["event"] = json!("n".repeat(10_000));
        odd["event"]["uuid"] = json!("k".repeat(10_000));
        odd["event"]["properties"]["big"] = json!("x".repeat(400 * 1024));
        odd["person"]["properties"]["name"] = json!({ "n".repeat(900): 1 });
        let mut text = odd.to_string();
        text = text.replacen("\"plan\":\"pro\"", &format!("\"plan\":\"pro\",\"huge\":1e999,\"deep\":{}1{}", "[".repeat(500), "]".repeat(500)), 1);
        let answer = server.post_raw("/v1/webhooks/posthog", text.into_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(server.count("SELECT count(*) FROM user_events WHERE name LIKE 'nnn%' AND properties->>'plan' = 'pro' AND NOT properties ? 'big'").await, 1);
        // A repeat of it is still known.
        let mut again = odd.clone();
        again["event"]["event"] = json!("n".repeat(10_000));
        server.post("/v1/webhooks/posthog", &again).await;
        assert_eq!(server.count("SELECT count(*) FROM user_events").await, 2);
        // Where nobody is left to tell of, the answer says so.
        let mut nobody = posthog("odd-2", "t.seen", "u", "", "Ann");
        nobody["event"]["distinct_id"] = json!("d".repeat(10_000));
        let answer = server.post("/v1/webhooks/posthog", &nobody).await;
        assert_eq!((answer.status, &answer.json()["skipped"]), (StatusCode::OK, &json!(true)), "{}", answer.text());
        assert!(answer.json()["reason"].as_str().unwrap().contains("256"), "{}", answer.text());
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_id_cannot_be_stored_is_sent_once_and_its_news_are_taken() {
    for suffix in ["\0", &"é".repeat(8_000)] {
        let resend = Resend::start().await;
        resend.end_ids_with(suffix);
        let server = crate::delivery::server(&resend, &[]).await;
        let body = json!({ "event": "t.mail", "userId": "ann", "userEmail": "ann@example.com", "properties": { "category": "journey" } });
        assert_eq!(server.post("/v1/ingest", &body).await.status, 202);
        server.drain().await;
        server.advance(Duration::from_secs(3_600)).await;
        assert_eq!(resend.accepted().len(), 1);
        assert_eq!(server.text("SELECT status FROM email_sends").await, "sent");
        let id = resend.accepted()[0].0.clone();
        let news = json!({ "type": "email.bounced", "created_at": "2026-03-02T09:10:00Z", "data": {
            "email_id": id, "created_at": "2026-03-02T09:10:00Z", "to": ["ann\0@example.com"],
            "bounce": { "message": "a\0b".repeat(5_000), "type": "Permanent", "subType": "General" } } });
        let request = Request::post("/v1/webhooks/resend")
            .header("content-type", "application/json")
            .header("svix-id", "k".repeat(3_000))
            .body(Body::from(news.to_string()));
        let answer = server.request(request.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            server.text("SELECT status FROM email_sends").await,
            "bounced"
        );
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_any_shape_costs_little_and_its_answer_is_short() {
    let server = Server::start(Store::native().await).await;
    let zeros = vec!["0"; 250_000].join(",");
    let shapes = [
        format!(
            "{{\"event\":\"a\",\"userId\":\"u\",\"properties\":{{\"{}\":[{zeros}]}}}}",
            "n".repeat(480 * 1024)
        ),
        format!(
            "{{\"event\":\"a\",\"userId\":\"u\",\"properties\":{{\"x\":[{}]}}}}",
            vec!["\"\\u0000\""; 110_000].join(",")
        ),
        format!(
            "{{\"event\":\"a\",\"userId\":\"u\",\"properties\":{{{}}}}}",
            (0..60_000)
                .map(|n| format!("\"k{n}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!("{{\"event\":\"{}\",\"userId\":5}}", "n".repeat(1_000_000)),
        format!("{{\"event\":[{zeros}],\"userId\":\"u\"}}"),
        format!(
            "{{\"event\":\"a\",\"userId\":\"u\",\"timestamp\":\"{}\"}}",
            "9".repeat(1_000_000)
        ),
    ];
    for body in shapes {
        let shown = body[..60].to_owned();
        let begun = std::time::Instant::now();
        let answer = server.post_raw("/v1/ingest", body.into_bytes()).await;
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        assert!(
            answer.body.len() < 20_000,
            "{shown}: {} bytes",
            answer.body.len()
        );
        // Linear work takes milliseconds; an unoptimised build on a busy machine still stays far
        // below what work in proportion to the square would take.
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{shown}: {:?}",
            begun.elapsed()
        );
    }
    // Each of a batch's thousand events may be wrong.
    let events: Vec<Value> = (0..1_000)
        .map(|_| json!({ "name": "", "userId": "x".repeat(300) }))
        .collect();
    let answer = server
        .post("/v1/events/batch", &json!({ "events": events }))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["error"]["issues"].as_array().unwrap().len(),
        100
    );
    assert_eq!(server.count("SELECT count(*) FROM contacts").await, 0);
    server.stop().await;
}

/// JSON text in which any string may hold what cannot be stored.
fn hostile() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-z]{0,8}",
        Just("\\ud83d".to_owned()),
        Just("a\\u0000b".to_owned()),
        Just("ann@example.com".to_owned()),
        Just("2026-03-02T08:00:00Z".to_owned()),
        Just("-9999-01-01T00:00:00Z".to_owned()),
        (1_usize..4_000).prop_map(|length| "x".repeat(length)),
    ];
    let quoted = text.prop_map(|text| format!("\"{text}\""));
    let leaf = prop_oneof![
        4 => quoted.clone(),
        1 => Just("null".to_owned()),
        1 => Just("1e308".to_owned()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((quoted.clone(), inner), 0..6).prop_map(|all| {
                let all: Vec<_> = all
                    .iter()
                    .map(|(name, value)| format!("{name}:{value}"))
                    .collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_json_makes_a_fault_of_ours() {
    let server = Server::start(Store::native().await).await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..150 {
        let mut part = || hostile().new_tree(&mut runner).unwrap().current();
        let (one, two, three) = (part(), part(), part());
        for (path, body) in [
            (
                "/v1/webhooks/posthog",
                format!(
                    "{{\"event\":{{\"event\":\"t.x\",\"uuid\":{one},\"distinct_id\":\"u1\",\"timestamp\":{one},\"properties\":{two}}},\"person\":{{\"properties\":{{\"a\":{three},\"email\":{one}}}}}}}"
                ),
            ),
            (
                "/v1/webhooks/resend",
                format!(
                    "{{\"type\":\"email.bounced\",\"created_at\":\"2026-03-02T08:00:00Z\",\"data\":{{\"email_id\":{one},\"to\":[{two}],\"bounce\":{three}}}}}"
                ),
            ),
            (
                "/v1/webhooks/postmark",
                format!(
                    "{{\"RecordType\":\"Bounce\",\"MessageID\":{one},\"Email\":{two},\"Description\":{three}}}"
                ),
            ),
            (
                "/v1/webhooks/mailgun",
                format!(
                    "{{\"event-data\":{{\"event\":\"failed\",\"severity\":{one},\"timestamp\":{three},\"recipient\":{two},\"delivery-status\":{three}}}}}"
                ),
            ),
            (
                "/v1/events",
                format!(
                    "{{\"name\":{one},\"userId\":\"u1\",\"eventProperties\":{{\"a\":{two}}},\"contactProperties\":{{\"b\":{three}}}}}"
                ),
            ),
            (
                "/v1/events/batch",
                format!(
                    "{{\"events\":[{one},{{\"name\":\"t.x\",\"userId\":{two},\"timestamp\":{three}}}]}}"
                ),
            ),
        ] {
            let answer = server.post_raw(path, body.clone().into_bytes()).await;
            assert!(
                !answer.status.is_server_error(),
                "{path} {body}: {}",
                answer.text()
            );
        }
    }
    let answer = server.call(Method::GET, "/v1/health", "", None).await;
    assert_eq!(answer.status, 200);
    server.stop().await;
}
