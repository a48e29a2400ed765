//! Resolves the names in events to contacts: finds, creates and merges contacts in one transaction.
//!
//! [`decide`](hogsend_semantics::identity::decide) makes the decisions; the simulator uses the same
//! function. This module loads the facts for it; `people` carries its decisions out in memory, and `write`
//! stores the result.

mod people;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hogsend_semantics::address::comparable;

use self::people::{People, Record};
use super::{FollowUp, Person, Touch, lock_names};
use crate::db::{self, AnonymousEvent, Conn, Contact, NewIdentity, Wanted};
use crate::foreign::{self, Issue, Unfit};
use crate::ids::ContactId;

/// Properties that callers sent and that do not fit the contact's limits, each with the index of its
/// event. As an error it rolls the transaction back, so that a request is stored whole or not at all.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a contact has no room for all of these properties")]
pub struct NoRoom {
    pub properties: Vec<(usize, Unfit)>,
}

impl NoRoom {
    /// Extracts it from the error of a transaction.
    pub fn of(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::AnyDriverError(inner) => inner.downcast_ref(),
            _ => None,
        }
    }

    /// Validation issues for the caller. `path` gives the field with the properties of the event at an
    /// index.
    pub fn issues(&self, path: impl Fn(usize) -> String) -> Vec<Issue> {
        let all = self.properties.iter().take(foreign::ISSUES_MAX);
        all.map(|(at, unfit)| Issue::new(&format!("{}.{}", path(*at), unfit.name), &unfit.reason))
            .collect()
    }
}

impl From<NoRoom> for sqlx::Error {
    fn from(no_room: NoRoom) -> Self {
        Self::AnyDriverError(Box::new(no_room))
    }
}

/// The contact of an event, after all merges of its transaction.
#[derive(Clone, Debug)]
pub enum Whom {
    Contact(Arc<Contact>),
    /// An unknown visitor: the event is stored as an anonymous event.
    Nobody,
    /// The contact was deleted in the meantime.
    Gone,
}

impl Whom {
    pub fn contact(&self) -> Option<&Arc<Contact>> {
        match self {
            Self::Contact(contact) => Some(contact),
            Self::Nobody | Self::Gone => None,
        }
    }
}

/// Result of resolving the contacts of some events.
#[derive(Debug, Default)]
pub struct Resolved {
    /// One for each event, in order.
    pub people: Vec<Whom>,
    /// Events that follow; the caller stores them in the same transaction.
    pub follows: Vec<FollowUp>,
    /// Contacts that had no address before and have one now.
    pub reachable: Vec<Arc<Contact>>,
    pub made: Vec<ContactId>,
    /// Contacts that existed before and gained a name or absorbed another contact.
    pub linked: Vec<ContactId>,
}

/// Finds or creates the contact of each event and gives it the event's contact properties. The
/// contacts stay locked until the transaction ends. With `create`, visitors become contacts too.
pub async fn resolve<'a>(
    conn: &mut Conn,
    touches: impl Iterator<Item = Touch<'a>>,
    create: bool,
    now: DateTime<Utc>,
) -> db::Result<Resolved> {
    let touches: Vec<Touch<'a>> = touches.collect();
    let mut people = People::new(create, now);
    let wanted = wanted(touches.iter().map(|touch| touch.person));
    for found in found(conn, &wanted).await? {
        people.add(found.contact, &found.ids);
    }
    let places = touches.iter().enumerate();
    let places = places.map(|(at, touch)| people.place(at, touch));
    let places: Vec<Option<usize>> = places.collect();
    people.apply_past();
    if !people.no_room.is_empty() {
        let properties = std::mem::take(&mut people.no_room);
        return Err(NoRoom { properties }.into());
    }
    let visitors = touches
        .iter()
        .zip(&places)
        .filter_map(|(touch, place)| match place {
            Some(_) => None,
            None => visitor(touch, now),
        });
    db::anonymous_insert(conn, &visitors.collect::<Vec<_>>()).await?;
    people.write(conn, &touches, places).await
}

/// Locks these contacts and every contact that the names of `people` reach, in the global lock order, and
/// returns them. For a transaction that changes contacts first and stores events of others later.
pub async fn lock_people<'a>(
    conn: &mut Conn,
    contacts: &[ContactId],
    people: impl Iterator<Item = &'a Person> + Clone,
) -> db::Result<Vec<Contact>> {
    lock_names(conn, people.clone()).await?;
    let mut wanted = wanted(people);
    wanted.contacts.extend(contacts);
    let found = found(conn, &wanted).await?;
    Ok(found.into_iter().map(|one| one.contact).collect())
}

/// Merges two contacts on an administrator's request. Returns the remaining contact and the events
/// that follow; None if one of them is gone.
pub async fn unite(
    conn: &mut Conn,
    (one, other): (ContactId, ContactId),
    source: &str,
    now: DateTime<Utc>,
) -> db::Result<Option<Resolved>> {
    let mut people = People::new(false, now);
    for contact in db::contact_lock(conn, &[one, other]).await? {
        people.add(contact, &[]);
    }
    if people.all.len() != 2 || one == other {
        return Ok(None);
    }
    let best = |known: &Record| {
        let contact = &known.contact;
        (
            contact.external_id.is_none(),
            contact.email.is_none(),
            contact.id,
        )
    };
    let kept = usize::from(best(&people.all[1]) < best(&people.all[0]));
    let gone = 1 - kept;
    if people.all[kept].contact.email.is_none() {
        people.inherit(kept, gone);
    }
    people.absorb(kept, gone, "administrator", source);
    people.all[kept].touched = true;
    people.all[kept].reached = true;
    people.write(conn, &[], vec![Some(kept)]).await.map(Some)
}

/// What to look up. One statement finds all of it: two statements would lock contacts out of order.
pub(super) fn wanted<'a>(people: impl Iterator<Item = &'a Person>) -> Wanted {
    let mut wanted = Wanted::default();
    let mut seen = HashSet::new();
    for person in people {
        match person {
            Person::Contact(id) => wanted.contacts.push(*id),
            Person::Names(given) => {
                let names = given.names();
                wanted.addresses.extend(names.address);
                let new = names.ids.into_iter().filter(|id| seen.insert(id.clone()));
                wanted.ids.extend(new);
            }
        }
    }
    wanted
}

pub(super) async fn found(conn: &mut Conn, wanted: &Wanted) -> db::Result<Vec<db::Found>> {
    if wanted.ids.is_empty() && wanted.addresses.is_empty() {
        if wanted.contacts.is_empty() {
            return Ok(Vec::new());
        }
        let locked = db::contact_lock(conn, &wanted.contacts).await?.into_iter();
        let found = locked.map(|contact| db::Found {
            contact,
            ids: Vec::new(),
        });
        return Ok(found.collect());
    }
    db::contacts_wanted(conn, wanted).await
}

/// The row for an event of an unknown visitor.
fn visitor(touch: &Touch<'_>, now: DateTime<Utc>) -> Option<AnonymousEvent> {
    let Person::Names(names) = touch.person else {
        return None;
    };
    let event = touch.event?;
    Some(AnonymousEvent {
        id: touch.id,
        ids: names.names().ids,
        source: touch.source.to_owned(),
        trust: touch.trust,
        name: event.name.to_owned(),
        properties: event.properties.clone(),
        contact_properties: touch.properties.clone(),
        occurred_at: touch.occurred_at.unwrap_or(now),
        received_at: now,
    })
}

/// The contacts that have an address, in any spelling, locked until the transaction ends.
pub(super) async fn holding(conn: &mut Conn, email: &str) -> db::Result<Vec<Contact>> {
    let address = comparable(email);
    let wanted = Wanted {
        addresses: vec![address.clone()],
        ..Wanted::default()
    };
    let found = db::contacts_wanted(conn, &wanted).await?.into_iter();
    let mut found: Vec<Contact> = found.map(|one| one.contact).collect();
    found.retain(|contact| contact.address().as_deref() == Some(&address));
    Ok(found)
}

/// Another contact that has one of the names a contact is to get.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    /// The name is one of the ids; otherwise it is the address.
    pub has_id: bool,
    pub has_user: bool,
}

/// Locks a contact and the names it is to get, and returns the other contacts that have them.
pub async fn claim(
    conn: &mut Conn,
    contact: ContactId,
    names: &NewIdentity,
) -> db::Result<Vec<Rival>> {
    let person = Person::Names(names.clone());
    lock_names(conn, std::iter::once(&person)).await?;
    let mut wanted = wanted(std::iter::once(&person));
    wanted.contacts.push(contact);
    let address = names.names().address;
    let found = found(conn, &wanted).await?.into_iter();
    let others = found.filter(|one| {
        let same = address.is_some() && one.contact.address() == address;
        one.contact.id != contact && (same || !one.ids.is_empty())
    });
    let rivals = others.map(|one| Rival {
        has_id: !one.ids.is_empty(),
        has_user: one.contact.external_id.is_some(),
    });
    Ok(rivals.collect())
}
