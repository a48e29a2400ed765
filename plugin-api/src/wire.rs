//! How a value of a later version is read.
//!
//! Unknown fields are ignored. What an enum's unknown variant means is stated at the enum. Lists of
//! independent things (events, journeys, templates) are read item by item: an item that cannot be
//! read is left out and named, and the others count.

use std::cell::RefCell;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;

/// Names in one message; the rest is counted.
const NAMED_MAX: usize = 10;

thread_local! {
    /// `Some` while [`read`] runs on this thread.
    static LEFT_OUT: RefCell<Option<LeftOut>> = const { RefCell::new(None) };
}

/// What was left out of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// What, and why, for the operator: the first ten. Holds no values.
    pub named: Vec<String>,
    /// How many there are in all.
    pub count: usize,
}

impl LeftOut {
    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Parses a message and says what was left out of it.
///
/// # Errors
///
/// The message does not fit the type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, LeftOut), serde_json::Error> {
    let outer = LEFT_OUT.replace(Some(LeftOut::default()));
    let value = serde_json::from_slice(bytes);
    let left_out = LEFT_OUT.replace(outer).unwrap_or_default();
    Ok((value?, left_out))
}

/// Notes that a part of a message is left out.
pub(crate) fn leave_out(what: impl FnOnce() -> String) {
    LEFT_OUT.with_borrow_mut(|slot| {
        if let Some(left_out) = slot {
            left_out.count += 1;
            if left_out.named.len() < NAMED_MAX {
                left_out.named.push(what());
            }
        }
    });
}

/// Why a value cannot be read, without the value.
pub(crate) fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names = ["unknown variant", "missing field"];
    if names.iter().any(|name| text.starts_with(name)) {
        return text.chars().take(200).collect();
    }
    "it has another form".into()
}

/// For `deserialize_with`: a list, without the items that cannot be read.
pub(crate) fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items = Vec::<Value>::deserialize(deserializer)?;
    let mut read = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        // What names it, where it is a journey, a template or a named event.
        let name = ["id", "key", "name"].map(|field| item[field].as_str().map(str::to_owned));
        match serde_json::from_value(item) {
            Ok(item) => read.push(item),
            Err(error) => leave_out(|| {
                let what = match name.into_iter().flatten().next() {
                    Some(name) => format!("'{}'", name.escape_debug()),
                    None => format!("item {place}"),
                };
                format!("{what}: {}", fault(&error))
            }),
        }
    }
    Ok(read)
}

/// For `deserialize_with`: a value, or `None` where it cannot be read.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.is_null() {
        return Ok(None);
    }
    Ok(match serde_json::from_value(value) {
        Ok(value) => Some(value),
        Err(error) => {
            leave_out(|| format!("a value: {}", fault(&error)));
            None
        }
    })
}

/// For `deserialize_with`: a value that is there, even if it is null.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads an enum. `other` says what a value means that is not one of its variants; it is given the
/// name of the variant and why it cannot be read.
pub(crate) fn variant<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    known: impl FnOnce(Value) -> Result<T, serde_json::Error>,
    other: impl FnOnce(&str, String) -> T,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let name = match &value {
        Value::String(name) => name.clone(),
        Value::Object(fields) if !fields.is_empty() => {
            fields.keys().next().cloned().unwrap_or_default()
        }
        _ => return Err(D::Error::custom("not a variant of an enum")),
    };
    let name = name.chars().take(100).collect::<String>();
    Ok(known(value).unwrap_or_else(|error| {
        let fault = fault(&error);
        leave_out(|| format!("'{}': {fault}", name.escape_debug()));
        other(&name, fault)
    }))
}

/// Implements serde's traits for an enum that derives them with `remote = "Self"`, so that a variant of
/// a later version has the meaning given.
macro_rules! enum_on_the_wire {
    ($name:ident, |$variant:ident, $fault:ident| $other:expr $(,)?) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::variant(deserializer, $name::deserialize, |$variant, $fault| $other)
            }
        }
    };
}

pub(crate) use enum_on_the_wire;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::read;

    #[derive(Debug, Deserialize)]
    struct Named {
        #[expect(dead_code, reason = "only parsed")]
        id: String,
    }

    #[derive(Debug, Deserialize)]
    struct List {
        #[serde(default, deserialize_with = "super::each")]
        items: Vec<Named>,
        #[serde(default, deserialize_with = "super::optional")]
        size: Option<u8>,
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_counts() {
        let text = br#"{"items":[{"id":"a"},{"id":7},{"name":"b"},4],"size":"large"}"#;
        let (list, left_out) = read::<List>(text).unwrap();
        assert_eq!((list.items.len(), list.size), (1, None));
        assert_eq!(
            left_out.named,
            [
                "item 1: it has another form",
                "'b': missing field `id`",
                "item 3: it has another form",
                "a value: it has another form",
            ]
        );
        let (_, left_out) = read::<List>(br#"{"items":[{"id":"a"}]}"#).unwrap();
        assert!(left_out.is_empty());
        let many = format!(r#"{{"items":[{}0]}}"#, "0,".repeat(99));
        let (_, left_out) = read::<List>(many.as_bytes()).unwrap();
        assert_eq!((left_out.named.len(), left_out.count), (10, 100));
        assert!(read::<List>(b"{").is_err());
    }
}
