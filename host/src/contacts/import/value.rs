//! Reads the values of single cells and JSON fields.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use hogsend_plugin_api::{Properties, json};
use hogsend_semantics::identity::{Id, no_id};
use serde::Deserialize;
use serde_json::Value;

use crate::contacts::consent::list_issue;
use crate::contacts::file::short;
use crate::contacts::{PERSON_ID_MAX, is_kind};
use crate::foreign;

/// Most lists of one row.
const LISTS_MAX: usize = 200;
/// Most further ids of one row.
pub(super) const IDENTITIES_MAX: usize = 1_000;

pub(super) fn id(name: &str, value: Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(format!("{} must be text", short(name))),
    };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Reads further ids: an array `[{"kind": …, "value": …}]`, or a string that holds one.
pub(super) fn identities(name: &str, value: Value) -> Result<Vec<Id>, String> {
    #[derive(Deserialize)]
    struct Given {
        kind: String,
        value: String,
    }
    let read = match value {
        Value::String(text) => json::from_slice::<Vec<Given>>(text.as_bytes()).ok(),
        value => serde_json::from_value(value).ok(),
    };
    let name = short(name);
    let given =
        read.ok_or_else(|| format!("{name} must be a JSON array of objects with kind and value"))?;
    if given.len() > IDENTITIES_MAX {
        return Err(format!("{name} may hold at most {IDENTITIES_MAX} ids"));
    }
    let ids = given.into_iter().map(|Given { kind, mut value }| {
        foreign::cleaned(&mut value);
        if !is_kind(&kind) {
            return Err(format!("{name}: '{}' is not a kind of id", short(&kind)));
        }
        match no_id(&value) {
            Some(why) => Err(format!("{name}: '{}' {why}", short(&value))),
            None if value.chars().nth(PERSON_ID_MAX).is_some() => Err(format!(
                "{name}: an id must be at most {PERSON_ID_MAX} characters"
            )),
            None => Ok(Id::new(kind, value)),
        }
    });
    ids.collect()
}

pub(super) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Reads an object, or a string that holds one.
pub(super) fn object_value(name: &str, value: Value) -> Result<Properties, String> {
    let read = match value {
        Value::Object(fields) => Some(fields),
        Value::String(text) => json::from_slice(text.as_bytes()).ok(),
        _ => None,
    };
    let mut read = read.ok_or_else(|| format!("{} must be a JSON object", short(name)))?;
    foreign::clean_properties(&mut read);
    Ok(read)
}

pub(super) fn lists(name: &str, value: Value) -> Result<BTreeMap<String, bool>, String> {
    let given = object_value(name, value)?;
    if given.len() > LISTS_MAX {
        return Err(format!(
            "{} may name at most {LISTS_MAX} lists",
            short(name)
        ));
    }
    let lists = given.into_iter().map(|(id, value)| {
        if let Some(why) = list_issue(&id) {
            return Err(format!("{}: {why}", short(name)));
        }
        let on = boolean(&value);
        let on =
            on.ok_or_else(|| format!("{} must be true or false for each list", short(name)))?;
        Ok((id, on))
    });
    lists.collect()
}

/// Reads a time: RFC 3339, a date, `2026-01-31 12:00:00` in UTC, or seconds or milliseconds since 1970.
pub(super) fn instant(value: &Value) -> Option<DateTime<Utc>> {
    // Smaller numbers are more likely something else, for example 20260131.
    const SECONDS_FROM: i64 = 100_000_000;
    // Numbers from here on are milliseconds: as seconds they would be after the year 5000.
    const MILLISECONDS_FROM: i64 = 100_000_000_000;
    let number = |number: i64| match number {
        ..SECONDS_FROM => None,
        MILLISECONDS_FROM.. => DateTime::from_timestamp_millis(number),
        _ => DateTime::from_timestamp(number, 0),
    };
    let at = match value {
        Value::Number(given) => number(given.as_i64()?)?,
        Value::String(text) => {
            let text = text.trim();
            if let Ok(given) = text.parse() {
                number(given)?
            } else if let Ok(at) = DateTime::parse_from_rfc3339(text) {
                at.to_utc()
            } else if let Ok(day) = text.parse::<NaiveDate>() {
                day.and_hms_opt(0, 0, 0)?.and_utc()
            } else {
                let spaced = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S");
                spaced.ok()?.and_utc()
            }
        }
        _ => return None,
    };
    foreign::is_storable(at).then_some(at)
}
