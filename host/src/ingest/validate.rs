//! What an event must be before it is stored.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_semantics::address::Mailbox;
use hogsend_semantics::identity::no_id;

use super::{NewEvent, Person};
use crate::event_names::{is_own, taken};
use crate::foreign;
use crate::issue::Issue;

/// Characters in an event's name.
pub const EVENT_NAME_MAX: usize = 200;
pub(super) const KEY_MAX: usize = 256;
/// Characters in an id of a person.
pub const PERSON_ID_MAX: usize = 256;

/// Everything wrong with an event, each with the path of the field in the caller's terms.
pub fn check_event(event: &NewEvent, now: DateTime<Utc>, paths: &Paths) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut add = |path: &str, message: String| issues.push(Issue::new(path, message));

    check_text(paths.name, &event.name, EVENT_NAME_MAX, &mut add);
    if let Some(key) = &event.dedupe_key {
        check_text(paths.dedupe_key, key, KEY_MAX, &mut add);
    }
    if let Person::Names(names) = &event.person {
        if names.is_empty() {
            add("", paths.nobody.to_owned());
        }
        if let Some(id) = &names.external_id {
            check_id(paths.user_id, id, &mut add);
        }
        if let Some(id) = &names.anonymous_id {
            check_id("anonymousId", id, &mut add);
        }
        if let Some(email) = &names.email {
            check_email(paths.email, email, &mut add);
        }
    }
    foreign::check(paths.properties, &event.properties, &mut issues);
    foreign::check(
        paths.contact_properties,
        &event.contact_properties,
        &mut issues,
    );
    let mut add = |path: &str, message: String| issues.push(Issue::new(path, message));
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

/// As [`check_event`], of an event somebody outside tells us of.
pub fn check_from_outside(event: &NewEvent, now: DateTime<Utc>, paths: &Paths) -> Vec<Issue> {
    let mut issues = check_event(event, now, paths);
    if is_own(&event.name) {
        issues.push(Issue::new(paths.name, taken(&event.name)));
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
        nobody: "email, userId or anonymousId is required",
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
    } else if text.chars().nth(max).is_some() {
        add(path, format!("must be at most {max} characters"));
    }
}

/// Whether ids may be of a kind of this name, as sources make them up.
pub fn is_kind(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=40).contains(&name.len()) && name.chars().all(word)
}

fn check_id(path: &str, id: &str, add: &mut impl FnMut(&str, String)) {
    match no_id(id) {
        Some(why) => add(path, why.into()),
        None => check_text(path, id, PERSON_ID_MAX, add),
    }
}

fn check_email(path: &str, email: &str, add: &mut impl FnMut(&str, String)) {
    if let Err(why) = Mailbox::parse(email) {
        add(path, format!("must be an e-mail address: {why}"));
    }
}
