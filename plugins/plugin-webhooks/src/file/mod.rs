//! Reads a file into a source and names every mistake in it at once.

mod authentication;
mod condition;
mod field;
mod rule;
mod section;

use std::cell::RefCell;

use toml::Table;

use crate::mapping::Mapping;
use crate::source::Source;
use section::Section;

/// Keys at the top of a file, apart from those of the events.
const TOP: [&str; 5] = [
    "description",
    "untrusted",
    "items",
    "authentication",
    "events",
];

/// Parses the description of the source with this id.
///
/// # Errors
///
/// Every mistake. Each names the key, what is wrong and the fix.
pub fn parse(id: &str, text: &str) -> Result<Source, Vec<String>> {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return Err(vec![syntax(text, &error)]),
    };
    let problems = RefCell::default();
    let top = Section::new(&table, String::new(), &problems);
    check_id(id, &top);
    top.text("description");
    let untrusted = top.flag("untrusted").unwrap_or_default();
    let items = top.text_or_empty("items");
    let items = items.and_then(|text| top.sound("items", crate::place::pointer(text)));
    let authentication = authentication::read(&top);
    let conditions = condition::read_all(&top, "where");
    let rules = rule::read_all(&top);
    let known: Vec<&str> = [&TOP[..], &rule::KEYS[..], &["where"]].concat();
    top.finish(&known);
    let problems = problems.into_inner();
    match (authentication, problems.is_empty()) {
        (Some(authentication), true) => Ok(Source {
            id: id.to_owned(),
            untrusted,
            authentication,
            mapping: Mapping {
                items,
                conditions,
                rules,
            },
        }),
        _ => Err(problems),
    }
}

fn check_id(id: &str, top: &Section<'_>) {
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || id.len() > 64 || !id.chars().all(sound) {
        top.problem(
            "the file's name",
            "is the id in /v1/webhooks/<id>: use up to 64 lower-case letters, digits and hyphens, such as \
             acme.toml",
        );
    }
}

/// A mistake in the syntax, with its line.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    format!("line {line} is not valid TOML: {message}")
}
