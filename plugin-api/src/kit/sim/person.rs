//! People and what is known of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::Properties;
use crate::journey::{Contact, User};
use crate::semantics::{self, Trust};

/// An event that was taken in.
#[derive(Debug)]
pub(super) struct Event {
    pub name: String,
    pub properties: Properties,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// When it was taken in.
    pub came_at: DateTime<Utc>,
    pub trust: Trust,
    /// It belongs to the past.
    pub historical: bool,
    /// The place among all that happens, which tells things of one instant apart.
    pub tick: u64,
    /// How many journeys stand between this event and one from outside.
    pub depth: i16,
}

/// One person.
#[derive(Debug)]
pub(super) struct Person {
    /// What the timeline calls them.
    pub name: Rc<str>,
    pub id: Uuid,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub properties: Properties,
    /// What an analytics product knows.
    pub analytics: Properties,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub unsubscribed_all: bool,
    /// Category to whether the person is subscribed.
    pub categories: BTreeMap<String, bool>,
    /// In the order they came.
    pub events: Vec<Rc<Event>>,
    /// Every run, by number.
    pub runs: Vec<usize>,
    /// Those that are not over.
    pub open: Vec<usize>,
    /// When each journey was last entered.
    pub entries: BTreeMap<usize, DateTime<Utc>>,
    /// Every mail, by number.
    pub mails: Vec<usize>,
    /// When mails went out that count towards the cap.
    pub sent_at: Vec<DateTime<Utc>>,
    /// When each journey last sent a mail.
    pub last_mails: BTreeMap<usize, DateTime<Utc>>,
    /// What blocks that run once came to, by journey and key.
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

    /// Whether mails of this category may be sent. A category nobody spoke of counts as wanted.
    pub fn allows(&self, category: &str) -> bool {
        let subscribed = self.categories.get(category).copied();
        semantics::wants(self.unsubscribed_all, subscribed, category)
    }

    pub fn user(&self) -> User {
        User {
            id: self.id,
            external_id: self.external_id.clone(),
            email: self.email.clone(),
            properties: self.properties.clone(),
        }
    }

    pub fn contact(&self) -> Contact {
        Contact {
            id: self.id,
            external_id: self.external_id.clone(),
            email: self.email.clone(),
            properties: self.properties.clone(),
            first_seen_at: self.first_seen_at,
            last_seen_at: self.last_seen_at,
        }
    }
}
