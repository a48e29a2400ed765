//! Conditions: `where = [{ at = "/type", equals = "user.created" }]`.

use super::section::{Section, json, kind};
use crate::mapping::{Condition, Test};
use crate::place::Place;

const KEYS: [&str; 7] = [
    "at", "equals", "one_of", "none_of", "exists", "same_as", "at_most",
];

/// The conditions under a key.
pub fn read_all(section: &Section<'_>, key: &'static str) -> Vec<Condition> {
    let tables = section.tables(key);
    let conditions = tables
        .into_iter()
        .filter_map(|(name, table)| read(&section.inner(&name, table)));
    conditions.collect()
}

fn read(section: &Section<'_>) -> Option<Condition> {
    let before = section.mistakes();
    let at = section.value("at").and_then(toml::Value::as_str);
    if at.is_none() {
        section.problem(
            "at",
            "is missing: say where the value is, such as \"/type\"",
        );
    }
    let place = at.and_then(|text| section.sound("at", Place::parse(text)));
    let mut tests = Vec::new();
    if let Some(value) = section.value("equals") {
        match value.is_array() || value.is_table() {
            true => {
                let message = format!(
                    "must be one value, not {}: use one_of for several",
                    kind(value)
                );
                section.problem("equals", message);
            }
            false => tests.push(Some(Test::Equals(json(value)))),
        }
    }
    for (key, test) in [
        ("one_of", Test::OneOf as fn(Vec<serde_json::Value>) -> Test),
        ("none_of", Test::NoneOf),
    ] {
        if let Some(value) = section.value(key) {
            let values = value.as_array().filter(|values| !values.is_empty());
            if values.is_none() {
                section.problem(key, "must be an array of values");
            }
            tests.push(values.map(|values| test(values.iter().map(json).collect())));
        }
    }
    if let Some(flag) = section.flag("exists") {
        tests.push(Some(Test::Exists(flag)));
    }
    for (key, test) in [
        ("same_as", Test::SameAs as fn(Place) -> Test),
        ("at_most", Test::AtMost),
    ] {
        if let Some(text) = section.text_or_empty(key) {
            tests.push(section.sound(key, Place::parse(text)).map(test));
        }
    }
    section.finish(&KEYS);
    // A misspelt or malformed test is named already.
    if tests.len() != 1 && section.mistakes() == before {
        section.problem(
            "",
            "needs exactly one of equals, one_of, none_of, exists, same_as and at_most",
        );
    }
    let test = tests.pop().flatten();
    Some(Condition {
        place: place?,
        test: test?,
    })
}
