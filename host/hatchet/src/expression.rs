//! Conditions on the payload of events, in CEL (<https://cel.dev>), which the engine evaluates.

/// The payload's field has a text that comes after this one.
pub fn after(field: &str, text: &str) -> String {
    format!("input.{field} > {}", quoted(text))
}

/// Text as a literal: JSON's escapes are also CEL's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The field and the text of [`after`].
#[cfg(feature = "stand-in")]
pub fn parse_after(expression: &str) -> Option<(&str, String)> {
    let (field, text) = expression.strip_prefix("input.")?.split_once(" > ")?;
    Some((field, serde_json::from_str(text).ok()?))
}
