//! What an event must be before it is stored.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::address::Mailbox;
use serde_json::Value;

use super::{NewEvent, Person};
use crate::issue::Issue;

/// Characters in an event's name.
pub const EVENT_NAME_MAX: usize = 200;
const KEY_MAX: usize = 256;
const PERSON_ID_MAX: usize = 256;
/// Nesting levels of properties.
const DEPTH_MAX: usize = 32;

/// Everything wrong with an event, each with the path of the field in the caller's terms.
pub fn check_event(event: &NewEvent, now: DateTime<Utc>, paths: &Paths) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut add = |path: &str, message: String| issues.push(Issue::new(path, message));

    check_text(paths.name, &event.name, EVENT_NAME_MAX, &mut add);
    if let Some(key) = &event.dedupe_key {
        check_text(paths.dedupe_key, key, KEY_MAX, &mut add);
    }
    if let Person::Names(names) = &event.person {
        if names.external_id.is_none() && names.email.is_none() {
            add("", paths.nobody.to_owned());
        }
        if let Some(id) = &names.external_id {
            check_text(paths.user_id, id, PERSON_ID_MAX, &mut add);
        }
        if let Some(id) = &names.anonymous_id {
            check_text("anonymousId", id, PERSON_ID_MAX, &mut add);
        }
        if let Some(email) = &names.email {
            check_email(paths.email, email, &mut add);
        }
    }
    for (path, properties) in [
        (paths.properties, &event.properties),
        (paths.contact_properties, &event.contact_properties),
    ] {
        for (name, value) in properties {
            check_value(
                &format!("{path}.{}", name.replace('\0', "\u{fffd}")),
                name,
                value,
                1,
                &mut add,
            );
        }
    }
    if let Some(at) = event.occurred_at {
        // Beyond these the database or a chart breaks; a clock that runs a little fast does not.
        let earliest = DateTime::UNIX_EPOCH;
        if at < earliest {
            add(paths.timestamp, "must not be before 1970".into());
        } else if at > now + TimeDelta::days(1) {
            add(
                paths.timestamp,
                "must not be more than a day in the future".into(),
            );
        }
    }
    issues
}

/// How the caller's own fields are called.
pub struct Paths {
    pub name: &'static str,
    pub dedupe_key: &'static str,
    pub user_id: &'static str,
    pub email: &'static str,
    pub properties: &'static str,
    pub contact_properties: &'static str,
    pub timestamp: &'static str,
    /// The message where nobody is named.
    pub nobody: &'static str,
}

impl Paths {
    /// `/v1/events`.
    pub const API: Self = Self {
        name: "name",
        dedupe_key: "idempotencyKey",
        user_id: "userId",
        email: "email",
        properties: "eventProperties",
        contact_properties: "contactProperties",
        timestamp: "timestamp",
        nobody: "email or userId is required",
    };

    /// What a plugin read from a webhook.
    pub const WEBHOOK: Self = Self {
        name: "event name",
        dedupe_key: "event id",
        user_id: "user id",
        email: "email",
        properties: "event properties",
        contact_properties: "person properties",
        timestamp: "timestamp",
        nobody: "the event names nobody: a user id or an e-mail address is required",
    };
}

/// The first thing wrong with an event a journey caused.
pub fn check_journey_event(event: &NewEvent) -> Option<Issue> {
    let paths = Paths {
        name: "event",
        properties: "properties",
        ..Paths::API
    };
    // Such an event happens now, so any instant serves.
    check_event(event, DateTime::UNIX_EPOCH, &paths)
        .into_iter()
        .next()
}

fn check_text(path: &str, text: &str, max: usize, add: &mut impl FnMut(&str, String)) {
    if text.trim().is_empty() {
        add(path, "must not be empty".into());
    } else if text.chars().count() > max {
        add(path, format!("must be at most {max} characters"));
    } else if text.contains('\0') {
        add(path, "must not contain a NUL character (\\u0000)".into());
    }
}

fn check_email(path: &str, email: &str, add: &mut impl FnMut(&str, String)) {
    if let Err(why) = Mailbox::parse(email) {
        add(path, format!("must be an e-mail address: {why}"));
    }
}

fn check_value(
    path: &str,
    name: &str,
    value: &Value,
    depth: usize,
    add: &mut impl FnMut(&str, String),
) {
    if depth > DEPTH_MAX {
        add(
            path,
            format!("must not be nested more than {DEPTH_MAX} levels deep"),
        );
        return;
    }
    if name.contains('\0') {
        add(
            path,
            "a property name must not contain a NUL character (\\u0000)".into(),
        );
    }
    match value {
        Value::String(text) if text.contains('\0') => {
            add(path, "must not contain a NUL character (\\u0000)".into());
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_value(&format!("{path}.{index}"), "", item, depth + 1, add);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                check_value(
                    &format!("{path}.{}", name.replace('\0', "\u{fffd}")),
                    name,
                    item,
                    depth + 1,
                    add,
                );
            }
        }
        _ => {}
    }
}
