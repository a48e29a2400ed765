//! Where a field comes from: a place, a template, a list of both, or a table.

use toml::Value;

use super::condition;
use super::section::{Section, json, kind};
use crate::mapping::{Alternative, Convert, Field, Origin, Unit};
use crate::place::{Place, pointer};
use crate::template::Template;

const KEYS: [&str; 8] = [
    "from", "value", "list", "take", "as", "unit", "currency", "where",
];

/// The units of a time.
pub const UNITS: [(&str, Unit); 3] = [
    ("rfc3339", Unit::Rfc3339),
    ("seconds", Unit::Seconds),
    ("milliseconds", Unit::Milliseconds),
];

/// Reads a field. Mistakes are noted under the key, which is relative to the section.
pub fn read(section: &Section<'_>, key: &str, value: &Value) -> Field {
    let mut all = Vec::new();
    match value {
        Value::Array(items) if items.is_empty() => {
            section.problem(key, "is an empty array: name a place, or remove it");
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                read_one(section, &format!("{key}[{}]", at + 1), item, &mut all);
            }
        }
        one => read_one(section, key, one, &mut all),
    }
    Field(all)
}

fn read_one(section: &Section<'_>, key: &str, value: &Value, all: &mut Vec<Alternative>) {
    match value {
        Value::String(text) => {
            let origin = section.sound(key, origin(text));
            all.extend(origin.map(|origin| Alternative {
                origin,
                convert: None,
                conditions: Vec::new(),
            }));
        }
        Value::Table(table) => of_table(&section.inner(key, table), all),
        other => {
            let message = format!(
                "must be a place such as \"/data/id\", not {}: write {{ value = … }} for a constant",
                kind(other)
            );
            section.problem(key, message);
        }
    }
}

/// A place, or a template with places in braces.
pub fn origin(text: &str) -> Result<Origin, String> {
    if text.contains(['{', '}']) {
        return Template::value(text).map(Origin::Template);
    }
    Place::parse(text).map(Origin::Place).map_err(|wrong| {
        let braces = "for a constant text write { value = … }";
        format!("{wrong}; {braces}")
    })
}

fn of_table(section: &Section<'_>, all: &mut Vec<Alternative>) {
    let before = section.mistakes();
    let mut origins = Vec::new();
    let mut ways = 0;
    if let Some(value) = section.value("from") {
        ways += 1;
        let texts: Vec<Option<&str>> = match value {
            Value::Array(items) => items.iter().map(Value::as_str).collect(),
            one => vec![one.as_str()],
        };
        for text in texts {
            match text {
                Some(text) => origins.extend(section.sound("from", origin(text))),
                None => section.problem("from", "must be a place, or an array of places"),
            }
        }
    }
    if let Some(value) = section.value("value") {
        ways += 1;
        origins.push(Origin::Constant(json(value)));
    }
    if let Some(list) = section.text_or_empty("list") {
        ways += 1;
        let list = section.sound("list", Place::parse(list));
        let take = section.text_or_empty("take").unwrap_or_default();
        let take = section.sound("take", pointer(take));
        let conditions = condition::read_all(section, "where");
        if let (Some(list), Some(take)) = (list, take) {
            origins.push(Origin::Element {
                list,
                conditions,
                take,
            });
        }
    }
    let is_list = origins
        .iter()
        .any(|origin| matches!(origin, Origin::Element { .. }));
    // In a list they select the element.
    let conditions = match is_list {
        true => Vec::new(),
        false => condition::read_all(section, "where"),
    };
    let convert = convert(section);
    section.finish(&KEYS);
    // A misspelt key is named already.
    if ways != 1 && section.mistakes() == before {
        section.problem("", "needs exactly one of from, value and list");
    }
    all.extend(origins.into_iter().map(|origin| Alternative {
        origin,
        convert: convert.clone(),
        conditions: conditions.clone(),
    }));
}

fn convert(section: &Section<'_>) -> Option<Convert> {
    let words = [("text", 0), ("time", 1), ("money", 2)];
    match section.one_of("as", &words)? {
        0 => Some(Convert::Text),
        1 => {
            let unit = section.one_of("unit", &UNITS);
            if unit.is_none() && section.value("unit").is_none() {
                section.problem("unit", "is missing: say seconds, milliseconds or rfc3339");
            }
            unit.map(Convert::Time)
        }
        _ => {
            let place = section.required("currency", "say where the code of the currency is");
            let place = place.and_then(|text| section.sound("currency", Place::parse(text)));
            place.map(Convert::Money)
        }
    }
}
