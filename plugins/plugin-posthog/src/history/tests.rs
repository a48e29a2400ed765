use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::{
    Command, HttpError, HttpErrorKind, HttpMethod, Past, PastIn, PastPage, Settings, StepError,
};
use hogsend_plugin_kit::{self as kit, request, response};
use serde_json::{Value, json};

use crate::PostHog;

const KEY: &str = "phx_hush0123456789";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn ask(past: &PastIn, answer: impl FnMut(&Command) -> Result<Value, StepError>) -> Past {
    let settings = Settings::from([
        ("POSTHOG_HOST", "https://eu.i.posthog.com"),
        ("POSTHOG_PERSONAL_API_KEY", KEY),
        ("POSTHOG_PROJECT_ID", "7"),
    ]);
    let plugin = kit::start::<PostHog>(&settings).unwrap();
    let past = kit::call(plugin.as_ref(), method::EVENT_SOURCE_HISTORY, past, answer).unwrap();
    assert!(!format!("{past:?}").contains(KEY));
    past
}

fn since() -> PastIn {
    PastIn::new(at("2026-03-01T00:00:00Z"), None)
}

/// A row as PostHog answers it: objects as text, the time in the project's zone.
fn row(number: u32) -> Value {
    json!([
        format!("0190-{number:04}"),
        "signed_up",
        "u1",
        format!("2026-03-01T01:00:00.{number:06}+01:00"),
        r#"{"plan":"pro","$set":{"city":"Rome"}}"#,
        "person-1",
        r#"{"email":"ann@example.com"}"#
    ])
}

fn answered(rows: &[Value]) -> Result<Value, StepError> {
    response(
        200,
        &[],
        json!({ "results": rows, "columns": [] }).to_string(),
    )
}

fn page(past: Past) -> PastPage {
    match past {
        Past::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

/// The query of a request, and its values.
fn query(command: &Command) -> (String, Value) {
    let asked = request(command);
    assert_eq!(asked.method, HttpMethod::Post);
    assert_eq!(asked.url, "https://eu.posthog.com/api/projects/7/query/");
    let bearer = ("authorization".to_owned(), format!("Bearer {KEY}"));
    assert!(asked.headers.contains(&bearer));
    let body: Value = serde_json::from_slice(asked.body.as_slice()).unwrap();
    assert_eq!(body["query"]["kind"], "HogQLQuery");
    let sql = body["query"]["query"].as_str().unwrap().to_owned();
    (sql, body["query"]["values"].clone())
}

#[test]
fn an_event_is_read_as_its_webhook_would_be() {
    let read = page(ask(&since(), |_| answered(&[row(5)])));
    assert_eq!(read.next, None);
    let [event] = &read.events[..] else {
        panic!("{read:?}")
    };
    assert_eq!(event.name, "signed_up");
    assert_eq!(event.dedupe_key.as_deref(), Some("0190-0005"));
    assert_eq!(event.user_id.as_deref(), Some("u1"));
    assert_eq!(event.email.as_deref(), Some("ann@example.com"));
    assert_eq!(event.occurred_at, Some(at("2026-03-01T00:00:00.000005Z")));
    assert_eq!(event.properties["plan"], "pro");
    assert_eq!(event.contact_properties["city"], "Rome");
    assert_eq!(
        event.identities,
        [("posthog_person".to_owned(), "person-1".to_owned())]
    );
}

#[test]
fn the_values_of_a_query_travel_apart_from_it() {
    let names = vec!["it's".to_owned(), "b".to_owned()];
    let past = since().until(at("2026-03-02T00:00:00Z")).events(names);
    ask(&past, |command| {
        let (sql, values) = query(command);
        assert!(sql.contains("timestamp >= toDateTime({since})"), "{sql}");
        assert!(sql.contains("timestamp <= toDateTime({until})"), "{sql}");
        assert!(sql.contains("event IN ({event_0}, {event_1})"), "{sql}");
        assert!(
            sql.ends_with("ORDER BY timestamp, toString(uuid) LIMIT 500"),
            "{sql}"
        );
        assert_eq!(
            values,
            json!({
                "since": "2026-03-01T00:00:00.000000Z", "until": "2026-03-02T00:00:00.000000Z",
                "event_0": "it's", "event_1": "b"
            })
        );
        answered(&[])
    });
}

#[test]
fn pages_follow_each_other_by_time_and_id_until_one_is_not_full() {
    let all: Vec<Value> = (0..1_100).map(row).collect();
    let mut past = since();
    let mut read = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let got = page(ask(&past, |command| {
            let (sql, values) = query(command);
            let from = match values["id"].as_str() {
                None => 0,
                Some(id) => {
                    assert!(sql.contains(
                        "AND (timestamp > toDateTime({at}) \
                         OR (timestamp = toDateTime({at}) AND toString(uuid) > {id}))"
                    ));
                    let last = all.iter().position(|row| row[0] == id).unwrap();
                    assert_eq!(
                        at(all[last][3].as_str().unwrap()),
                        at(values["at"].as_str().unwrap())
                    );
                    last + 1
                }
            };
            answered(&all[from..all.len().min(from + 500)])
        }));
        sizes.push(got.events.len());
        read.extend(
            got.events
                .into_iter()
                .map(|event| event.dedupe_key.unwrap()),
        );
        past.cursor = got.next;
        if past.cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [500, 500, 100]);
    let ids: Vec<&str> = all.iter().map(|row| row[0].as_str().unwrap()).collect();
    assert_eq!(read, ids);
}

#[test]
fn a_page_whose_answer_does_not_arrive_is_asked_for_with_fewer_events() {
    let lost = || Err(HttpError::new(HttpErrorKind::Lost, "too large").into_step_error());
    let mut asked = Vec::new();
    let rows: Vec<Value> = (0..100).map(row).collect();
    let got = page(ask(&since(), |command| {
        let (sql, _) = query(command);
        asked.push(sql.rsplit(' ').next().unwrap().to_owned());
        if asked.len() == 1 {
            lost()
        } else {
            answered(&rows)
        }
    }));
    assert_eq!(asked, ["500", "100"]);
    // The next pages stay small.
    let past = PastIn::new(since().since, got.next);
    let over = ask(&past, |command| {
        assert!(query(command).0.ends_with("LIMIT 100"));
        answered(&[])
    });
    assert_eq!(page(over).next, None);
    let never = ask(&since(), |_| lost());
    assert!(
        matches!(
            never,
            Past::Unavailable {
                retry_after_ms: Some(10_000),
                ..
            }
        ),
        "{never:?}"
    );
}

#[test]
fn what_cannot_be_read_is_left_out_and_the_rest_is_read() {
    let mut nameless = row(2);
    nameless[1] = Value::Null;
    let mut timeless = row(3);
    timeless[3] = json!("yesterday");
    let mut broken = row(4);
    broken[4] = json!("{oops");
    let rows = [row(1), nameless, timeless, broken, json!("?"), row(6)];
    let got = page(ask(&since(), |_| answered(&rows)));
    let ids: Vec<_> = got
        .events
        .iter()
        .map(|it| it.dedupe_key.as_deref().unwrap())
        .collect();
    assert_eq!(ids, ["0190-0001", "0190-0006"]);
}

#[test]
fn a_refusal_says_how_long_to_wait_or_what_to_do() {
    let refused = |answer: &dyn Fn() -> Result<Value, StepError>| match ask(&since(), |_| answer())
    {
        Past::Unavailable {
            reason,
            retry_after_ms,
            ..
        } => (reason, retry_after_ms),
        other => panic!("{other:?}"),
    };
    for (status, header, wait, word) in [
        (429, Some("42"), Some(42_000), "limit"),
        (429, None, Some(60_000), "limit"),
        (500, None, Some(10_000), "500"),
        (503, Some("3"), Some(3_000), "503"),
        (401, None, None, "query:read"),
        (403, None, None, "POSTHOG_PERSONAL_API_KEY"),
        (404, None, None, "POSTHOG_PROJECT_ID"),
        (400, None, None, "400"),
        (200, None, None, "POSTHOG_HOST"),
    ] {
        let headers: Vec<(&str, &str)> = header
            .map(|text| ("retry-after", text))
            .into_iter()
            .collect();
        let (reason, waits) = refused(&|| response(status, &headers, KEY));
        assert_eq!(waits, wait, "{status}");
        assert!(reason.contains(word), "{status}: {reason}");
    }
    let connect = HttpError::new(HttpErrorKind::Connect, "no connection");
    assert_eq!(
        refused(&|| Err(connect.clone().into_step_error())).1,
        Some(10_000)
    );
    // Without times no next page can be asked for.
    let full: Vec<Value> = (0..500).map(|_| json!([])).collect();
    assert_eq!(refused(&|| answered(&full)).1, None);
}

#[test]
fn without_host_or_key_the_missing_setting_is_named() {
    for (settings, missing) in [
        (&[][..], "POSTHOG_HOST is not set"),
        (
            &[("POSTHOG_HOST", "https://us.posthog.com")],
            "POSTHOG_PERSONAL_API_KEY is not set",
        ),
    ] {
        let settings: Settings = settings.iter().copied().collect();
        let plugin = kit::start::<PostHog>(&settings).unwrap();
        let answer = |asked: &Command| -> Result<Value, StepError> { panic!("asked {asked:?}") };
        let past: Past = kit::call(
            plugin.as_ref(),
            method::EVENT_SOURCE_HISTORY,
            since(),
            answer,
        )
        .unwrap();
        let Past::Unavailable {
            reason,
            retry_after_ms: None,
            ..
        } = past
        else {
            panic!("{past:?}")
        };
        assert!(reason.starts_with(missing), "{reason}");
    }
}
