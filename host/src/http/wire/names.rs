//! The identifiers of a contact in a request's body.

use hogsend_plugin_api::Properties;

use crate::contacts::{self, PATHS, Paths};
use crate::db::NewIdentity;
use crate::foreign::Issue;
use crate::http::ApiError;

/// The identifiers of a contact, validated like those of an event.
pub fn names(
    names: NewIdentity,
    properties: &Properties,
    allow_anonymous: bool,
) -> Result<NewIdentity, ApiError> {
    names_at(names, properties, allow_anonymous, &PATHS)
}

/// The identifiers of a contact, in a body with other field names.
pub fn names_at(
    names: NewIdentity,
    properties: &Properties,
    allow_anonymous: bool,
    paths: &Paths,
) -> Result<NewIdentity, ApiError> {
    let mut issues = Vec::new();
    contacts::check(&names, properties, paths, &mut issues);
    let only_anonymous = names.external_id.is_none() && names.email.is_none();
    if only_anonymous && !allow_anonymous && issues.iter().all(|issue| !issue.path.is_empty()) {
        issues.push(Issue::new("", paths.nobody));
    }
    if issues.is_empty() {
        Ok(names)
    } else {
        Err(ApiError::validation(&issues))
    }
}
