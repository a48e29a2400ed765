//! The identifiers of a contact in a request's body.

use hogsend_plugin_api::Properties;

use crate::app::App;
use crate::db::NewIdentity;
use crate::http::ApiError;
use crate::ids::ContactId;
use crate::ingest::{NewEvent, Paths, Person, check_event};
use crate::issue::Issue;

/// The names of these fields.
const PATHS: Paths = Paths {
    contact_properties: "properties",
    nobody: "email or userId is required",
    ..Paths::API
};

/// The identifiers of a contact, validated like those of an event.
pub fn names(
    app: &App,
    names: NewIdentity,
    properties: &Properties,
    anonymous_will_do: bool,
) -> Result<NewIdentity, ApiError> {
    names_at(app, names, properties, anonymous_will_do, &PATHS)
}

/// The identifiers of a contact, in a body with other field names.
pub fn names_at(
    app: &App,
    names: NewIdentity,
    properties: &Properties,
    anonymous_will_do: bool,
    paths: &Paths,
) -> Result<NewIdentity, ApiError> {
    let now = app.clock.now();
    let mut about = NewEvent::from_journey(ContactId::new(now), "x", Properties::new(), 0);
    about.contact_properties.clone_from(properties);
    about.person = Person::Names(names.clone());
    let mut issues: Vec<Issue> = check_event(&about, now, paths);
    let only_anonymous = names.external_id.is_none() && names.email.is_none();
    if only_anonymous && !anonymous_will_do && issues.iter().all(|issue| !issue.path.is_empty()) {
        issues.push(Issue::new("", paths.nobody));
    }
    if issues.is_empty() {
        Ok(names)
    } else {
        Err(ApiError::validation(&issues))
    }
}
