//! Where in a webhook a value is.

use std::borrow::Cow;
use std::fmt;

use hogsend_plugin_api::Webhook;
use serde_json::Value;

/// A place in a webhook.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A JSON pointer (RFC 6901) into the event.
    Event(String),
    /// A JSON pointer into the whole body, of which the event may be one element.
    Body(String),
    /// A header, by its name in lower case.
    Header(String),
}

/// What places refer to.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub webhook: &'a Webhook,
    pub body: &'a Value,
    pub event: &'a Value,
}

impl Place {
    /// Parses `/data/id`, `body:/data/id` or `header:x-id`. The empty text is the whole event.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header:") {
            let sound = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(sound) {
                return Err(format!("'{text}' names no header: write header:x-id"));
            }
            return Ok(Self::Header(name.to_ascii_lowercase()));
        }
        match text.strip_prefix("body:") {
            Some(rest) => pointer(rest).map(Self::Body),
            None => pointer(text).map(Self::Event),
        }
    }

    /// The value there; null counts as none.
    pub fn value<'a>(&self, seen: &Seen<'a>) -> Option<Cow<'a, Value>> {
        let found = match self {
            Self::Event(pointer) => Cow::Borrowed(seen.event.pointer(pointer)?),
            Self::Body(pointer) => Cow::Borrowed(seen.body.pointer(pointer)?),
            Self::Header(name) => {
                let text = seen.webhook.header(name)?.trim();
                Cow::Owned(Value::String(text.to_owned()))
            }
        };
        (!found.is_null()).then_some(found)
    }

    /// The value there as an id or a name.
    pub fn text(&self, seen: &Seen<'_>) -> Option<String> {
        scalar(self.value(seen).as_deref()?)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(pointer) if pointer.is_empty() => f.write_str("the event"),
            Self::Event(pointer) => f.write_str(pointer),
            Self::Body(pointer) => write!(f, "body:{pointer}"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// Checks a JSON pointer.
pub fn pointer(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if !text.starts_with('/') {
        let path = text.replace('.', "/");
        let meant = if path
            .chars()
            .all(|c| c.is_alphanumeric() || "/_-".contains(c))
        {
            format!(": write /{path}")
        } else {
            ": write a JSON pointer such as /data/id, or header:x-id".to_owned()
        };
        return Err(format!("'{text}' is no place in the webhook{meant}"));
    }
    let mut escapes = text.split('~').skip(1);
    if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        return Err(format!(
            "'{text}' has a ~ that is no escape: write ~0 for ~ and ~1 for /"
        ));
    }
    Ok(text.to_owned())
}

/// A text or a whole number as text; other values are no id and no name.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_a_pointer_or_a_header_and_a_mistake_names_the_fix() {
        let parsed = |text| Place::parse(text).map(|place| place.to_string());
        assert_eq!(parsed("/a~1b/0").unwrap(), "/a~1b/0");
        assert_eq!(parsed("body:/a").unwrap(), "body:/a");
        assert_eq!(parsed("header:X-Id").unwrap(), "header:x-id");
        assert_eq!(parsed("").unwrap(), "the event");
        for (text, fix) in [
            ("data.id", "write /data/id"),
            ("$.data[0]", "a JSON pointer such as"),
            ("/a~2", "write ~0 for ~"),
            ("header:", "write header:x-id"),
            ("header:a b", "write header:x-id"),
        ] {
            let refused = Place::parse(text).unwrap_err();
            assert!(refused.contains(fix), "{refused}");
        }
    }
}
