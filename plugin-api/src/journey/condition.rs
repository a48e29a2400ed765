//! Conditions on properties.

use std::cmp::Ordering;

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Properties;

/// A test of an event's properties, or of the contact's where the path begins with `contact.`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Condition {
    /// Compares one property with a value.
    #[non_exhaustive]
    Property {
        /// Field names and array indexes separated by dots: `items.0.sku`. A top-level field whose
        /// own name is the whole path takes precedence.
        path: String,
        /// The comparison.
        op: Op,
        /// What to compare with; ignored by `exists` and `not_exists`.
        #[serde(default)]
        value: Value,
    },
    /// True where every part is true; an empty list is true.
    All(Vec<Condition>),
    /// True where at least one part is true; an empty list is false.
    Any(Vec<Condition>),
}

/// A comparison. Values of different types are never equal and have no order.
///
/// `Gt`, `Gte`, `Lt` and `Lte` order numbers by size and strings by time where both are RFC 3339
/// timestamps; they are false for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Equal; `1` equals `1.0`.
    Eq,
    /// Not equal, or missing.
    Neq,
    /// Greater, or later.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less, or earlier.
    Lt,
    /// Less or equal.
    Lte,
    /// Present and not null.
    Exists,
    /// Missing or null.
    NotExists,
    /// A string contains the string, or an array contains an equal item.
    Contains,
}

impl Condition {
    /// `path` equals `value`.
    pub fn eq(path: &str, value: impl Into<Value>) -> Self {
        Self::property(path, Op::Eq, value)
    }

    /// `path` is present and not null.
    pub fn exists(path: &str) -> Self {
        Self::property(path, Op::Exists, Value::Null)
    }

    /// `path` compared with `value`.
    pub fn property(path: &str, op: Op, value: impl Into<Value>) -> Self {
        Self::Property {
            path: path.into(),
            op,
            value: value.into(),
        }
    }

    /// Whether the condition is true for these properties of the event and of its contact.
    pub fn matches(&self, event: &Properties, contact: &Properties) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(event, contact)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(event, contact)),
            Self::Property { path, op, value } => {
                let found = match path.strip_prefix("contact.") {
                    Some(rest) => lookup(contact, rest),
                    None => lookup(event, path),
                };
                op.holds(found.filter(|found| !found.is_null()), value)
            }
        }
    }
}

impl Op {
    fn holds(self, found: Option<&Value>, wanted: &Value) -> bool {
        let ordered = |accept: fn(Ordering) -> bool| {
            found
                .and_then(|found| compare(found, wanted))
                .is_some_and(accept)
        };
        match self {
            Self::Exists => found.is_some(),
            Self::NotExists => found.is_none(),
            Self::Eq => found.is_some_and(|found| equal(found, wanted)),
            Self::Neq => !found.is_some_and(|found| equal(found, wanted)),
            Self::Gt => ordered(Ordering::is_gt),
            Self::Gte => ordered(Ordering::is_ge),
            Self::Lt => ordered(Ordering::is_lt),
            Self::Lte => ordered(Ordering::is_le),
            Self::Contains => match (found, wanted) {
                (Some(Value::String(text)), Value::String(part)) => text.contains(part.as_str()),
                (Some(Value::Array(items)), item) => items.iter().any(|one| equal(one, item)),
                _ => false,
            },
        }
    }
}

/// `1` and `1.0` are equal; everything else is compared as is.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => compare(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            // Exact beyond 2^53, where doubles are not.
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(instant(a)?.cmp(&instant(b)?)),
        _ => None,
    }
}

fn instant(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

fn lookup<'a>(properties: &'a Properties, path: &str) -> Option<&'a Value> {
    if let Some(value) = properties.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let first = properties.get(parts.next()?)?;
    parts.try_fold(first, |value, part| match value {
        Value::Object(fields) => fields.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Condition, Op};

    fn holds(path: &str, op: Op, value: Value) -> bool {
        let event = json!({
            "plan": "pro", "seats": 5, "price": 9.5, "at": "2026-11-01T10:00:00+02:00",
            "nested": { "list": [1, { "deep": true }] }, "dotted.name": 1, "nothing": null
        });
        let contact = json!({ "plan": "free" });
        Condition::property(path, op, value)
            .matches(event.as_object().unwrap(), contact.as_object().unwrap())
    }

    #[test]
    fn comparisons_are_typed() {
        assert!(holds("plan", Op::Eq, json!("pro")));
        assert!(holds("seats", Op::Eq, json!(5.0)));
        assert!(!holds("seats", Op::Eq, json!("5")));
        assert!(holds("seats", Op::Gt, json!(4.5)));
        assert!(!holds("plan", Op::Gt, json!(1)));
        assert!(!holds("plan", Op::Lt, json!("z")));
        assert!(holds("at", Op::Lt, json!("2026-11-01T08:00:01Z")));
        assert!(holds("missing", Op::Neq, json!(1)));
        assert!(!holds("missing", Op::Gte, json!(0)));
    }

    #[test]
    fn paths_reach_nested_values_and_the_contact() {
        assert!(holds("nested.list.1.deep", Op::Eq, json!(true)));
        assert!(holds("dotted.name", Op::Eq, json!(1)));
        assert!(holds("contact.plan", Op::Eq, json!("free")));
        assert!(holds("nested.list", Op::Contains, json!(1)));
        assert!(holds("plan", Op::Contains, json!("ro")));
        assert!(holds("nothing", Op::NotExists, Value::Null));
    }
}
