//! The fields of events, common ones and those of each `[[events]]`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::condition;
use super::field::{self, UNITS};
use super::section::{Section, kind};
use crate::mapping::{Field, Fields, Name, Origin, Rule, Unit};

/// Keys of the fields.
pub const KEYS: [&str; 9] = [
    "name",
    "key",
    "time",
    "user_id",
    "email",
    "anonymous_id",
    "identities",
    "properties",
    "contact_properties",
];

/// The rules of a file: its `[[events]]`, each with the fields at the top of the file where it has none of
/// its own, or one for all events.
pub fn read_all(top: &Section<'_>) -> Vec<Rule> {
    let common = read_fields(top, &Fields::default());
    let tables = top.tables("events");
    if tables.is_empty() {
        if common.name.field.0.is_empty() && top.value("name").is_none() {
            let message = "is missing: give events a name, such as name = \"/type\"";
            top.problem("name", message);
        }
        return vec![Rule {
            conditions: Vec::new(),
            skip: None,
            fields: common,
        }];
    }
    let rules = tables
        .into_iter()
        .map(|(name, table)| read_rule(&top.inner(&name, table), &common));
    rules.collect()
}

fn read_rule(section: &Section<'_>, common: &Fields) -> Rule {
    let conditions = condition::read_all(section, "where");
    let skip = section.text("skip").map(str::to_owned);
    let fields = match skip {
        Some(_) => Fields::default(),
        None => read_fields(section, common),
    };
    if skip.is_none() && fields.name.field.0.is_empty() && section.value("name").is_none() {
        let message = "is missing: give the event a name, here or at the top of the file";
        section.problem("name", message);
    }
    section.finish(&[&KEYS[..], &["where", "skip"]].concat());
    Rule {
        conditions,
        skip,
        fields,
    }
}

fn read_fields(section: &Section<'_>, common: &Fields) -> Fields {
    let field = |key: &'static str, common: &Field| match section.value(key) {
        Some(value) => field::read(section, key, value),
        None => common.clone(),
    };
    Fields {
        name: match section.value("name") {
            Some(value) => name(section, value),
            None => common.name.clone(),
        },
        key: field("key", &common.key),
        time: match section.value("time") {
            Some(value) => time(section, value),
            None => common.time.clone(),
        },
        user_id: field("user_id", &common.user_id),
        email: field("email", &common.email),
        anonymous_id: field("anonymous_id", &common.anonymous_id),
        identities: identities(section, &common.identities),
        properties: named(section, "properties", &common.properties),
        contact_properties: named(section, "contact_properties", &common.contact_properties),
    }
}

/// A constant name, a place, or a table `{ from, names, others }`.
fn name(section: &Section<'_>, value: &Value) -> Name {
    match value {
        Value::String(text) if is_constant(text) => Name {
            field: constant(text),
            ..Name::default()
        },
        Value::Table(table) if table.contains_key("names") || table.contains_key("others") => {
            named_by_table(&section.inner("name", table))
        }
        other => Name {
            field: field::read(section, "name", other),
            ..Name::default()
        },
    }
}

/// Whether a text is a name itself and not where one is.
fn is_constant(text: &str) -> bool {
    let place = text.starts_with(['/', '{']) || text.contains(['{', ':']);
    !place && !text.trim().is_empty()
}

fn constant(text: &str) -> Field {
    Field(vec![crate::mapping::Alternative {
        origin: Origin::Constant(text.into()),
        convert: None,
        conditions: Vec::new(),
    }])
}

fn named_by_table(section: &Section<'_>) -> Name {
    let from = match section.value("from") {
        Some(value) => field::read(section, "from", value),
        None => {
            section.problem("from", "is missing: say where the vendor's name is");
            Field::default()
        }
    };
    let mut names = BTreeMap::new();
    for (theirs, ours) in section.table("names").into_iter().flatten() {
        match ours.as_str().filter(|ours| !ours.trim().is_empty()) {
            Some(ours) => {
                names.insert(theirs.clone(), ours.to_owned());
            }
            None => section.problem(&format!("names.\"{theirs}\""), "must be a name of an event"),
        }
    }
    let others = section.one_of("others", &[("keep", false), ("skip", true)]);
    section.finish(&["from", "names", "others"]);
    Name {
        field: from,
        names,
        skip_others: others.unwrap_or_default(),
    }
}

/// A place with an RFC 3339 time, or a table `{ from, unit }`.
fn time(section: &Section<'_>, value: &Value) -> (Field, Unit) {
    let Value::Table(table) = value else {
        return (field::read(section, "time", value), Unit::Rfc3339);
    };
    let inner = section.inner("time", table);
    let from = match inner.value("from") {
        Some(value) => field::read(&inner, "from", value),
        None => {
            inner.problem("from", "is missing: say where the time is");
            Field::default()
        }
    };
    let unit = inner.one_of("unit", &UNITS);
    inner.finish(&["from", "unit"]);
    (from, unit.unwrap_or_default())
}

fn identities(section: &Section<'_>, common: &BTreeMap<String, Field>) -> BTreeMap<String, Field> {
    let mut all = common.clone();
    let Some(table) = section.table("identities") else {
        return all;
    };
    let inner = section.inner("identities", table);
    for (kind, value) in table {
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if kind.is_empty() || kind.len() > 64 || !kind.chars().all(sound) {
            let message =
                "is no kind of an id: use up to 64 letters, digits and _, such as acme_customer";
            inner.problem(kind, message);
        }
        all.insert(kind.clone(), field::read(&inner, kind, value));
    }
    all
}

/// A place with an object, or a table of fields by name.
fn named(
    section: &Section<'_>,
    key: &'static str,
    common: &BTreeMap<String, Field>,
) -> BTreeMap<String, Field> {
    let mut all = common.clone();
    let whole = |value: &Value| field::read(section, key, value);
    match section.value(key) {
        None => {}
        Some(Value::Table(table)) => {
            let table: &Table = table;
            let inner = section.inner(key, table);
            for (name, value) in table {
                all.insert(name.clone(), field::read(&inner, name, value));
            }
        }
        Some(text @ Value::String(_)) => {
            all.insert("*".to_owned(), whole(text));
        }
        Some(other) => {
            let message = format!(
                "must be a table of names and places, or one place with an object, not {}",
                kind(other)
            );
            section.problem(key, message);
        }
    }
    all
}
