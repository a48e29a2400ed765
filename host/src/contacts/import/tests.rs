use chrono::DateTime;
use hogsend_semantics::identity::Id;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::value::IDENTITIES_MAX;
use super::{Row, Rows};
use crate::contacts::PERSON_ID_MAX;
use crate::contacts::export::{self, Exported};
use crate::contacts::file::{Format, ROWS_MAX};
use crate::db::{ContactRow, NewIdentity, Preferences};

fn read(format: Format, text: &str) -> Vec<Result<Row, String>> {
    let rows = Rows::read(format, text.as_bytes()).unwrap().into_rows();
    rows.filter_map(|one| one.row.transpose()).collect()
}

fn unused(format: Format, text: &str) -> Vec<String> {
    let rows = Rows::read(format, text.as_bytes()).unwrap();
    rows.unused().to_vec()
}

fn wrong(format: Format, bytes: &[u8]) -> String {
    Rows::read(format, bytes).unwrap_err()
}

fn row(external_id: Option<&str>, email: Option<&str>, properties: Value) -> Row {
    let Value::Object(properties) = properties else {
        panic!("an object")
    };
    Row {
        names: NewIdentity {
            external_id: external_id.map(str::to_owned),
            email: email.map(str::to_owned),
            ..NewIdentity::default()
        },
        properties,
        ..Row::default()
    }
}

#[test]
fn spreadsheets_of_all_kinds_are_read() {
    let expected = row(
        Some("u1"),
        Some("ann@example.com"),
        json!({ "plan": "a,b \"c\"", "seats": 3 }),
    );
    for text in [
        "externalId,email,plan,properties,id\r\nu1,ann@example.com,\"a,b \"\"c\"\"\",\"{\"\"seats\"\":3}\",x\r\n",
        "\u{feff}user_id;E-Mail Address;plan;properties\nu1;ann@example.com;\"a,b \"\"c\"\"\";\"{\"\"seats\"\":3}\"",
        "Email\tUser ID\tplan\tproperties\nann@example.com\tu1\t\"a,b \"\"c\"\"\"\t\"{\"\"seats\"\":3}\"\n",
        "sep=;\r\nemail; id ;plan;properties\r\n ann@example.com ; u1 ;\"a,b \"\"c\"\"\";\"{\"\"seats\"\":3}\"\r\n",
    ] {
        assert_eq!(read(Format::Csv, text), [Ok(expected.clone())], "{text}");
    }
    let text = "email, user_id, plan\nann@example.com, u1, pro\n";
    let expected = row(
        Some("u1"),
        Some("ann@example.com"),
        json!({ "plan": "pro" }),
    );
    assert_eq!(read(Format::Csv, text), [Ok(expected)]);
}

/// The same contacts as CSV and as JSON.
#[test]
fn both_formats_are_read_alike() {
    for (csv, json) in [
        (
            "email,unsubscribed,plan,first_name\njs@ex.test,true,pro,J\n",
            json!([{ "email": "js@ex.test", "unsubscribed": true, "plan": "pro", "first_name": "J" }]),
        ),
        (
            "user_id,email,unsubscribed\njs3,js3@ex.test,false\n,,\njs4,,0\n",
            json!([{ "user_id": "js3", "email": "js3@ex.test", "unsubscribed": "false" }, { "user_id": "js4", "email": null, "unsubscribed": 0 }]),
        ),
        (
            "id,cio_id,email,created_at,unsubscribed,first_name\n5f9c1a,a5e80100,cio1@ex.test,1606780800,false,Ann\n",
            json!([{ "id": "5f9c1a", "cio_id": "a5e80100", "email": "cio1@ex.test", "created_at": 1_606_780_800, "unsubscribed": false, "first_name": "Ann" }]),
        ),
        (
            "anonymousId,lists,createdAt,properties,id,externalId\na1,\"{\"\"journey\"\":false}\",2020-01-31,\"{\"\"n\"\":[1]}\",x,\n",
            json!({ "contacts": [{ "anonymousId": "a1", "lists": { "journey": false }, "createdAt": "2020-01-31T01:00:00+01:00", "properties": { "n": [1] }, "id": "x", "externalId": "" }] }),
        ),
    ] {
        let table = read(Format::Csv, csv);
        let objects = read(Format::Json, &json.to_string());
        assert_eq!(table, objects, "{csv}");
        assert!(table.iter().all(Result::is_ok), "{table:?}");
    }
    let customerio = "id,cio_id,email,created_at,unsubscribed,first_name\n5f9c1a,a5e80100,cio1@ex.test,1606780800,false,Ann\n";
    let [Ok(ann)] = &read(Format::Csv, customerio)[..] else {
        panic!("one row")
    };
    assert_eq!(ann.names.external_id.as_deref(), Some("5f9c1a"));
    assert_eq!(
        ann.first_seen_at.unwrap().to_rfc3339(),
        "2020-12-01T00:00:00+00:00"
    );
    assert_eq!(
        json!(ann.properties),
        json!({ "cio_id": "a5e80100", "first_name": "Ann" })
    );
    assert_eq!(unused(Format::Csv, customerio), [""; 0]);
}

#[test]
fn what_is_not_used_is_named() {
    let text = "id,externalId,email,updatedAt,,firstSeenAt,createdAt\n1,2,a@x.test,3,4,,\n";
    let names = [
        "id",
        "updatedAt",
        "column 5, which has no name",
        "createdAt",
    ];
    assert_eq!(unused(Format::Csv, text), names);
    let text = r#"[{"email":"a@x.test"},{"last_seen_at":1,"email":"b@x.test","updatedAt":null}]"#;
    assert_eq!(unused(Format::Json, text), ["last_seen_at"]);
}

#[test]
fn a_time_is_read_as_files_write_it_and_else_kept_as_it_is() {
    for (text, expected) in [
        ("2020-12-01T00:00:00Z", Some(1_606_780_800)),
        ("2020-12-01T02:00:00+02:00", Some(1_606_780_800)),
        ("2020-12-01 00:00:00", Some(1_606_780_800)),
        ("2020-12-01", Some(1_606_780_800)),
        ("1606780800", Some(1_606_780_800)),
        ("1606780800000", Some(1_606_780_800)),
        ("0", None),
        ("20201201", None),
        ("12/1/2020", None),
        ("9223372036854775807", None),
        ("-1", None),
    ] {
        let [Ok(row)] = &read(Format::Csv, &format!("email,created_at\na@x.test,{text}\n"))[..]
        else {
            panic!("one row")
        };
        assert_eq!(
            row.first_seen_at.map(|at| at.timestamp()),
            expected,
            "{text}"
        );
        let kept = row.properties.get("created_at").and_then(Value::as_str);
        assert_eq!(kept, expected.is_none().then_some(text));
    }
}

#[test]
fn a_cell_kept_from_calculating_is_what_it_was() {
    let text = "externalId,email,x\n'=1+1,'+a@example.com,'tis\n''a,,'-1\n";
    assert_eq!(
        read(Format::Csv, text),
        [
            Ok(row(
                Some("=1+1"),
                Some("+a@example.com"),
                json!({ "x": "'tis" })
            )),
            Ok(row(Some("'a"), None, json!({ "x": "-1" }))),
        ]
    );
}

#[test]
fn a_bad_row_spoils_no_other() {
    let text = "email,properties,unsubscribed,lists\na@x.test,[1],,\nb@x.test,,maybe,\n\
                c@x.test,,,\"{\"\"l\"\":3}\"\nd@x.test\ne@x.test,,1,\n";
    let rows = Rows::read(Format::Csv, text.as_bytes())
        .unwrap()
        .into_rows();
    let rows: Vec<_> = rows.collect();
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|one| Some((one.line?, one.row.clone().err()?)))
        .collect();
    let why = [
        (2, "properties must be a JSON object"),
        (3, "unsubscribed must be true or false"),
        (4, "lists must be true or false for each list"),
    ];
    assert_eq!(wrong, why.map(|(line, why)| (line, why.to_owned())));
    assert!(rows[4].row.clone().unwrap().unwrap().unsubscribed_all);

    let text = r#"{"contacts":[1,[],"x",null,{"email":"a@x.test","properties":[]},{"email":"a@x.test","email":"b@x.test"},
            {"userId":"1","user_id":"2"},{"plan":"a","properties":{"plan":"b"}},{"userId":7,"other":{}}]}"#;
    let rows = read(Format::Json, text);
    assert!(rows[..8].iter().all(Result::is_err), "{rows:?}");
    assert_eq!(rows[8], Ok(row(Some("7"), None, json!({ "other": {} }))));
}

#[test]
fn further_ids_that_are_none_spoil_their_row() {
    let long = "x".repeat(PERSON_ID_MAX + 1);
    for (given, why) in [
        (json!("u2"), "array of objects"),
        (json!({ "kind": "user", "value": "u2" }), "array of objects"),
        (json!([{ "kind": "user" }]), "array of objects"),
        (json!([{ "kind": "", "value": "u2" }]), "not a kind of id"),
        (
            json!([{ "kind": "a b", "value": "u2" }]),
            "not a kind of id",
        ),
        (
            json!([{ "kind": "user", "value": " " }]),
            "must not be empty",
        ),
        (
            json!([{ "kind": "user", "value": "undefined" }]),
            "is no id",
        ),
        (json!([{ "kind": "user", "value": long }]), "at most 256"),
        (
            json!(vec![
                json!({ "kind": "user", "value": "a" });
                IDENTITIES_MAX + 1
            ]),
            "1000 ids",
        ),
    ] {
        let text = json!([{ "email": "x@x.test", "identities": given }]).to_string();
        let read = read(Format::Json, &text);
        assert!(read[0].clone().unwrap_err().contains(why), "{read:?}");
    }
    let text = json!([{ "identities": [{ "kind": "shop", "value": "7", "since": 2020 }] }]);
    let read = read(Format::Json, &text.to_string());
    assert_eq!(read[0].clone().unwrap().names.also, [Id::new("shop", "7")]);
}

#[test]
fn text_in_a_file_can_be_stored() {
    let text = "email,a\0,properties\nx@x.test,b\0,\"{\"\"c\"\":\"\"\\u0000\\ud83d\"\"}\"\n";
    let expected = json!({ "a\u{fffd}": "b\u{fffd}", "c": "\u{fffd}\u{fffd}" });
    assert_eq!(
        read(Format::Csv, text),
        [Ok(row(None, Some("x@x.test"), expected.clone()))]
    );
    let text = r#"[{"email":"x@x.test","a\u0000":"b\u0000","c":"\u0000\ud83d"}]"#;
    assert_eq!(
        read(Format::Json, text),
        [Ok(row(None, Some("x@x.test"), expected))]
    );
}

#[test]
fn empty_rows_below_a_table_are_left_out() {
    let rows = Rows::read(
        Format::Csv,
        b"email,name\r\ne1@ex.test,E\r\n,\r\n, \r\n,\r\n\r\n",
    );
    assert_eq!(rows.unwrap().count(), 1);
    let rows = Rows::read(Format::Csv, b"email,name\n,\ne1@ex.test,E\n,\n").unwrap();
    let rows: Vec<_> = rows
        .into_rows()
        .map(|one| (one.number, one.row.unwrap().is_some()))
        .collect();
    assert_eq!(rows, [(1, false), (2, true)]);
}

#[test]
fn what_is_no_file_of_contacts_is_refused_with_the_reason() {
    assert!(wrong(Format::Csv, b"a\xff").contains("byte 1"));
    assert!(wrong(Format::Csv, b"name,plan\nx,y").contains("email, externalId"));
    assert!(wrong(Format::Csv, b"email\n").contains("no contacts"));
    assert!(wrong(Format::Csv, b"email,x\n,\n,\n").contains("no contacts"));
    assert!(wrong(Format::Csv, b"").contains("email, externalId"));
    assert!(wrong(Format::Csv, b"email,a\nx@x.test,\"y\n").contains("line 2"));
    for twice in [
        "email,name,email,name\nd1@ex.test,A,d2@ex.test,B",
        "email,E-Mail\nx,y",
        "user_id,externalId\n1,2",
        "email,unsubscribed,unsubscribedAll\nx,1,0",
    ] {
        let why = wrong(Format::Csv, twice.as_bytes());
        assert!(
            why.contains("Two columns") || why.contains("mean the same"),
            "{why}"
        );
    }
    let wide = format!("email{}\n", ",x".repeat(10_000));
    assert!(wrong(Format::Csv, wide.as_bytes()).contains("line 1"));
    assert!(wrong(Format::Json, b"[]").contains("no contacts"));
    assert!(wrong(Format::Json, b"{\"x\":1}").contains("contacts"));
    assert!(wrong(Format::Json, "[".repeat(5_000).as_bytes()).contains("not a JSON array"));
    let many = format!("[{}]", vec!["1"; ROWS_MAX + 1].join(","));
    assert!(wrong(Format::Json, many.as_bytes()).contains("in parts"));
    let many = format!("email\n{}", "a@x.test\n".repeat(ROWS_MAX + 1));
    assert!(wrong(Format::Csv, many.as_bytes()).contains("in parts"));
}

/// An id without blanks at its ends.
fn id() -> impl Strategy<Value = Option<String>> {
    let text = "['=+@\\-\t]?[a-z,;\"'\n\r é\u{1f600}]{0,6}[a-z=']";
    prop::option::of(text.prop_map(|text| text.trim().to_owned()))
}

fn further_ids() -> impl Strategy<Value = Vec<Id>> {
    let kind = prop_oneof![Just("user"), Just("anonymous"), Just("posthog_person")];
    let value = "['=+@\\-\t,;\"\\\\ é\u{1f600}]{0,3}[a-z,;\"]{0,3}[b-d=]";
    let id = (kind, value).prop_map(|(kind, value)| Id::new(kind, value));
    prop::collection::vec(id, 0..4)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z'=,;\"\r\n ]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_the_export_writes_is_read_again(
        external_id in id(), anonymous_id in id(), email in id(), identities in further_ids(),
        properties in prop::collection::btree_map("[a-zA-Z'=;,\" ]{1,6}", value(), 0..4),
        unsubscribed_all in any::<bool>(),
        categories in prop::collection::btree_map("[a-z][a-z-]{0,5}", any::<bool>(), 0..3),
        seconds in 100_000_000_i64..1_900_000_000,
    ) {
        prop_assume!(external_id.is_some() || email.is_some() || anonymous_id.is_some());
        let at = DateTime::from_timestamp(seconds, 123_000).unwrap();
        let contact = ContactRow {
            id: crate::ids::ContactId::new(at),
            external_id: external_id.clone(),
            email: email.clone(),
            properties: properties.into_iter().collect(),
            first_seen_at: at,
            last_seen_at: at,
            created_at: at,
            updated_at: at,
        };
        let expected = Row {
            names: NewIdentity { external_id, email, anonymous_id: anonymous_id.clone(), also: identities.clone() },
            properties: contact.properties.clone(),
            unsubscribed_all,
            lists: categories.clone(),
            first_seen_at: Some(at),
        };
        let exported = Exported {
            contact,
            anonymous_id,
            identities,
            wants: Preferences { unsubscribed_all, categories },
        };
        let csv = [export::head(), export::lines(std::slice::from_ref(&exported))].concat();
        let csv = String::from_utf8(csv).unwrap();
        prop_assert_eq!(read(Format::Csv, &csv), [Ok(expected.clone())]);
        let json = json!({ "contacts": [exported.out()] }).to_string();
        prop_assert_eq!(read(Format::Json, &json), [Ok(expected)]);
        let (mut csv, json) = (unused(Format::Csv, &csv), unused(Format::Json, &json));
        csv.sort();
        prop_assert_eq!(csv, json);
    }
}
