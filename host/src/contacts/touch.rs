//! What an event, a call or a row of a file says about who somebody is.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};

use crate::db::NewIdentity;
use crate::foreign::Unfit;
use crate::ids::{ContactId, EventId};

/// Characters in an id of a contact.
pub const PERSON_ID_MAX: usize = 256;

/// Whom an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// A contact that exists.
    Contact(ContactId),
    /// Names from outside; the contact is found or made.
    Names(NewIdentity),
}

/// One statement about a contact: the names it is known by and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Touch<'a> {
    /// Of the event, or made for the call or row.
    pub id: EventId,
    pub person: &'a Person,
    /// Who says so: a plugin's id, `api`, `import`, `journey`.
    pub source: &'a str,
    pub trust: Trust,
    /// It belongs to the past: it adds what is missing and replaces nothing.
    pub historical: bool,
    /// When it happened; now where the source does not say.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Properties for the contact.
    pub properties: &'a Properties,
    /// What the source sent and could not be kept.
    pub unfit: &'a [Unfit],
    /// The event itself, which is stored apart where its names reach no contact.
    pub event: Option<Visit<'a>>,
}

/// An event of a visitor.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pub name: &'a str,
    pub properties: &'a Properties,
}

impl<'a> Touch<'a> {
    /// What a trusted call or an imported row says, `source` being `api` or `import`.
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
            occurred_at: None,
            properties,
            unfit: &[],
            event: None,
        }
    }

    /// A call of the product or a file asks for it and gets an error for what does not fit. Events of
    /// a source are kept as far as they fit.
    pub fn is_asked(&self) -> bool {
        matches!(self.source, "api" | "import")
    }
}

/// Whether ids may be of a kind of this name, as sources make them up.
pub fn is_kind(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=40).contains(&name.len()) && name.chars().all(word)
}
