//! Who an event is about.

pub mod consent;
mod erase;
pub mod import;
mod mailbox;
pub mod sheet;
mod suppress;
pub mod suppression_file;

pub use erase::{erase, erase_one};
pub use mailbox::{Addresses, Mailbox, SHORT};
pub use suppress::{Suppressions, lift, suppress, suppress_all, suppression_of, suppressions};

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use hogsend_plugin_api::Properties;

use crate::db::{self, Conn, Contact, NewIdentity};
use crate::ids::ContactId;
use crate::ingest::{NewEvent, Person};

/// Makes requests that name the same people take turns until the transaction ends.
pub async fn lock_names<'a>(
    conn: &mut Conn,
    people: impl Iterator<Item = &'a Person>,
) -> db::Result<()> {
    let mut names = Vec::new();
    for person in people {
        let Person::Names(identity) = person else {
            continue;
        };
        names.extend(
            identity
                .external_id
                .as_deref()
                .map(|id| lock_name("user", id)),
        );
        names.extend(
            identity
                .email
                .as_deref()
                .map(|email| lock_name("email", &email.to_lowercase())),
        );
        names.extend(
            identity
                .anonymous_id
                .as_deref()
                .map(|id| lock_name("anonymous", id)),
        );
    }
    if names.is_empty() {
        return Ok(());
    }
    db::identity_lock(conn, &names).await
}

/// The same in every process and version, which a hasher's seed or algorithm may not be.
fn lock_name(kind: &str, name: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update([0])
        .chain_update(name)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// Finds or makes the contact of each event and gives it the event's contact properties. The
/// contacts stay locked until the transaction ends. An event about a contact that was deleted
/// meanwhile gets none.
pub async fn resolve<'a>(
    conn: &mut Conn,
    events: impl Iterator<Item = &'a NewEvent>,
    now: DateTime<Utc>,
) -> db::Result<Vec<Option<Contact>>> {
    let events: Vec<&NewEvent> = events.collect();
    let mut people = People::default();
    let wanted = Wanted::of(events.iter().map(|event| &event.person));
    people.add(wanted.lock(conn).await?);
    let places: Vec<Option<usize>> = events
        .iter()
        .map(|event| people.place(event, now))
        .collect();
    let touched: Vec<Contact> = people.touched().cloned().collect();
    if !touched.is_empty() {
        db::contact_upsert(conn, &touched, now).await?;
    }
    for (keep, gone) in people.merged() {
        db::contact_merge(conn, keep, gone, now).await?;
    }
    Ok(places
        .into_iter()
        .map(|place| place.map(|place| people.all[people.now(place)].contact.clone()))
        .collect())
}

/// Locks these contacts and everyone the people may be, in the one order of locks, and returns the
/// contacts. For a transaction that touches contacts first and stores events of others later.
pub async fn lock_people<'a>(
    conn: &mut Conn,
    contacts: &[ContactId],
    people: impl Iterator<Item = &'a Person> + Clone,
) -> db::Result<Vec<Contact>> {
    lock_names(conn, people.clone()).await?;
    let mut wanted = Wanted::of(people);
    wanted.ids.extend(contacts);
    wanted.lock(conn).await
}

/// Whom to find, in one statement: two would lock contacts out of order.
#[derive(Default)]
struct Wanted {
    ids: Vec<ContactId>,
    external_ids: Vec<String>,
    emails: Vec<String>,
    anonymous_ids: Vec<String>,
}

impl Wanted {
    fn of<'a>(people: impl Iterator<Item = &'a Person>) -> Self {
        let mut wanted = Self::default();
        for person in people {
            match person {
                Person::Contact(id) => wanted.ids.push(*id),
                Person::Names(names) => wanted.add(names),
            }
        }
        wanted
    }

    fn add(&mut self, names: &NewIdentity) {
        self.external_ids.extend(names.external_id.clone());
        self.emails
            .extend(names.email.as_deref().map(str::to_lowercase));
        self.anonymous_ids.extend(names.anonymous_id.clone());
    }

    async fn lock(&self, conn: &mut Conn) -> db::Result<Vec<Contact>> {
        let names = [&self.external_ids, &self.emails, &self.anonymous_ids];
        if names.iter().all(|names| names.is_empty()) {
            if self.ids.is_empty() {
                return Ok(Vec::new());
            }
            return db::contact_lock(conn, &self.ids).await;
        }
        let [external_ids, emails, anonymous_ids] = names;
        db::contacts_by_identity(conn, &self.ids, external_ids, emails, anonymous_ids).await
    }
}

/// The contacts of one transaction.
#[derive(Default)]
struct People {
    all: Vec<Known>,
    by_id: HashMap<ContactId, usize>,
}

struct Known {
    contact: Contact,
    touched: bool,
    /// The place of the contact that turned out to be the same person.
    merged_into: Option<usize>,
}

impl People {
    fn add(&mut self, contacts: Vec<Contact>) {
        for contact in contacts {
            if let std::collections::hash_map::Entry::Vacant(slot) = self.by_id.entry(contact.id) {
                slot.insert(self.all.len());
                self.all.push(Known {
                    contact,
                    touched: false,
                    merged_into: None,
                });
            }
        }
    }

    /// Those that are written, the ones that go away not among them.
    fn touched(&self) -> impl Iterator<Item = &Contact> {
        self.all
            .iter()
            .filter(|known| known.touched && known.merged_into.is_none())
            .map(|known| &known.contact)
    }

    /// Who goes away, and into whom.
    fn merged(&self) -> Vec<(ContactId, ContactId)> {
        let pairs = self.all.iter().enumerate().filter_map(|(place, known)| {
            known.merged_into?;
            Some((self.all[self.now(place)].contact.id, known.contact.id))
        });
        pairs.collect()
    }

    /// Where the contact of this place is after everything that was merged.
    fn now(&self, mut place: usize) -> usize {
        while let Some(next) = self.all[place].merged_into {
            place = next;
        }
        place
    }

    fn place(&mut self, event: &NewEvent, now: DateTime<Utc>) -> Option<usize> {
        let place = match &event.person {
            Person::Contact(id) => {
                let place = *self.by_id.get(id)?;
                // The host's own events are no sign of life and bring no properties.
                return Some(self.now(place));
            }
            Person::Names(names) => self.find(names).unwrap_or_else(|| self.create(now)),
        };
        let Person::Names(names) = &event.person else {
            return Some(place);
        };
        self.absorb(place, names);
        let known = &mut self.all[place];
        known.touched = true;
        let contact = &mut known.contact;
        contact.last_seen_at = contact.last_seen_at.max(now);
        if contact.external_id.is_none() {
            contact.external_id.clone_from(&names.external_id);
        }
        if names.email.is_some() {
            contact.email.clone_from(&names.email);
        }
        if names.anonymous_id.is_some() {
            contact.anonymous_id.clone_from(&names.anonymous_id);
        }
        for (name, value) in &event.contact_properties {
            if value.is_null() {
                contact.properties.remove(name);
            } else {
                contact.properties.insert(name.clone(), value.clone());
            }
        }
        Some(place)
    }

    /// Contacts without an id of the product that have another of these names are the same person.
    /// What the person is known to be wins over what the others were.
    fn absorb(&mut self, place: usize, names: &NewIdentity) {
        for other in 0..self.all.len() {
            let known = &self.all[other];
            let same = other != place
                && known.merged_into.is_none()
                && known.contact.external_id.is_none()
                && (has_email(&known.contact, names)
                    || known.contact.email.is_none() && has_anonymous(&known.contact, names));
            if !same {
                continue;
            }
            self.all[other].merged_into = Some(place);
            let earlier = self.all[other].contact.clone();
            let contact = &mut self.all[place].contact;
            contact.listening |= earlier.listening;
            contact.first_seen_at = contact.first_seen_at.min(earlier.first_seen_at);
            for (name, value) in earlier.properties {
                contact.properties.entry(name).or_insert(value);
            }
            if contact.email.is_none() {
                contact.email = earlier.email;
            }
        }
    }

    /// By the product's id; else by a contact that has no id of the product yet, which then gets
    /// it. Without an id of the product, the address finds the contact that has one first.
    fn find(&self, names: &NewIdentity) -> Option<usize> {
        let position = |test: &dyn Fn(&Contact) -> bool| {
            let mut all = self.all.iter();
            all.position(|known| known.merged_into.is_none() && test(&known.contact))
        };
        let email = |contact: &Contact| has_email(contact, names);
        let anonymous = |contact: &Contact| {
            contact.external_id.is_none()
                && contact.email.is_none()
                && has_anonymous(contact, names)
        };
        if names.external_id.is_some() {
            return position(&|c| c.external_id == names.external_id)
                .or_else(|| position(&|c| c.external_id.is_none() && email(c)))
                .or_else(|| position(&anonymous));
        }
        position(&|c| c.external_id.is_some() && email(c))
            .or_else(|| position(&email))
            .or_else(|| position(&anonymous))
    }

    fn create(&mut self, now: DateTime<Utc>) -> usize {
        let contact = Contact {
            id: ContactId::new(now),
            external_id: None,
            email: None,
            anonymous_id: None,
            properties: Default::default(),
            first_seen_at: now,
            last_seen_at: now,
            listening: false,
            email_unconfirmed: false,
        };
        self.add(vec![contact]);
        self.all.len() - 1
    }
}

fn has_email(contact: &Contact, names: &NewIdentity) -> bool {
    let (Some(a), Some(b)) = (&contact.email, &names.email) else {
        return false;
    };
    a.to_lowercase() == b.to_lowercase()
}

fn has_anonymous(contact: &Contact, names: &NewIdentity) -> bool {
    names.anonymous_id.is_some() && contact.anonymous_id == names.anonymous_id
}

/// What a request about a person came to.
#[derive(Clone, Debug)]
pub struct Put {
    pub contact: Contact,
    pub created: bool,
    /// A name was new to a person who was known, or two contacts turned out to be one.
    pub linked: bool,
}

/// Finds or makes the contact with these names and gives it the properties, in the caller's
/// transaction.
pub async fn put(
    conn: &mut Conn,
    names: &NewIdentity,
    properties: Properties,
    now: DateTime<Utc>,
) -> db::Result<Option<Put>> {
    let mut event = NewEvent::from_journey(ContactId::new(now), "", Properties::new(), 0);
    event.person = Person::Names(names.clone());
    event.contact_properties = properties;
    lock_names(conn, std::iter::once(&event.person)).await?;
    let wanted = Wanted::of(std::iter::once(&event.person));
    let before = wanted.lock(conn).await?;
    let after = resolve(conn, std::iter::once(&event), now).await?;
    let Some(contact) = after.into_iter().next().flatten() else {
        return Ok(None);
    };
    let known = before.iter().find(|one| one.id == contact.id);
    let linked = known.is_some_and(|known| {
        known.external_id != contact.external_id
            || known.email.is_none() && contact.email.is_some()
            || known.anonymous_id.is_none() && contact.anonymous_id.is_some()
            || before
                .iter()
                .any(|one| one.id != contact.id && one.external_id.is_none())
    });
    Ok(Some(Put {
        created: known.is_none(),
        linked,
        contact,
    }))
}

/// The contacts a signed link names, locked until the transaction ends: the one with the product's
/// id, else those with the address.
pub async fn named(
    conn: &mut Conn,
    external_id: Option<&str>,
    email: Option<&str>,
) -> db::Result<Vec<Contact>> {
    let ids: Vec<String> = external_id.map(str::to_owned).into_iter().collect();
    let found = db::contacts_by_identity(conn, &[], &ids, &[], &[]).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    let emails: Vec<String> = email.map(str::to_lowercase).into_iter().collect();
    db::contacts_by_identity(conn, &[], &[], &emails, &[]).await
}
