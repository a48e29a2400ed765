//! Validation of a contact's names and properties.

use hogsend_plugin_api::Properties;
use hogsend_semantics::address::Mailbox;
use hogsend_semantics::identity::no_id;

use super::PERSON_ID_MAX;
use crate::db::NewIdentity;
use crate::foreign;
use crate::foreign::Issue;

/// The names of the fields in the caller's request.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    pub user_id: &'static str,
    pub email: &'static str,
    pub properties: &'static str,
    /// The message for a request that names no contact.
    pub nobody: &'static str,
}

/// The names of these fields in the calls of the API.
pub const PATHS: Paths = Paths {
    user_id: "userId",
    email: "email",
    properties: "properties",
    nobody: "email or userId is required",
};

/// Adds an issue for everything wrong with the names and properties of a contact.
pub fn check(names: &NewIdentity, properties: &Properties, paths: &Paths, issues: &mut Vec<Issue>) {
    check_names(names, paths, issues);
    foreign::check(paths.properties, properties, issues);
}

/// Adds an issue for everything wrong with the names of a contact.
pub fn check_names(names: &NewIdentity, paths: &Paths, issues: &mut Vec<Issue>) {
    let mut add = |path: &str, message: String| issues.push(Issue::new(path, message));
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

/// Adds an issue unless the text has 1 to `max` characters.
pub fn check_text(path: &str, text: &str, max: usize, add: &mut impl FnMut(&str, String)) {
    if text.trim().is_empty() {
        add(path, "must not be empty".into());
    } else if text.chars().nth(max).is_some() {
        add(path, format!("must be at most {max} characters"));
    }
}

fn check_id(path: &str, id: &str, add: &mut impl FnMut(&str, String)) {
    match no_id(id) {
        Some(why) => add(path, why.into()),
        None => check_text(path, id, PERSON_ID_MAX, add),
    }
}

fn check_email(path: &str, email: &str, add: &mut impl FnMut(&str, String)) {
    if let Err(why) = Mailbox::parse(email) {
        add(path, format!("must be an email address: {why}"));
    }
}
