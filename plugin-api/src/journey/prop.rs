//! The values a template takes: their types, what is wrong with one, and which of them are links.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A value a journey passes to a template: its name, its type and whether it is required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prop {
    /// The template sees it as `props.<name>`.
    pub name: String,
    /// Its type.
    #[serde(default)]
    pub kind: PropKind,
    /// A `send` step without it fails with `props_missing`.
    #[serde(default)]
    pub required: bool,
    /// Not required where the prop of this name is given.
    #[serde(default)]
    pub unless: Option<String>,
    /// The value previews show.
    #[serde(default)]
    pub sample: Value,
    /// What it is for, in a few words.
    #[serde(default)]
    pub about: String,
}

/// The type of a prop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PropKind {
    /// Text for people, or a number.
    Text,
    /// The URL of a link: `https://`, `http://` or `mailto:`.
    Url,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// A list; a single string or number counts as a list of one.
    List,
    /// Anything; also what a type of a later version is read as.
    #[default]
    #[serde(other)]
    Any,
}

impl PropKind {
    /// Its name in template files and API responses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Url => "url",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::List => "list",
            Self::Any => "any",
        }
    }
}

impl Prop {
    fn new(name: &str, kind: PropKind) -> Self {
        Self {
            name: name.into(),
            kind,
            ..Self::default()
        }
    }

    /// Text for people, or a number.
    pub fn text(name: &str) -> Self {
        Self::new(name, PropKind::Text)
    }

    /// The URL of a link.
    pub fn url(name: &str) -> Self {
        Self::new(name, PropKind::Url)
    }

    /// A number.
    pub fn number(name: &str) -> Self {
        Self::new(name, PropKind::Number)
    }

    /// True or false.
    pub fn bool(name: &str) -> Self {
        Self::new(name, PropKind::Bool)
    }

    /// A list, or a single value.
    pub fn list(name: &str) -> Self {
        Self::new(name, PropKind::List)
    }

    /// Anything.
    pub fn any(name: &str) -> Self {
        Self::new(name, PropKind::Any)
    }

    /// Makes it required.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Makes it required unless the prop `other` is given.
    pub fn required_unless(mut self, other: &str) -> Self {
        self.required = true;
        self.unless = Some(other.into());
        self
    }

    /// Sets the value previews show.
    pub fn sample(mut self, value: impl Into<Value>) -> Self {
        self.sample = value.into();
        self
    }

    /// Says what it is for.
    pub fn about(mut self, text: &str) -> Self {
        self.about = text.into();
        self
    }

    /// Why the value does not fit.
    pub(super) fn wrong(&self, value: &Value) -> Option<&'static str> {
        let fits = match self.kind {
            PropKind::Text => value.is_string() || value.is_number(),
            PropKind::Url => value.as_str().is_some_and(is_web_or_mail),
            PropKind::Number => value.is_number(),
            PropKind::Bool => value.is_boolean(),
            PropKind::List => {
                return match value {
                    Value::Array(items) => items.iter().find_map(links),
                    Value::Object(_) | Value::Bool(_) => Some("must be a list"),
                    _ => None,
                };
            }
            PropKind::Any => return links(value),
        };
        let expected = match self.kind {
            PropKind::Text => "must be text",
            PropKind::Url => WEB_OR_MAIL,
            PropKind::Number => "must be a number",
            PropKind::Bool => "must be true or false",
            PropKind::List | PropKind::Any => "",
        };
        (!fits).then_some(expected)
    }
}

/// What is wrong with a value given to a template. The message continues a sentence that begins with
/// the value's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropFault {
    /// A required value is missing or empty.
    #[error("is required by the template")]
    #[non_exhaustive]
    Missing { name: String },
    /// The value does not have the declared type, or contains an unsafe link.
    #[error("{why}")]
    #[non_exhaustive]
    Wrong { name: String, why: &'static str },
    /// The value is not declared; it has no effect.
    #[error("is not used by the template")]
    #[non_exhaustive]
    Unknown { name: String },
}

impl PropFault {
    /// The name of the value.
    pub fn name(&self) -> &str {
        match self {
            Self::Missing { name } | Self::Wrong { name, .. } | Self::Unknown { name } => name,
        }
    }
}

const WEB_OR_MAIL: &str = "must be a link that begins with https://, http:// or mailto:";

/// Counts as not given.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The first unsafe link anywhere in a value.
fn links(value: &Value) -> Option<&'static str> {
    match value {
        Value::Array(items) => items.iter().find_map(links),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| links_in(name, value)),
        _ => None,
    }
}

/// The same for a value with a name: `url`, `survey_url`, `resetUrl`, `href` hold links.
pub(super) fn links_in(name: &str, value: &Value) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let is_link = lower.ends_with("url") || lower.ends_with("href") || lower.ends_with("link");
    match value {
        Value::String(text) if is_link && !text.trim().is_empty() => {
            // The name alone does not make it a link: `checkout_link` may hold an id.
            let has_scheme = scheme(text).is_some();
            (has_scheme && !is_web_or_mail(text)).then_some(WEB_OR_MAIL)
        }
        Value::Array(items) if is_link => items.iter().find_map(|item| links_in(name, item)),
        _ => links(value),
    }
}

/// The text before the first colon, where it can be a scheme (RFC 3986 §3.1). Like browsers it
/// ignores whitespace and control characters, which would otherwise hide a `javascript:`.
fn scheme(text: &str) -> Option<String> {
    let plain = text
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control());
    let plain: String = plain.take(64).collect();
    let (scheme, _) = plain.split_once(':')?;
    let named = scheme
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    (named && !scheme.is_empty()).then(|| scheme.to_ascii_lowercase())
}

/// Whether it is a link to a page or a mailbox.
fn is_web_or_mail(text: &str) -> bool {
    let text = text.trim();
    if text.chars().any(|c| c.is_control()) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => rest
            .strip_prefix("//")
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':', ' '])),
        "mailto" => rest.contains('@'),
        _ => false,
    }
}
