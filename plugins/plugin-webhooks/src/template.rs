//! Texts with places in braces: `{header:x-timestamp}.{body}`.

use hogsend_plugin_api::{Webhook, json};
use serde_json::Value;

use crate::place::{Place, Seen};

/// A text with places.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Place(Place),
    /// The bytes of the body.
    Body,
    /// The bytes of the first element, where the body is an array.
    FirstItem,
}

impl Template {
    /// Parses a value: places in braces, `{{` and `}}` for braces themselves.
    pub fn value(text: &str) -> Result<Self, String> {
        let parsed = parse(text)?;
        if parsed.0.iter().any(Part::is_raw) {
            return Err(format!(
                "'{text}' has {{body}} or {{first_item}}, which stand only in authentication.signed"
            ));
        }
        Ok(parsed)
    }

    /// Parses what a vendor signs, which may also have `{body}` and `{first_item}`.
    pub fn signed(text: &str) -> Result<Self, String> {
        let parsed = parse(text)?;
        if parsed.0.iter().any(Part::is_raw) {
            return Ok(parsed);
        }
        Err(format!(
            "'{text}' has no {{body}}: a signature that leaves the body out would vouch for any body"
        ))
    }

    /// Whether it has this place.
    pub fn has(&self, place: &Place) -> bool {
        let mut parts = self.0.iter();
        parts.any(|part| matches!(part, Part::Place(own) if own == place))
    }

    /// Whether it has a place in the body, by which the elements of an array differ.
    pub fn is_of_event(&self) -> bool {
        let mut parts = self.0.iter();
        parts.any(|part| matches!(part, Part::Place(Place::Event(_))))
    }

    /// Whether it leaves out all but the first element of an array.
    pub fn is_of_first_item(&self) -> bool {
        self.0.contains(&Part::FirstItem) && !self.0.contains(&Part::Body)
    }

    /// The text with its places filled in; `None` where one has no value.
    pub fn fill(&self, seen: &Seen<'_>) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Place(place) => out.push_str(&place.text(seen)?),
                Part::Body | Part::FirstItem => return None,
            }
        }
        Some(out)
    }

    /// The bytes that a vendor signs; `None` where a place has no value.
    pub fn bytes(&self, webhook: &Webhook) -> Option<Vec<u8>> {
        let raw = webhook.body.as_slice();
        let has_place = self.0.iter().any(|part| matches!(part, Part::Place(_)));
        let body = match has_place {
            true => json::lenient(raw).unwrap_or(Value::Null),
            false => Value::Null,
        };
        let seen = Seen {
            webhook,
            body: &body,
            event: &body,
        };
        let mut out = Vec::with_capacity(raw.len() + 64);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Place(place) => {
                    out.extend_from_slice(place.text(&seen)?.as_bytes());
                }
                Part::Body => out.extend_from_slice(raw),
                Part::FirstItem => out.extend_from_slice(first_item(raw)),
            }
        }
        Some(out)
    }
}

impl Part {
    fn is_raw(&self) -> bool {
        matches!(self, Self::Body | Self::FirstItem)
    }
}

fn parse(text: &str) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let end = after.find('}').filter(|_| brace == "{");
        let end = end.ok_or_else(|| {
            format!("'{text}' has a brace without its counterpart: write {{{{ or }}}} for a brace itself")
        })?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(match &after[..end] {
            "body" => Part::Body,
            "first_item" => Part::FirstItem,
            place => Part::Place(Place::parse(place)?),
        });
        rest = &after[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(Template(parts))
}

/// The bytes of an array's first element; the whole body where it is no array.
fn first_item(raw: &[u8]) -> &[u8] {
    let Some(at) = raw.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return raw;
    };
    if raw[at] != b'[' {
        return raw;
    }
    let inner = &raw[at + 1..];
    let mut items =
        serde_json::Deserializer::from_slice(inner).into_iter::<serde::de::IgnoredAny>();
    match items.next() {
        Some(Ok(_)) => inner[..items.byte_offset()].trim_ascii(),
        _ => raw,
    }
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::Webhook;

    use super::{Template, first_item};

    #[test]
    fn what_is_signed_is_put_together_byte_for_byte() {
        let webhook = Webhook::new(
            vec![("x-time".into(), "17".into())],
            "{\"a\": {\"b\":\"c\"}}\r\n",
            chrono::DateTime::UNIX_EPOCH,
        );
        for (text, bytes) in [
            ("{body}", "{\"a\": {\"b\":\"c\"}}\r\n"),
            (
                "v0:{header:X-Time}:{body}",
                "v0:17:{\"a\": {\"b\":\"c\"}}\r\n",
            ),
            ("{{{/a/b}}}{body}", "{c}{\"a\": {\"b\":\"c\"}}\r\n"),
        ] {
            let template = Template::signed(text).unwrap();
            assert_eq!(
                template.bytes(&webhook).unwrap(),
                bytes.as_bytes(),
                "{text}"
            );
        }
        let missing = Template::signed("{header:x-none}{body}").unwrap();
        assert_eq!(missing.bytes(&webhook), None);
    }

    #[test]
    fn a_mistake_names_the_fix() {
        for (text, fix) in [
            ("{header:x}", "no {body}"),
            ("{body", "counterpart"),
            ("body}", "counterpart"),
            ("{data.id}{body}", "write /data/id"),
        ] {
            let refused = Template::signed(text).unwrap_err();
            assert!(refused.contains(fix), "{refused}");
        }
        assert!(Template::value("{body}").unwrap_err().contains("signed"));
    }

    #[test]
    fn the_first_element_of_an_array_is_cut_out() {
        for (body, first) in [
            ("[{\"a\":\"]\"} , {\"b\":1}]", "{\"a\":\"]\"}"),
            (" [ 1,2]", "1"),
            ("{\"a\":1}", "{\"a\":1}"),
            ("[]", "[]"),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(first_item(body.as_bytes()), first.as_bytes(), "{body}");
        }
    }
}
