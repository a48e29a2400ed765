//! An event before it is stored, and the result of storing it.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, SourceEvent, Trust};
use hogsend_semantics::identity::Id;

use crate::contacts::consent::Lists;
use crate::contacts::{FollowUp, Person, Touch, Visit};
use crate::db::{EventRow, NewIdentity};
use crate::enrolment::Exit;
use crate::foreign::Unfit;
use crate::ids::{ContactId, EventId};
use crate::run_ended::RunEnded;

/// An event to store.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Where it comes from: a plugin's id, `api` or `journey`.
    pub source: String,
    /// Whether its source is trusted. An event that a run triggers has the trust of the run's trigger.
    pub trust: Trust,
    /// It is about the past: it is stored, but starts and ends no run and ends no wait.
    pub historical: bool,
    /// It is read from its source's past, so it may be older than what is known of its contact.
    pub caught_up: bool,
    /// The source's own id of the event.
    pub dedupe_key: Option<String>,
    pub name: String,
    pub person: Person,
    /// Stored with the event.
    pub properties: Properties,
    /// Stored on the contact.
    pub contact_properties: Properties,
    pub lists: Lists,
    /// None means the time of receipt.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The number of journeys between this event and one from outside.
    pub depth: i16,
    /// Values the source sent that cannot be stored.
    pub unfit: Vec<Unfit>,
    /// The trace of the request that brought it; None means that of the span in which it is stored.
    pub traceparent: Option<String>,
}

impl NewEvent {
    /// An event that an event-source plugin parsed, before [`admit`](super::admit).
    pub fn from_source(source: &str, trust: Trust, event: SourceEvent) -> Self {
        Self {
            source: source.to_owned(),
            trust,
            historical: false,
            caught_up: false,
            dedupe_key: event.dedupe_key,
            name: event.name,
            person: Person::Names(NewIdentity {
                external_id: event.user_id,
                email: event.email,
                anonymous_id: event.anonymous_id,
                also: event
                    .identities
                    .into_iter()
                    .map(|(kind, value)| Id::new(kind, value))
                    .collect(),
            }),
            properties: event.properties,
            contact_properties: event.contact_properties,
            lists: Lists::default(),
            occurred_at: event.occurred_at,
            depth: 0,
            unfit: Vec::new(),
            traceparent: None,
        }
    }

    /// An event a journey triggered.
    pub fn from_journey(
        contact: ContactId,
        name: &str,
        properties: Properties,
        depth: i16,
    ) -> Self {
        Self {
            source: "journey".into(),
            trust: Trust::Trusted,
            historical: false,
            caught_up: false,
            dedupe_key: None,
            name: name.into(),
            person: Person::Contact(contact),
            properties,
            contact_properties: Properties::new(),
            lists: Lists::default(),
            occurred_at: None,
            depth,
            unfit: Vec::new(),
            traceparent: None,
        }
    }

    /// The event that reports the end of a run.
    pub fn run_ended(ended: &RunEnded) -> Self {
        FollowUp::run_ended(ended).into()
    }

    /// The same event with the trust of its cause.
    pub fn believed(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// What it says about its contact.
    pub(super) fn touch(&self, id: EventId) -> Touch<'_> {
        Touch {
            id,
            person: &self.person,
            source: &self.source,
            trust: self.trust,
            historical: self.historical,
            caught_up: self.caught_up,
            occurred_at: self.occurred_at,
            properties: &self.contact_properties,
            unfit: &self.unfit,
            event: Some(Visit {
                name: &self.name,
                properties: &self.properties,
            }),
        }
    }

    pub(super) fn row(&self, id: EventId, contact: ContactId, now: DateTime<Utc>) -> EventRow {
        EventRow {
            id,
            contact_id: contact,
            source: self.source.clone(),
            trust: self.trust,
            historical: self.historical,
            name: self.name.clone(),
            properties: self.properties.clone(),
            depth: self.depth,
            occurred_at: self.occurred_at.unwrap_or(now),
            received_at: now,
        }
    }
}

impl From<FollowUp> for NewEvent {
    fn from(one: FollowUp) -> Self {
        Self {
            source: one.source.into(),
            trust: one.trust,
            occurred_at: one.occurred_at,
            ..Self::from_journey(one.contact, one.name, one.properties, one.depth)
        }
    }
}

/// Result of storing an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    pub id: EventId,
    /// False if its source sent it before.
    pub stored: bool,
    /// The caller's name for the contact: the product id, the email or the anonymous id.
    pub contact_key: Option<String>,
    pub exits: Vec<Exit>,
    /// Why some of the event's lists were not changed.
    pub lists_error: Option<String>,
}

impl Ingested {
    pub(super) fn duplicate(id: EventId, person: &Person) -> Self {
        let contact_key = match person {
            Person::Names(names) => {
                let known = names.external_id.clone().or_else(|| names.email.clone());
                known.or_else(|| names.anonymous_id.clone())
            }
            Person::Contact(_) => None,
        };
        Self {
            id,
            stored: false,
            contact_key,
            exits: Vec::new(),
            lists_error: None,
        }
    }
}
