//! What a file of the operator can say, apart from authentication.

use hogsend_plugin_api::{Reading, Settings, SourceEvent};
use serde_json::{Value, json};

use super::{described, webhook};

const SECRET: &str = "[authentication]\nscheme = 'header'\nheader = 'x-secret'\nsecret = 'ACME'\n";

fn reading(text: &str, headers: &[(&str, &str)], body: &Value) -> Reading {
    let source = described(&format!("{text}\n{SECRET}"), &Settings::default());
    source
        .read_webhook(&webhook(headers, &body.to_string()))
        .unwrap()
}

fn events(text: &str, body: &Value) -> Vec<SourceEvent> {
    match reading(text, &[("x-id", "h1")], body) {
        Reading::Events(events) => events,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_array_of_events_is_read_one_by_one_and_the_rest_is_skipped() {
    let text = "items = '/events'\nname = '/kind'\nkey = '/id'\nuser_id = 'body:/account'\n\
                where = [{ at = '/kind', none_of = ['noise'] }]";
    let body = json!({ "account": 7, "events": [
        { "kind": "a", "id": "1" }, { "kind": "noise" }, { "id": "3" }, { "kind": "b", "id": 4 }
    ] });
    let read = events(text, &body);
    let told: Vec<_> = read
        .iter()
        .map(|event| {
            (
                event.name.as_str(),
                event.dedupe_key.as_deref(),
                event.user_id.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("a", Some("1"), Some("7")), ("b", Some("4"), Some("7"))]
    );
    for (body, words) in [
        (json!({ "events": [] }), "no events at /events"),
        (json!({}), "no events at /events"),
        (
            json!({ "events": [{ "kind": "noise" }, { "id": 1 }] }),
            "/kind is 'noise'",
        ),
        (json!({ "events": [{ "kind": ["x"] }] }), "no name"),
    ] {
        match reading(text, &[], &body) {
            Reading::Skipped { reason, .. } => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_that_the_events_of_a_body_share_is_told_apart_by_position() {
    let text = "items = ''\nname = '/kind'\nkey = 'header:x-id'";
    let keys = |body: &Value| -> Vec<_> {
        let read = events(text, body).into_iter();
        read.map(|event| event.dedupe_key.unwrap()).collect()
    };
    assert_eq!(
        keys(&json!([{ "kind": "a" }, { "kind": "b" }])),
        ["h1#0", "h1#1"]
    );
    assert_eq!(keys(&json!([{ "kind": "a" }])), ["h1"]);
    assert_eq!(keys(&json!({ "kind": "a" })), ["h1"]);
}

#[test]
fn names_are_constant_or_from_a_place_or_translated() {
    let name = |text: &str, kind: Value| {
        events(text, &json!({ "kind": kind, "n": "x" }))[0]
            .name
            .clone()
    };
    assert_eq!(name("name = 'order.placed'", json!(1)), "order.placed");
    assert_eq!(name("name = '/kind'", json!("k")), "k");
    assert_eq!(name("name = 'acme.{/kind}'", json!("k")), "acme.k");
    assert_eq!(name("name = ['/none', '/kind']", json!("k")), "k");
    assert_eq!(name("name = { value = 'a:b' }", json!("k")), "a:b");
    let table = "name = { from = '/kind', names = { signup = 'user.created' }, others = 'skip' }";
    assert_eq!(name(table, json!("signup")), "user.created");
    match reading(table, &[], &json!({ "kind": "other" })) {
        Reading::Skipped { reason, .. } => {
            assert!(reason.contains("'other' is not among"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        name(&table.replace("skip", "keep"), json!("other")),
        "other"
    );
}

#[test]
fn properties_are_picked_or_whole_and_converted() {
    let text = "name = 'e'\nuser_id = '/user'\n\
        [properties]\n'*' = '/data'\nplan = ['/none', '/data/level']\nat = { from = '/at', as = 'time', unit = 'seconds' }\n\
        price = { from = '/cents', as = 'money', currency = '/cur' }\nsource = { value = 'acme' }\n\
        count = { from = '/count', as = 'text' }\nlabel = '{/data/level}/{/user}'\n\
        big = { from = '/count', where = [{ at = '/count', equals = 3 }] }\n\
        [contact_properties]\nlevel = '/data/level'\n[identities]\nacme_customer = '/customer'\n";
    let body = json!({
        "user": 42, "data": { "level": "gold", "plan": "old", "nil": null }, "at": NOW, "cents": 1999,
        "cur": "eur", "count": 3.0, "customer": { "id": 1 }
    });
    let read = events(text, &body).remove(0);
    assert_eq!(read.user_id.as_deref(), Some("42"));
    assert_eq!(
        json!(read.properties),
        json!({
            "level": "gold", "plan": "gold", "nil": null, "at": "2023-11-14T22:13:20Z", "price": "19.99 EUR",
            "source": "acme", "count": "3.0", "label": "gold/42", "big": 3.0
        })
    );
    assert_eq!(json!(read.contact_properties), json!({ "level": "gold" }));
    // An object is no id.
    assert_eq!(read.identities, []);
}

const NOW: i64 = super::NOW;

#[test]
fn the_time_is_read_in_its_unit_or_left_out() {
    for (text, value, expected) in [
        (
            "time = '/at'",
            json!("2023-11-14T23:13:20+01:00"),
            Some(NOW),
        ),
        (
            "time = { from = '/at', unit = 'seconds' }",
            json!(NOW),
            Some(NOW),
        ),
        (
            "time = { from = '/at', unit = 'milliseconds' }",
            json!(NOW * 1_000),
            Some(NOW),
        ),
        (
            "time = { from = ['/none', '/at'], unit = 'seconds' }",
            json!(NOW),
            Some(NOW),
        ),
        ("time = '/at'", json!(NOW), None),
        (
            "time = { from = '/at', unit = 'seconds' }",
            json!("soon"),
            None,
        ),
        (
            "time = { from = '/at', unit = 'seconds' }",
            json!(1e300),
            None,
        ),
    ] {
        let read = events(&format!("name = 'e'\n{text}"), &json!({ "at": value })).remove(0);
        let found = read.occurred_at.map(|at| at.timestamp());
        assert_eq!(found, expected, "{text} {value}");
    }
}

#[test]
fn the_first_rule_whose_conditions_hold_reads_the_event() {
    let text = "user_id = '/user'\nproperties = { a = '/a' }\n\
        [[events]]\nwhere = [{ at = '/n', at_most = '/limit' }]\nname = 'low'\n\
        [[events]]\nwhere = [{ at = '/kind', one_of = ['x', 7, true] }, { at = '/gone', exists = false }]\nname = 'listed'\n\
        user_id = '/other'\nproperties = { b = '/b' }\n\
        [[events]]\nwhere = [{ at = '/x', same_as = '/y' }]\nskip = 'twins'\n\
        [[events]]\nwhere = [{ at = 'header:x-id', equals = 'h2' }]\nname = 'header'\n";
    let name = |body: Value| match reading(text, &[("x-id", "h1")], &body) {
        Reading::Events(events) => events[0].name.clone(),
        Reading::Skipped { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(json!({ "n": 1, "limit": 1.0 })), "low");
    assert_eq!(name(json!({ "kind": 7.0 })), "listed");
    assert_eq!(name(json!({ "kind": true, "gone": null })), "listed");
    assert_eq!(name(json!({ "x": [1], "y": [1] })), "twins");
    let none = name(json!({ "n": 2, "limit": 1, "kind": "7", "gone": 1, "x": 1 }));
    assert_eq!(none, "no rule of this source takes the event: /n is '2'");
    let read = events(
        text,
        &json!({ "kind": "x", "user": "u", "other": "o", "a": 1, "b": 2 }),
    )
    .remove(0);
    assert_eq!(read.user_id.as_deref(), Some("o"));
    assert_eq!(json!(read.properties), json!({ "a": 1, "b": 2 }));
}
