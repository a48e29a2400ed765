//! Parses the fields of a webhook's body, with errors that name the field.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Refusal};
use hogsend_semantics::address::Mailbox;
use serde_json::Value;

/// An object, or the JSON text of one: PostHog's body template has `"{event}"` in quotes, and some
/// versions fill it in as text. Null and empty text are `None`.
pub fn object(path: &str, value: Option<&Value>) -> Result<Option<Properties>, Refusal> {
    let parsed;
    let value = match value {
        Some(Value::String(text)) if text.trim().is_empty() => None,
        Some(Value::String(text)) => {
            parsed = hogsend_plugin_api::json::lenient(text.as_bytes()).map_err(|error| {
                Refusal::invalid(format!("{path} is text that is not valid JSON: {error}"))
            })?;
            Some(&parsed)
        }
        value => value,
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields.clone())),
        Some(other) => Err(Refusal::invalid(format!(
            "{path} must be an object, not {}",
            kind(other)
        ))),
    }
}

/// A text; null and blank text are `None`.
pub fn text(path: &str, value: Option<&Value>) -> Result<Option<String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(Refusal::invalid(format!(
            "{path} must be a string, not {}",
            kind(other)
        ))),
    }
}

/// An id: a text, or a whole number from products that use numeric ids.
pub fn identifier(path: &str, value: Option<&Value>) -> Result<Option<String>, Refusal> {
    match value {
        Some(Value::Number(number)) if number.is_f64() => Err(Refusal::invalid(format!(
            "{path} must be a string: as a number it is not a whole one, or too large to keep its digits"
        ))),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        value => text(path, value),
    }
}

/// An id in a property, which any sender of events can set; an invalid one is ignored.
pub fn loose_id(value: &Value) -> Option<String> {
    identifier("", Some(value)).ok().flatten()
}

/// PostHog's property `email`, if it is an address. The event counts either way.
pub fn email(contact: &Properties) -> Option<String> {
    let email = contact.get("email")?.as_str()?;
    Some(Mailbox::parse(email).ok()?.written())
}

/// The time of the event; `None` where it is not an RFC 3339 time, and the time of receipt counts.
pub fn timestamp(value: Option<&Value>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(value?.as_str()?.trim()).ok()?;
    Some(at.to_utc())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
