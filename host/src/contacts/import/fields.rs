//! The meaning of columns and JSON fields, and how a row is built from their values.

use std::collections::HashMap;

use hogsend_plugin_api::Properties;
use hogsend_semantics::own_address::is_address;
use serde_json::Value;

use super::Row;
use super::value::{boolean, id, identities, instant, lists, object_value};
use crate::contacts::file::short;
use crate::foreign;

/// The meaning of a column or of a JSON field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    ExternalId,
    Email,
    AnonymousId,
    Identities,
    UnsubscribedAll,
    Lists,
    Properties,
    FirstSeenAt,
    Property,
    Unused,
}

/// The meaning of each name in a file. Some depend on which other names there are.
pub(super) struct Fields(HashMap<String, Field>);

impl Fields {
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Self {
        let plain = |name: &str| {
            name.trim()
                .to_ascii_lowercase()
                .replace(['_', ' ', '-'], "")
        };
        let has = |wanted: &[&str]| {
            let mut names = names.clone();
            names.any(|name| wanted.contains(&plain(name).as_str()))
        };
        // In our own export `id` is Hogsend's id beside `externalId`. In other systems it is the
        // product's id.
        let id = if has(&["externalid", "userid"]) {
            Field::Unused
        } else {
            Field::ExternalId
        };
        let created_at = if has(&["firstseenat"]) {
            Field::Unused
        } else {
            Field::FirstSeenAt
        };
        let field = |name: &str| match plain(name).as_str() {
            "externalid" | "userid" => Field::ExternalId,
            "id" => id.clone(),
            _ if is_address(name) => Field::Email,
            "anonymousid" => Field::AnonymousId,
            "identities" => Field::Identities,
            "unsubscribedall" | "unsubscribed" => Field::UnsubscribedAll,
            "lists" => Field::Lists,
            "properties" => Field::Properties,
            "firstseenat" => Field::FirstSeenAt,
            "createdat" => created_at.clone(),
            "lastseenat" | "updatedat" | "" => Field::Unused,
            _ => Field::Property,
        };
        Self(names.map(|name| (name.to_owned(), field(name))).collect())
    }

    fn get(&self, name: &str) -> &Field {
        self.0.get(name).unwrap_or(&Field::Unused)
    }

    pub(super) fn names_people(&self) -> bool {
        let people = [
            Field::ExternalId,
            Field::Email,
            Field::AnonymousId,
            Field::Identities,
        ];
        self.0.values().any(|field| people.contains(field))
    }

    /// Two names with the same meaning.
    pub(super) fn same_meaning<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> Option<(&'n str, &'n str)> {
        let mut seen: Vec<(&Field, &str)> = Vec::new();
        for name in names {
            let field = self.get(name);
            if matches!(field, Field::Property | Field::Unused) {
                continue;
            }
            if let Some((_, other)) = seen.iter().find(|(one, _)| *one == field) {
                return Some((other, name));
            }
            seen.push((field, name));
        }
        None
    }

    /// The unused names, in the order given.
    pub(super) fn unused<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        let names = names.enumerate();
        let unused = names.filter(|(_, name)| *self.get(name) == Field::Unused);
        let named = unused.map(|(place, name)| match name.trim() {
            "" => format!("column {}, which has no name", place + 1),
            name => short(name),
        });
        named.collect()
    }
}

/// Builds a row from its values that are not empty.
pub(super) fn fill<'n>(
    fields: &Fields,
    values: impl Iterator<Item = (&'n str, Value)>,
) -> Result<Row, String> {
    let mut row = Row::default();
    for (name, mut value) in values {
        foreign::clean(&mut value);
        match fields.get(name) {
            Field::ExternalId => row.names.external_id = id(name, value)?,
            Field::AnonymousId => row.names.anonymous_id = id(name, value)?,
            Field::Identities => row.names.also = identities(name, value)?,
            Field::Email => match value {
                Value::String(text) => {
                    row.names.email = Some(text.trim().to_owned()).filter(|it| !it.is_empty());
                }
                _ => return Err(format!("{} must be text", short(name))),
            },
            Field::UnsubscribedAll => {
                row.unsubscribed_all = boolean(&value)
                    .ok_or_else(|| format!("{} must be true or false", short(name)))?;
            }
            Field::Lists => row.lists = lists(name, value)?,
            Field::Properties => {
                for (name, value) in object_value(name, value)? {
                    set(&mut row.properties, name, value)?;
                }
            }
            Field::FirstSeenAt => match instant(&value) {
                Some(at) => row.first_seen_at = Some(at),
                // Not a known format of a time: kept as a property.
                None => set(&mut row.properties, name.to_owned(), value)?,
            },
            Field::Property => set(&mut row.properties, name.to_owned(), value)?,
            Field::Unused => {}
        }
    }
    Ok(row)
}

fn set(properties: &mut Properties, mut name: String, value: Value) -> Result<(), String> {
    foreign::cleaned(&mut name);
    match properties.get(&name) {
        Some(other) if *other != value => Err(format!(
            "has two values for the property '{}'",
            short(&name)
        )),
        _ => {
            properties.insert(name, value);
            Ok(())
        }
    }
}
