//! Reads the rows of a JSON file.

use std::collections::HashSet;
use std::fmt;

use hogsend_plugin_api::json;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::fields::{Fields, fill};
use super::{Numbered, Row, Rows, too_many};
use crate::contacts::file::{ROWS_MAX, short};

const TOO_MANY: &str = "too many contacts";

pub(super) fn read(body: &[u8]) -> Result<Rows, String> {
    /// `{"contacts": […]}`, as the export writes it.
    #[derive(Deserialize)]
    struct Wrapped {
        contacts: Items,
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = json::repaired(body);
    let wrapped = body.trim_ascii_start().starts_with(b"{");
    let read = if wrapped {
        serde_json::from_slice::<Wrapped>(&body).map(|wrapped| wrapped.contacts)
    } else {
        serde_json::from_slice::<Items>(&body)
    };
    let Items(items) = read.map_err(|error| match error.to_string() {
        text if text.contains(TOO_MANY) => too_many(),
        text => format!("The file is not a JSON array of contacts: {text}"),
    })?;
    // In order of first appearance.
    let mut names: Vec<&str> = Vec::new();
    let mut known = HashSet::new();
    let mut filled = HashSet::new();
    for (name, value) in items.iter().flatten().flatten() {
        if known.insert(name.as_str()) {
            names.push(name);
        }
        if !value.is_null() {
            filled.insert(name.as_str());
        }
    }
    let fields = Fields::of(names.iter().copied());
    let unused = fields.unused(names.into_iter().filter(|name| filled.contains(name)));
    let rows = items.iter().enumerate().map(|(place, item)| Numbered {
        number: i32::try_from(place + 1).unwrap_or(i32::MAX),
        line: None,
        row: object(&fields, item.as_deref()).map(Some),
    });
    Ok(Rows {
        rows: rows.collect(),
        unused,
    })
}

fn object(fields: &Fields, item: Option<&[(String, Value)]>) -> Result<Row, String> {
    let item = item.ok_or("must be a JSON object")?;
    let given = || item.iter().filter(|(_, value)| !value.is_null());
    let mut seen = HashSet::new();
    if let Some((name, _)) = item.iter().find(|(name, _)| !seen.insert(name)) {
        return Err(format!("has two fields called '{}'", short(name)));
    }
    if let Some((one, other)) = fields.same_meaning(given().map(|(name, _)| name.as_str())) {
        let (one, other) = (short(one), short(other));
        return Err(format!("'{one}' and '{other}' mean the same"));
    }
    fill(
        fields,
        given().map(|(name, value)| (name.as_str(), value.clone())),
    )
}

/// The items of a JSON array, at most [`ROWS_MAX`]; None for an item that is not an object. The fields
/// of an object keep duplicates, so that they can be reported.
struct Items(Vec<Option<Vec<(String, Value)>>>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of contacts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
                let mut all = Vec::new();
                while let Some(Item(item)) = seq.next_element()? {
                    if all.len() == ROWS_MAX {
                        return Err(de::Error::custom(TOO_MANY));
                    }
                    all.push(item);
                }
                Ok(Items(all))
            }
        }
        reader.deserialize_seq(Seen)
    }
}

struct Item(Option<Vec<(String, Value)>>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Seen;

        impl<'de> Visitor<'de> for Seen {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a contact")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Item(Some(fields)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_str<E>(self, _: &str) -> Result<Item, E> {
                Ok(Item(None))
            }

            fn visit_unit<E>(self) -> Result<Item, E> {
                Ok(Item(None))
            }
        }
        reader.deserialize_any(Seen)
    }
}
