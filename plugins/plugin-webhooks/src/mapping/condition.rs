//! Conditions on an event.

use serde_json::Value;

use crate::place::{Place, Seen, scalar};

/// A condition on the value at a place.
#[derive(Clone, Debug)]
pub struct Condition {
    pub place: Place,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Test {
    Equals(Value),
    OneOf(Vec<Value>),
    /// A missing value is none of them.
    NoneOf(Vec<Value>),
    /// Null does not exist.
    Exists(bool),
    /// Equal to another value of the event.
    SameAs(Place),
    /// A number not above another one of the event.
    AtMost(Place),
}

impl Condition {
    /// Whether `item` meets the condition. Other values it compares with are of `event`.
    pub fn holds(&self, item: &Seen<'_>, event: &Seen<'_>) -> bool {
        let found = self.place.value(item);
        let found = found.as_deref();
        match &self.test {
            Test::Equals(wanted) => found.is_some_and(|found| equal(found, wanted)),
            Test::OneOf(all) => found.is_some_and(|found| all.iter().any(|one| equal(found, one))),
            Test::NoneOf(all) => {
                !found.is_some_and(|found| all.iter().any(|one| equal(found, one)))
            }
            Test::Exists(wanted) => found.is_some() == *wanted,
            Test::SameAs(place) => {
                let other = place.value(event);
                found
                    .zip(other.as_deref())
                    .is_some_and(|(found, other)| equal(found, other))
            }
            Test::AtMost(place) => {
                let other = place.value(event).and_then(|other| other.as_f64());
                found
                    .and_then(Value::as_f64)
                    .zip(other)
                    .is_some_and(|(found, other)| found <= other)
            }
        }
    }

    /// What stands at the place instead, for the reason why an event was skipped.
    pub fn found(&self, seen: &Seen<'_>) -> String {
        let place = &self.place;
        match self.place.value(seen) {
            None => format!("{place} has no value"),
            Some(value) => match scalar(&value).filter(|text| text.chars().count() <= 100) {
                Some(text) => format!("{place} is '{}'", text.escape_debug()),
                None => format!("{place} has another value"),
            },
        }
    }
}

/// The first condition that an event does not meet.
pub fn unmet<'a>(conditions: &'a [Condition], seen: &Seen<'_>) -> Option<&'a Condition> {
    conditions.iter().find(|one| !one.holds(seen, seen))
}

/// Equal values; numbers are compared by value, so that 1 equals 1.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}
