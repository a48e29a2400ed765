//! Calls the plugin as the host does.

use std::collections::BTreeSet;

use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{Capture, Captured, HttpError, HttpErrorKind, HttpRequest, Settings};
use hogsend_plugin_kit as kit;
use serde_json::{Value, json};

use crate::Slack;

const URL: &str = "https://hooks.slack.com/services/T0/B0/hush0123456789";

fn capture(number: u128, event: &str, properties: Value) -> Capture {
    serde_json::from_value(json!({
        "id": format!("00000000-0000-0000-0000-{number:012x}"), "distinct_id": "user-1",
        "event": event, "properties": properties, "occurred_at": kit::beginning(),
    }))
    .unwrap()
}

fn settings(more: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::from([("SLACK_WEBHOOK_URL", URL)]);
    for (name, value) in more {
        settings.insert(name, value);
    }
    settings
}

/// Posts the batch; what was posted within the last second is in `cache`.
fn post(
    settings: &Settings,
    batch: &[Capture],
    (status, headers, body): (u16, &[(&str, &str)], &str),
    cache: &mut BTreeSet<String>,
) -> (Captured, Vec<HttpRequest>) {
    let plugin = kit::start::<Slack>(settings).unwrap();
    let mut requests = Vec::new();
    let captured = kit::call(
        plugin.as_ref(),
        method::ANALYTICS_CAPTURE,
        batch.to_vec(),
        |asked| match asked.kind.as_str() {
            "cache_get" => {
                let known = cache.contains(asked.args["key"].as_str().unwrap());
                Ok(json!(known.then_some("1")))
            }
            "cache_put" => {
                assert_eq!(asked.args["ttl_ms"], 1_000);
                cache.insert(asked.args["key"].as_str().unwrap().to_owned());
                Ok(Value::Null)
            }
            _ => {
                requests.push(kit::request(asked));
                kit::response(status, headers, body)
            }
        },
    );
    (captured.unwrap(), requests)
}

const OK: (u16, &[(&str, &str)], &str) = (200, &[], "ok");

fn text(request: &HttpRequest) -> String {
    let body: Value = serde_json::from_slice(request.body.as_slice()).unwrap();
    assert_eq!(body["unfurl_links"], false);
    body["text"].as_str().unwrap().to_owned()
}

#[test]
fn the_chosen_events_of_a_batch_are_one_message() {
    let batch = [
        capture(1, "email.bounced", json!({ "reason": "no such user" })),
        capture(2, "email.sent", json!({})),
        capture(3, "email.complained", json!({ "count": 3, "gone": null })),
        kit::with(capture(4, "", json!({ "plan": "pro" })), |one| {
            one.event = None;
        }),
    ];
    let (captured, requests) = post(&settings(&[]), &batch, OK, &mut BTreeSet::new());
    assert_eq!((captured, requests.len()), (Captured::Taken, 1));
    assert_eq!(requests[0].url, URL);
    assert_eq!(
        text(&requests[0]),
        "*email.bounced* of user-1, 2026-01-01 00:00 UTC · reason: no such user\n\
         *email.complained* of user-1, 2026-01-01 00:00 UTC · count: 3 · gone: null"
    );
}

#[test]
fn the_setting_chooses_and_what_is_not_chosen_is_unwanted() {
    let batch = [capture(1, "email.sent", json!({}))];
    for (events, wanted) in [("email.*", true), ("*", true), ("email.bounced", false)] {
        let settings = settings(&[("SLACK_EVENTS", events)]);
        let (captured, requests) = post(&settings, &batch, OK, &mut BTreeSet::new());
        let expected = match wanted {
            true => (Captured::Taken, 1),
            false => (Captured::Unwanted, 0),
        };
        assert_eq!((captured, requests.len()), expected, "{events}");
    }
    let bare = Settings::from([("SLACK_EVENTS", "*")]);
    let (captured, requests) = post(&bare, &batch, OK, &mut BTreeSet::new());
    assert_eq!((captured, requests.len()), (Captured::Unwanted, 0));
    let error = kit::start::<Slack>(&settings(&[("SLACK_EVENTS", "*.x")]));
    let message = error.err().unwrap().message;
    assert!(message.starts_with("SLACK_EVENTS has '*.x'"), "{message}");
}

#[test]
fn text_of_others_mentions_nobody_and_stays_short() {
    let evil =
        json!({ "name": "<!channel> & <https://evil.test|click>\nnext", "long": "ü".repeat(500) });
    let batch = [capture(1, "email.bounced", evil)];
    let (_, requests) = post(&settings(&[]), &batch, OK, &mut BTreeSet::new());
    let text = text(&requests[0]);
    assert!(
        text.contains("&lt;!channel&gt; &amp; &lt;https://evil.test|click&gt; next"),
        "{text}"
    );
    assert!(!text.contains('<') && !text.contains('\n'), "{text}");
    assert!(text.contains(&format!("long: {}…", "ü".repeat(150))));

    let many: serde_json::Map<String, Value> =
        (0..30).map(|n| (format!("p{n:02}"), json!(n))).collect();
    let batch: Vec<_> = (0..20)
        .map(|n| capture(n, "email.bounced", Value::Object(many.clone())))
        .collect();
    let (_, requests) = post(&settings(&[]), &batch, OK, &mut BTreeSet::new());
    let text = self::text(&requests[0]);
    assert!(text.contains("p07: 7 · 22 more") && !text.contains("p08"));
    assert_eq!(text.lines().count(), 20);
}

#[test]
fn more_events_than_a_message_holds_are_halved_by_the_host() {
    let batch: Vec<_> = (0..21)
        .map(|n| capture(n, "email.bounced", json!({})))
        .collect();
    let (captured, requests) = post(&settings(&[]), &batch, OK, &mut BTreeSet::new());
    assert!(
        matches!(captured, Captured::Rejected { .. }) && requests.is_empty(),
        "{captured:?}"
    );
}

#[test]
fn there_is_one_message_a_second() {
    let batch = [capture(1, "email.bounced", json!({}))];
    let mut cache = BTreeSet::new();
    let (captured, _) = post(&settings(&[]), &batch, OK, &mut cache);
    assert_eq!(captured, Captured::Taken);
    let (captured, requests) = post(&settings(&[]), &batch, OK, &mut cache);
    assert!(requests.is_empty());
    assert!(
        matches!(
            captured,
            Captured::Retry {
                retry_after_ms: Some(1_000),
                ..
            }
        ),
        "{captured:?}"
    );
    cache.clear();
    let (captured, _) = post(&settings(&[]), &batch, OK, &mut cache);
    assert_eq!(captured, Captured::Taken);
}

#[test]
fn each_answer_means_what_slack_documents() {
    for (status, body, word) in [
        (200, "ok", "taken"),
        (200, "ok\n", "taken"),
        (200, "<html>", "blocked"),
        (200, "", "blocked"),
        (204, "", "blocked"),
        (302, "", "blocked"),
        (400, "invalid_payload", "rejected"),
        (400, "user_not_found", "rejected"),
        (400, "no_text", "rejected"),
        (400, "invalid_blocks", "rejected"),
        (400, "too_many_attachments", "rejected"),
        (413, "", "rejected"),
        (403, "action_prohibited", "blocked"),
        (403, "invalid_token", "blocked"),
        (403, "posting_to_general_channel_denied", "blocked"),
        (404, "channel_not_found", "blocked"),
        (404, "no_service", "blocked"),
        (404, "no_team", "blocked"),
        (410, "channel_is_archived", "blocked"),
        (408, "", "retry"),
        (429, "rate_limited", "retry"),
        (500, "rollup_error", "retry"),
        (503, "", "retry"),
    ] {
        let batch = [capture(1, "email.bounced", json!({}))];
        let answer: (u16, &[(&str, &str)], &str) = (status, &[("retry-after", "30")], body);
        let (captured, _) = post(&settings(&[]), &batch, answer, &mut BTreeSet::new());
        let found = match captured {
            Captured::Taken => "taken",
            Captured::Rejected { reason, .. } => {
                assert!(reason.contains(body), "{reason}");
                "rejected"
            }
            Captured::Blocked { reason, .. } => {
                assert!(
                    reason.contains(body) && reason.contains("SLACK_WEBHOOK_URL"),
                    "{reason}"
                );
                "blocked"
            }
            Captured::Retry { retry_after_ms, .. } => {
                assert_eq!(retry_after_ms, Some(30_000));
                "retry"
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(found, word, "{status} {body}");
    }
}

#[test]
fn reasons_never_hold_the_url() {
    let batch = [capture(1, "email.bounced", json!({}))];
    for before in [0, 40, 80, 95] {
        for secret in [URL, "/services/T0/B0/hush0123456789"] {
            let body = format!("{}{secret}", "x".repeat(before));
            for status in [200, 400, 403, 429, 500] {
                let answer: (u16, &[(&str, &str)], &str) = (status, &[], &body);
                let (captured, _) = post(&settings(&[]), &batch, answer, &mut BTreeSet::new());
                assert!(!format!("{captured:?}").contains("/T0"), "{captured:?}");
            }
        }
    }
}

#[test]
fn a_missing_answer_is_retried_and_a_refused_request_waits_for_a_fix() {
    let plugin = kit::start::<Slack>(&settings(&[])).unwrap();
    for (kind, blocked) in [
        (HttpErrorKind::Lost, false),
        (HttpErrorKind::Connect, false),
        (HttpErrorKind::Refused, true),
    ] {
        let error = HttpError::new(kind, "no answer");
        let batch = vec![capture(1, "email.bounced", json!({}))];
        let captured: Captured = kit::call(
            plugin.as_ref(),
            method::ANALYTICS_CAPTURE,
            batch,
            |asked| match asked.kind.as_str() {
                "http" => Err(error.clone().into_step_error()),
                _ => Ok(Value::Null),
            },
        )
        .unwrap();
        let found = matches!(captured, Captured::Blocked { .. });
        assert_eq!(found, blocked, "{captured:?}");
    }
}
