//! Values of an event that a mail uses.

use hogsend_plugin_api::Properties;
use hogsend_plugin_api::journey::Send;
use serde_json::Value;

/// Passes the named properties to the mail that fit into a sentence or a link. The templates work
/// without the others.
pub fn carry(mail: Send, properties: &Properties, names: &[&str]) -> Send {
    names
        .iter()
        .filter_map(|name| Some((name, properties.get(*name)?)))
        .filter(|(name, value)| fits(name, value))
        .fold(mail, |mail, (name, value)| mail.prop(name, value.clone()))
}

/// A text property, trimmed; `None` where it is missing or blank.
pub fn text<'a>(properties: &'a Properties, name: &str) -> Option<&'a str> {
    let text = properties.get(name)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

fn fits(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) if name.ends_with("url") => {
            text.starts_with("https://") || text.starts_with("http://")
        }
        Value::String(text) => !text.trim().is_empty(),
        Value::Number(_) => !name.ends_with("url"),
        _ => false,
    }
}
