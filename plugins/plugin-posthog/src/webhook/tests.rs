use hogsend_plugin_api::{Reading, Refusal, SourceEvent, Webhook};
use serde_json::{Value, json};

use super::read;

fn webhook(headers: &[(&str, &str)], body: &Value) -> Webhook {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let headers = headers.iter().map(own).collect();
    Webhook::new(headers, body.to_string(), chrono::DateTime::UNIX_EPOCH)
}

fn body() -> Value {
    json!({
        "event": {
            "uuid": "0190", "event": "signed_up", "distinct_id": "u1",
            "timestamp": "2026-03-01T10:00:00+01:00", "properties": { "plan": "pro" }
        },
        "person": { "id": "p", "properties": { "email": "a@b.co", "name": "A" } }
    })
}

fn event(body: &Value) -> SourceEvent {
    match read(&[], &webhook(&[], body)).unwrap() {
        Reading::Events(mut events) => events.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_we_sent_to_posthog_are_recognized_by_their_id_only() {
    let mut body = body();
    // Anyone can set that property, for example another installation.
    body["event"]["properties"]["$lib"] = json!("hogsend");
    assert_eq!(event(&body).name, "signed_up");
    assert_eq!(event(&body).dedupe_key.as_deref(), Some("0190"));
}

#[test]
fn every_field_goes_where_it_belongs() {
    let event = event(&body());
    assert_eq!(event.name, "signed_up");
    assert_eq!(event.dedupe_key.as_deref(), Some("0190"));
    assert_eq!(event.user_id.as_deref(), Some("u1"));
    assert_eq!(event.email.as_deref(), Some("a@b.co"));
    assert_eq!(
        event.occurred_at.unwrap().to_rfc3339(),
        "2026-03-01T09:00:00+00:00"
    );
    assert_eq!(json!(event.properties), json!({ "plan": "pro" }));
    assert_eq!(
        json!(event.contact_properties),
        json!({ "email": "a@b.co", "name": "A" })
    );
    assert_eq!(event.identities, [("posthog_person".into(), "p".into())]);
}

#[test]
fn a_visitors_id_is_no_id_of_the_product() {
    for (name, properties, visitor) in [
        (
            "$pageview",
            json!({ "$process_person_profile": false }),
            true,
        ),
        ("$pageview", json!({ "$is_identified": false }), true),
        ("$pageview", json!({ "$is_identified": "false" }), true),
        ("$pageview", json!({ "$device_id": "u1" }), true),
        (
            "$pageview",
            json!({ "$device_id": "d", "$is_identified": true }),
            false,
        ),
        (
            "$pageview",
            json!({ "$process_person_profile": true }),
            false,
        ),
        ("signed_up", json!({}), false),
        (
            "$identify",
            json!({ "$anon_distinct_id": "d", "$is_identified": false }),
            false,
        ),
        (
            "$identify",
            json!({ "$anon_distinct_id": "u1", "$is_identified": false }),
            true,
        ),
    ] {
        let mut body = body();
        body["event"]["event"] = json!(name);
        body["event"]["properties"] = properties.clone();
        let event = event(&body);
        let own = if visitor {
            &event.anonymous_id
        } else {
            &event.user_id
        };
        assert_eq!(own.as_deref(), Some("u1"), "{name} {properties}");
        assert_ne!(event.anonymous_id.is_some(), event.user_id.is_some());
    }
}

#[test]
fn events_that_join_ids_name_them() {
    let both = |kinds: &[&str], id: &str| {
        let all = kinds.iter().map(|kind| ((*kind).to_owned(), id.to_owned()));
        all.collect::<Vec<_>>()
    };
    for (name, properties, joined) in [
        (
            "$identify",
            json!({ "$anon_distinct_id": "d" }),
            both(&["anonymous"], "d"),
        ),
        ("$identify", json!({ "$anon_distinct_id": "u1" }), vec![]),
        ("$identify", json!({ "$anon_distinct_id": ["d"] }), vec![]),
        (
            "$create_alias",
            json!({ "alias": "b" }),
            both(&["user", "anonymous"], "b"),
        ),
        (
            "$merge_dangerously",
            json!({ "alias": 7 }),
            both(&["user", "anonymous"], "7"),
        ),
        (
            "$pageview",
            json!({ "alias": "b", "$anon_distinct_id": "d" }),
            vec![],
        ),
    ] {
        let mut body = body();
        body["person"] = json!({});
        body["event"]["event"] = json!(name);
        body["event"]["properties"] = properties.clone();
        assert_eq!(event(&body).identities, joined, "{name} {properties}");
    }
}

#[test]
fn what_an_event_sets_is_known_of_the_person() {
    let mut body = body();
    body["event"]["properties"] = json!({
        "$set": { "plan": "team", "email": "set@example.com" },
        "$set_once": { "plan": "free", "source": "ad", "email": "once@example.com" },
        "$unset": ["old", 7]
    });
    let read = event(&body);
    assert_eq!(read.email.as_deref(), Some("a@b.co"));
    let known = &read.contact_properties;
    assert_eq!(
        (&known["plan"], &known["source"]),
        (&json!("team"), &json!("ad"))
    );
    assert_eq!((&known["name"], &known["old"]), (&json!("A"), &json!(null)));
    body["person"] = json!(null);
    assert_eq!(event(&body).email.as_deref(), Some("set@example.com"));
    body["event"]["properties"]["$set"] = json!("no object");
    let read = event(&body);
    assert_eq!(read.email.as_deref(), Some("once@example.com"));
    assert_eq!(read.contact_properties["plan"], "free");
}

#[test]
fn parts_may_arrive_as_text_and_ids_as_numbers() {
    let mut loose = body();
    loose["event"]["distinct_id"] = json!(42);
    let text =
        json!({ "event": loose["event"].to_string(), "person": loose["person"].to_string() });
    assert_eq!(event(&text).user_id.as_deref(), Some("42"));
    assert_eq!(event(&text).email.as_deref(), Some("a@b.co"));
    loose["event"]["properties"] = json!(r#"{"plan":"pro"}"#);
    assert_eq!(json!(event(&loose).properties), json!({ "plan": "pro" }));
}

#[test]
fn only_the_event_and_whom_it_is_about_are_required() {
    for person in [
        json!(null),
        json!(""),
        json!("null"),
        json!({}),
        json!({ "properties": null }),
    ] {
        let bare =
            json!({ "event": { "event": "e", "distinct_id": "d", "uuid": "" }, "person": person });
        let mut expected = SourceEvent::new("e");
        expected.user_id = Some("d".into());
        assert_eq!(event(&bare), expected);
    }
    let alone = json!({ "event": { "event": "e", "distinct_id": "d" } });
    assert_eq!(event(&alone).name, "e");
}

#[test]
fn any_offset_is_read_and_kept_as_utc() {
    for (given, utc) in [
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00+00:00"),
        (
            "2026-03-01T10:00:00.123456-07:30",
            "2026-03-01T17:30:00.123456+00:00",
        ),
        ("2026-03-01T10:00:00+00:00", "2026-03-01T10:00:00+00:00"),
    ] {
        let mut one = body();
        one["event"]["timestamp"] = json!(given);
        assert_eq!(event(&one).occurred_at.unwrap().to_rfc3339(), utc);
    }
}

#[test]
fn a_time_that_is_none_leaves_the_event() {
    for given in [
        json!("soon"),
        json!("2026-03-01T10:00:00"),
        json!("2026-02-30T00:00:00Z"),
        json!(1_700_000_000),
        json!(null),
        json!([]),
    ] {
        let mut one = body();
        one["event"]["timestamp"] = given.clone();
        assert_eq!(event(&one).occurred_at, None, "{given}");
        assert_eq!(event(&one).name, "signed_up");
    }
}

#[test]
fn an_email_is_taken_only_where_it_is_one() {
    for (given, taken) in [
        (json!(" ann@example.com "), Some("ann@example.com")),
        (json!("user+tag@exämple.de"), Some("user+tag@exämple.de")),
        (json!("none"), None),
        (json!("Ann <ann@example.com>"), None),
        (json!("a@b@example.com"), None),
        (json!("a@.example.com"), None),
        (json!("a@-b.example"), None),
        (json!(".a@example.com"), None),
        (json!(7), None),
        (json!(["a@b.co"]), None),
        (json!(null), None),
    ] {
        let mut one = body();
        one["person"]["properties"] = json!({ "email": given, "$email": "no@example.com" });
        let event = event(&one);
        assert_eq!(event.email.as_deref(), taken, "{given}");
        assert_eq!(event.contact_properties["email"], given);
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    for (pointer, value, words) in [
        ("", json!([]), "the body must be an object, not an array"),
        ("", json!(null), "event is required"),
        ("/event", json!(null), "event is required"),
        ("/event", json!([]), "event must be an object, not an array"),
        ("/event", json!("{"), "event is text that is not valid JSON"),
        (
            "/event",
            json!("[1]"),
            "event must be an object, not an array",
        ),
        (
            "/event/event",
            json!(1),
            "event.event must be a string, not a number",
        ),
        ("/event/event", json!(" "), "event.event is required"),
        ("/event/uuid", json!(1), "event.uuid must be a string"),
        (
            "/event/distinct_id",
            json!(null),
            "event.distinct_id is required",
        ),
        (
            "/event/distinct_id",
            json!(""),
            "event.distinct_id is required",
        ),
        (
            "/event/distinct_id",
            json!({}),
            "event.distinct_id must be a string, not an object",
        ),
        (
            "/event/distinct_id",
            json!(1.5),
            "event.distinct_id must be a string",
        ),
        (
            "/event/distinct_id",
            json!(123_456_789_012_345_678_901_234.0),
            "event.distinct_id must be a string",
        ),
        (
            "/event/properties",
            json!(3),
            "event.properties must be an object",
        ),
        (
            "/person",
            json!(true),
            "person must be an object, not a boolean",
        ),
        (
            "/person/properties",
            json!("x"),
            "person.properties is text that is not valid JSON",
        ),
    ] {
        let mut bad = body();
        *bad.pointer_mut(pointer).unwrap() = value;
        match read(&[], &webhook(&[], &bad)) {
            Err(Refusal::Invalid { details, .. }) => {
                assert!(details.starts_with(words), "{details}");
            }
            other => panic!("{pointer}: {other:?}"),
        }
    }
}

#[test]
fn bytes_that_are_no_json_are_refused() {
    for bytes in [
        &b""[..],
        b"{",
        b"\xff\xfe",
        b"{\"event\":1}}",
        &[b'['; 100_000],
    ] {
        let mut webhook = webhook(&[], &json!({}));
        webhook.body = bytes.to_vec().into();
        match read(&[], &webhook) {
            Err(Refusal::Invalid { details, .. }) => assert!(details.contains("JSON"), "{details}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_configured_secret_is_required_in_either_header() {
    let own = "x-posthog-webhook-secret";
    let try_with = |headers: &[(&str, &str)]| read(&["hush"], &webhook(headers, &body()));
    for headers in [
        &[(own, "hush")][..],
        &[("authorization", "Bearer hush")],
        &[("authorization", "bearer  hush")],
        // A proxy may add a token of its own.
        &[("authorization", "Bearer other"), (own, "hush")],
    ] {
        assert!(try_with(headers).is_ok(), "{headers:?}");
    }
    for headers in [
        &[][..],
        &[(own, "")],
        &[(own, "hus")],
        &[(own, "hushh")],
        &[(own, "HUSH")],
        &[("authorization", "hush")],
        &[("authorization", "Basic hush")],
        &[("authorization", "Bearer")],
    ] {
        assert_eq!(
            try_with(headers),
            Err(Refusal::unauthorized()),
            "{headers:?}"
        );
    }
    // While a secret is being replaced, both count.
    for secret in ["hush", "older"] {
        let both = webhook(&[(own, secret)], &body());
        assert!(read(&["hush", "older"], &both).is_ok(), "{secret}");
    }
    // A sender without the secret learns nothing about the body either.
    let mut broken = webhook(&[], &json!({}));
    broken.body = "{".into();
    assert_eq!(read(&["hush"], &broken), Err(Refusal::unauthorized()));
}

#[test]
fn the_sample_of_the_manifest_is_read() {
    let sample = crate::SAMPLE
        .replace("{uuid}", "0190-1")
        .replace("{now}", "2026-01-01T00:00:00.5+02:00");
    let event = event(&serde_json::from_str(&sample).unwrap());
    assert_eq!(
        (event.name.as_str(), event.email.as_deref()),
        ("user.created", Some("ada@example.com"))
    );
    assert!(!crate::SAMPLE.contains('\n'));
}
