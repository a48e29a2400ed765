//! One table of a file: typed access to its keys, and the mistakes in it.

use std::cell::RefCell;

use toml::{Table, Value};

/// A table of a file. Mistakes are collected; a key with a mistake counts as missing.
pub struct Section<'a> {
    table: &'a Table,
    /// The key of the table: `authentication`; empty for the whole file.
    path: String,
    asked: RefCell<Vec<&'static str>>,
    problems: &'a RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    pub fn new(table: &'a Table, path: String, problems: &'a RefCell<Vec<String>>) -> Self {
        Self {
            table,
            path,
            asked: RefCell::default(),
            problems,
        }
    }

    /// A table inside this one.
    pub fn inner(&self, key: &str, table: &'a Table) -> Self {
        Self::new(table, self.path_of(key), self.problems)
    }

    pub fn path_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => self.path.clone(),
            _ => format!("{}.{key}", self.path),
        }
    }

    pub fn problem(&self, key: &str, message: impl AsRef<str>) {
        let text = format!("{}: {}", self.path_of(key), message.as_ref());
        self.problems.borrow_mut().push(text);
    }

    /// The value, or `None` with its mistake noted.
    pub fn sound<T>(&self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|wrong| self.problem(key, wrong)).ok()
    }

    /// How many mistakes the file has so far.
    pub fn mistakes(&self) -> usize {
        self.problems.borrow().len()
    }

    pub fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    pub fn text(&self, key: &'static str) -> Option<&'a str> {
        let text = self.text_or_empty(key)?;
        if text.trim().is_empty() {
            self.problem(key, "is empty: give it a value or remove it");
            return None;
        }
        Some(text)
    }

    pub fn text_or_empty(&self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        if value.as_str().is_none() {
            self.problem(key, format!("must be a text, not {}", kind(value)));
        }
        value.as_str()
    }

    /// Notes that a key is missing; `what` says how to fix it.
    pub fn require(&self, key: &str, what: &str) {
        if !self.table.contains_key(key) {
            self.problem(key, format!("is missing: {what}"));
        }
    }

    pub fn required(&self, key: &'static str, what: &str) -> Option<&'a str> {
        self.require(key, what);
        self.text(key)
    }

    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        if value.as_bool().is_none() {
            self.problem(key, format!("must be true or false, not {}", kind(value)));
        }
        value.as_bool()
    }

    /// A whole number in a range.
    pub fn number(&self, key: &'static str, least: i64, most: i64) -> Option<i64> {
        let value = self.value(key)?;
        let number = value
            .as_integer()
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("must be a whole number from {least} to {most}");
            self.problem(key, message);
        }
        number
    }

    /// One of these words.
    pub fn one_of<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let meant = nearest(text, &known);
            let meant = meant.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
            let message = format!("'{text}' is unknown{meant}: use {}", or(&known));
            self.problem(key, message);
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub fn table(&self, key: &'static str) -> Option<&'a Table> {
        let value = self.value(key)?;
        if value.as_table().is_none() {
            self.problem(key, format!("must be a table, not {}", kind(value)));
        }
        value.as_table()
    }

    /// The tables of an array, each with its key, counted from 1.
    pub fn tables(&self, key: &'static str) -> Vec<(String, &'a Table)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.as_array() else {
            let message = format!("must be an array of tables, not {}", kind(value));
            self.problem(key, message);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let name = format!("{key}[{}]", at + 1);
            match item.as_table() {
                Some(table) => tables.push((name, table)),
                None => self.problem(&name, format!("must be a table, not {}", kind(item))),
            }
        }
        tables
    }

    /// Refuses the keys that nobody asked for. `known` are all keys of such a table, some of which may not
    /// apply to this one.
    pub fn finish(&self, known: &[&str]) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            if asked.contains(&key.as_str()) {
                continue;
            }
            if known.contains(&key.as_str()) {
                self.problem(key, "does not apply here: remove it");
                continue;
            }
            let message = match nearest(key, known) {
                Some(near) => format!("is not a key: did you mean '{near}'?"),
                None => format!(
                    "is not a key: known are {}",
                    or(known).replace(" or ", " and ")
                ),
            };
            self.problem(key, message);
        }
    }
}

/// The known word that a misspelt one most likely stands for.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Comparing long words is slow, and no key is long.
    if word.len() > 64 {
        return None;
    }
    let distance = |one: &&str| strsim::osa_distance(&word.to_ascii_lowercase(), one);
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) <= near.len().min(word.len()) / 3 + 1).then_some(near)
}

fn or(words: &[&str]) -> String {
    match words {
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
        [] => String::new(),
    }
}

/// The kind of a value, for messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

/// A TOML value as JSON. A time becomes its text.
pub fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::String(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::Datetime(time) => Json::String(time.to_string()),
        Value::Array(items) => Json::Array(items.iter().map(json).collect()),
        Value::Table(fields) => {
            let fields = fields.iter();
            Json::Object(
                fields
                    .map(|(name, value)| (name.clone(), json(value)))
                    .collect(),
            )
        }
    }
}
