//! Validation of events before they are stored.

use chrono::{DateTime, TimeDelta, Utc};

use super::NewEvent;
use crate::contacts::{self, Person};
use crate::event_names::{is_own, taken};
use crate::foreign;
use crate::foreign::Issue;

/// Most characters in an event's name.
pub const EVENT_NAME_MAX: usize = 200;
pub(super) const KEY_MAX: usize = 256;

/// Everything wrong with an event, each with the path of the field in the caller's terms.
pub fn check_event(event: &NewEvent, now: DateTime<Utc>, paths: &Paths) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut add = |path: &str, message: String| issues.push(Issue::new(path, message));

    contacts::check_text(paths.name, &event.name, EVENT_NAME_MAX, &mut add);
    if let Some(key) = &event.dedupe_key {
        contacts::check_text(paths.dedupe_key, key, KEY_MAX, &mut add);
    }
    if let Person::Names(names) = &event.person {
        contacts::check_names(names, &paths.person(), &mut issues);
    }
    foreign::check(paths.properties, &event.properties, &mut issues);
    foreign::check(
        paths.contact_properties,
        &event.contact_properties,
        &mut issues,
    );
    let mut add = |path: &str, message: String| issues.push(Issue::new(path, message));
    if let Some(at) = event.occurred_at {
        // Times outside these bounds break charts or the database. A day allows for fast clocks.
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

/// As [`check_event`], for an event from outside, which may not have a reserved name.
pub fn check_from_outside(event: &NewEvent, now: DateTime<Utc>, paths: &Paths) -> Vec<Issue> {
    let mut issues = check_event(event, now, paths);
    if is_own(&event.name) {
        issues.push(Issue::new(paths.name, taken(&event.name)));
    }
    issues
}

/// The names of the fields in the caller's request.
pub struct Paths {
    pub name: &'static str,
    pub dedupe_key: &'static str,
    pub user_id: &'static str,
    pub email: &'static str,
    pub properties: &'static str,
    pub contact_properties: &'static str,
    pub timestamp: &'static str,
    /// The message for an event that names no contact.
    pub nobody: &'static str,
}

impl Paths {
    /// The fields with the names of the contact.
    fn person(&self) -> contacts::Paths {
        contacts::Paths {
            user_id: self.user_id,
            email: self.email,
            properties: self.contact_properties,
            nobody: self.nobody,
        }
    }

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

/// The first thing wrong with an event a journey triggered.
pub fn check_journey_event(event: &NewEvent) -> Option<Issue> {
    let paths = Paths {
        name: "event",
        properties: "properties",
        ..Paths::API
    };
    // The event has no timestamp to compare, so any time will do.
    check_event(event, DateTime::UNIX_EPOCH, &paths)
        .into_iter()
        .next()
}
