//! People and their data.

use crate::with;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::{Contact, User};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics as semantics;
use serde_json::Value;
use uuid::Uuid;

/// An ingested event.
#[derive(Debug)]
pub(super) struct Event {
    pub name: String,
    pub properties: Properties,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// When it was ingested.
    pub came_at: DateTime<Utc>,
    pub trust: Trust,
    /// It counts for history queries only.
    pub historical: bool,
    /// Its number among everything that happens, which orders things of one instant.
    pub tick: u64,
    /// How many journeys are between this event and one from outside.
    pub depth: i16,
}

/// One person.
#[derive(Debug)]
pub(super) struct Person {
    /// The name in the timeline.
    pub name: Rc<str>,
    pub id: Uuid,
    pub external_id: Option<String>,
    pub email: Option<String>,
    /// The normalized email address, by which the person is found.
    pub address: Option<String>,
    /// No trusted source has confirmed the address.
    pub email_unconfirmed: bool,
    pub properties: Properties,
    /// The person's properties in analytics.
    pub analytics: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub unsubscribed_all: bool,
    /// Category to whether the person is subscribed.
    pub categories: BTreeMap<String, bool>,
    /// In the order they arrived.
    pub events: Vec<Rc<Event>>,
    /// Every run, by number.
    pub runs: Vec<usize>,
    /// Those that are not over.
    pub open: Vec<usize>,
    /// When each journey was last entered.
    pub entries: BTreeMap<usize, DateTime<Utc>>,
    /// Every mail, by number.
    pub mails: Vec<usize>,
    /// When mails that count towards the frequency cap were sent.
    pub sent_at: Vec<DateTime<Utc>>,
    /// When each journey last sent a mail.
    pub last_mails: BTreeMap<usize, DateTime<Utc>>,
    /// The recorded values of `once` blocks, by journey and key.
    pub onces: BTreeMap<(usize, String), Value>,
    /// When throttles let a run pass, by journey.
    pub passes: BTreeMap<usize, Vec<DateTime<Utc>>>,
}

impl Person {
    pub fn new(name: &str, id: Uuid, now: DateTime<Utc>) -> Self {
        Self {
            name: name.into(),
            id,
            external_id: None,
            email: None,
            address: None,
            email_unconfirmed: false,
            properties: Properties::new(),
            analytics: Properties::new(),
            first_seen_at: now,
            last_seen_at: now,
            unsubscribed_all: false,
            categories: BTreeMap::new(),
            events: Vec::new(),
            runs: Vec::new(),
            open: Vec::new(),
            entries: BTreeMap::new(),
            mails: Vec::new(),
            sent_at: Vec::new(),
            last_mails: BTreeMap::new(),
            onces: BTreeMap::new(),
            passes: BTreeMap::new(),
        }
    }

    /// Takes over everything of another contact of the same person. The values of this one win, and
    /// the stricter consent.
    pub fn absorb(&mut self, gone: Self) {
        self.learn(gone.properties);
        for (name, value) in gone.analytics {
            self.analytics.entry(name).or_insert(value);
        }
        if self.external_id.is_none() {
            self.external_id = gone.external_id;
        }
        self.first_seen_at = self.first_seen_at.min(gone.first_seen_at);
        self.last_seen_at = self.last_seen_at.max(gone.last_seen_at);
        self.unsubscribed_all |= gone.unsubscribed_all;
        for (category, subscribed) in gone.categories {
            let own = self.categories.entry(category).or_insert(subscribed);
            *own &= subscribed;
        }
        self.events.extend(gone.events);
        self.events.sort_by_key(|event| event.tick);
        for (own, more) in [
            (&mut self.runs, gone.runs),
            (&mut self.open, gone.open),
            (&mut self.mails, gone.mails),
        ] {
            own.extend(more);
            own.sort_unstable();
        }
        self.sent_at.extend(gone.sent_at);
        self.sent_at.sort_unstable();
        for (own, more) in [
            (&mut self.entries, gone.entries),
            (&mut self.last_mails, gone.last_mails),
        ] {
            for (journey, at) in more {
                let last = own.entry(journey).or_insert(at);
                *last = at.max(*last);
            }
        }
        for (key, value) in gone.onces {
            self.onces.entry(key).or_insert(value);
        }
        for (journey, passes) in gone.passes {
            let own = self.passes.entry(journey).or_default();
            own.extend(passes);
            own.sort_unstable();
        }
    }

    /// Adds the properties that the person does not have.
    pub fn learn(&mut self, properties: Properties) {
        for (name, value) in properties {
            self.properties.entry(name).or_insert(value);
        }
    }

    /// Extends the period in which the person was seen.
    pub fn seen(&mut self, at: DateTime<Utc>) {
        self.first_seen_at = self.first_seen_at.min(at);
        self.last_seen_at = self.last_seen_at.max(at);
    }

    /// Whether mails of this category may be sent. Without a preference the person is subscribed.
    pub fn allows(&self, category: &str) -> bool {
        let subscribed = self.categories.get(category).copied();
        semantics::wants(self.unsubscribed_all, subscribed, category)
    }

    pub fn user(&self) -> User {
        let user = User::new(self.id, self.external_id.clone(), self.email.clone());
        with(user, |user| user.properties.clone_from(&self.properties))
    }

    pub fn contact(&self) -> Contact {
        let contact = Contact::new(self.id, self.first_seen_at, self.last_seen_at);
        with(contact, |contact| {
            contact.external_id.clone_from(&self.external_id);
            contact.email.clone_from(&self.email);
            contact.properties.clone_from(&self.properties);
        })
    }
}
