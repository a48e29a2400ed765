//! What an event, an API call or a row of an import says about a contact.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};

use crate::db::NewIdentity;
use crate::foreign::Unfit;
use crate::ids::{ContactId, EventId};

/// Most characters in an id of a contact.
pub const PERSON_ID_MAX: usize = 256;

/// The contact of an event, as the event names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// An existing contact.
    Contact(ContactId),
    /// Names from outside; the contact is found or created.
    Names(NewIdentity),
}

/// One statement about a contact: its names, and the properties it is to have.
#[derive(Clone, Copy, Debug)]
pub struct Touch<'a> {
    /// The id of the event, or a new id for an API call or a row of an import.
    pub id: EventId,
    pub person: &'a Person,
    /// Where it comes from: a plugin's id, `api`, `import` or `journey`.
    pub source: &'a str,
    pub trust: Trust,
    /// It is about the past: it fills gaps and replaces nothing.
    pub historical: bool,
    /// It is read from its source's past: it replaces nothing of a contact that was seen after it.
    pub caught_up: bool,
    /// When it happened; None means now.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Properties for the contact.
    pub properties: &'a Properties,
    /// Values the source sent that cannot be stored.
    pub unfit: &'a [Unfit],
    /// The event itself. If its names match no contact, it is stored as an anonymous event.
    pub event: Option<Visit<'a>>,
}

/// An event of a visitor.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pub name: &'a str,
    pub properties: &'a Properties,
}

impl<'a> Touch<'a> {
    /// A statement by a trusted API call or an imported row. `source` is `api` or `import`.
    pub fn asked(
        id: EventId,
        source: &'a str,
        person: &'a Person,
        properties: &'a Properties,
    ) -> Self {
        Self {
            id,
            person,
            source,
            trust: Trust::Trusted,
            historical: false,
            caught_up: false,
            occurred_at: None,
            properties,
            unfit: &[],
            event: None,
        }
    }

    /// An API call or an import made the statement and gets an error for properties that do not fit.
    /// Events of a source are stored without the properties that do not fit.
    pub fn is_asked(&self) -> bool {
        matches!(self.source, "api" | "import")
    }
}

/// Whether this is a valid name for a kind of id. Sources choose these names.
pub fn is_kind(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=40).contains(&name.len()) && name.chars().all(word)
}
