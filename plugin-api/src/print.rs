//! Fingerprints of steps: whether the code still asks for what the journal holds.
//!
//! They are stored with every run, so neither form may change. A test pins both.

use std::hash::Hasher as _;

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3Default;

/// A hash of a step's kind and inputs, as 16 hex digits.
///
/// It does not depend on the order of object keys, so it is the same whichever features `serde_json`
/// was built with. Fields of an object that hold null, false, zero or something empty count as
/// absent: a later version may add a field with such a default to the inputs of a step, and runs in
/// flight still match.
pub(crate) fn fingerprint(kind: &str, args: &Value) -> String {
    print(kind, args, Fields::Set)
}

/// Whether a recorded fingerprint is that of this step, in the present form or in that of the drafts
/// of plugin-api 1.0.0, which hashed every field.
pub(crate) fn fits(recorded: &str, kind: &str, args: &Value) -> bool {
    recorded == fingerprint(kind, args) || recorded == draft(kind, args)
}

/// The fingerprint in the form of the drafts, for tests with runs that they recorded.
#[doc(hidden)]
pub fn draft(kind: &str, args: &Value) -> String {
    print(kind, args, Fields::All)
}

/// Which fields of objects count.
#[derive(Clone, Copy)]
enum Fields {
    All,
    Set,
}

fn print(kind: &str, args: &Value, fields: Fields) -> String {
    let mut hasher = Xxh3Default::new();
    hasher.update(kind.as_bytes());
    hash_value(&mut hasher, args, fields);
    format!("{:016x}", hasher.finish())
}

fn hash_value(hasher: &mut Xxh3Default, value: &Value, counted: Fields) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(flag) => hasher.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => {
            hasher.update(b"#");
            hash_text(hasher, &number.to_string());
        }
        Value::String(text) => {
            hasher.update(b"s");
            hash_text(hasher, text);
        }
        Value::Array(items) => {
            hasher.update(b"[");
            hasher.update(&(items.len() as u64).to_le_bytes());
            for item in items {
                hash_value(hasher, item, counted);
            }
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(_, item)| matches!(counted, Fields::All) || is_set(item))
                .collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            hasher.update(b"{");
            hasher.update(&(fields.len() as u64).to_le_bytes());
            for (name, item) in fields {
                hash_text(hasher, name);
                hash_value(hasher, item, counted);
            }
        }
    }
}

fn hash_text(hasher: &mut Xxh3Default, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{fingerprint, fits};

    /// Kind, inputs, the fingerprint, and that of the drafts.
    fn pinned() -> Vec<(&'static str, Value, &'static str, &'static str)> {
        vec![
            (
                "sleep",
                json!({ "ms": 172_800_000_u64 }),
                "43968276347f588f",
                "43968276347f588f",
            ),
            (
                "sleep",
                json!({ "ms": 0 }),
                "248f5a18c18ca03b",
                "9597d77e74752b50",
            ),
            (
                "http",
                json!({ "method": "GET", "url": "https://example.com", "headers": [],
                    "body": { "text": "" }, "timeout_ms": null }),
                "d5ee974034fdd738",
                "f7c2ee0e887bf176",
            ),
            (
                "wait_for",
                json!({ "event": "b", "lookback_ms": 0, "timeout_ms": 300_000, "where": { "all": [
                    { "property": { "path": "plan", "op": "eq", "value": "pro" } },
                    { "property": { "path": "trial", "op": "eq", "value": false } },
                    { "property": { "path": "seats", "op": "exists", "value": null } },
                ] } }),
                "60e5bb0de6302b45",
                "db549bda9583ea10",
            ),
            (
                "send",
                json!({ "template": "é", "props": { "n": 1.5, "list": [null, false, 0, ""] } }),
                "9e182f0daa34d824",
                "9e182f0daa34d824",
            ),
        ]
    }

    #[test]
    fn fingerprints_never_change() {
        for (kind, args, print, draft) in pinned() {
            assert_eq!(fingerprint(kind, &args), print, "{kind} {args}");
            assert_eq!(super::draft(kind, &args), draft, "{kind} {args}");
        }
    }

    #[test]
    fn a_field_with_a_default_changes_nothing_and_any_other_value_does() {
        let old = fingerprint("http", &json!({ "url": "x", "body": { "text": "a" } }));
        for unset in [
            json!(null),
            json!(false),
            json!(0),
            json!(0.0),
            json!(""),
            json!([]),
            json!({}),
        ] {
            let new = json!({ "url": "x", "body": { "text": "a", "new": unset }, "new": unset });
            assert!(fits(&old, "http", &new), "{new}");
        }
        for set in [
            json!(true),
            json!(1),
            json!("a"),
            json!([null]),
            json!({ "a": null }),
        ] {
            let new = json!({ "url": "x", "body": { "text": "a" }, "new": set });
            assert!(!fits(&old, "http", &new), "{new}");
        }
        // Items of a list have a place, so each of them counts.
        assert_ne!(
            fingerprint("x", &json!([0])),
            fingerprint("x", &json!([0, null]))
        );
    }
}
