//! Resolves the names in events to contacts: finds, creates and merges contacts in one transaction.
//!
//! [`decide`] makes the decisions; the simulator uses the same function. This module loads the facts for
//! it and carries its decisions out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::address::comparable;
use hogsend_semantics::identity::{About, Address, Id, Known, Names, Pending, USER, decide};
use hogsend_semantics::own_address::keep_own;
use serde_json::{Value, json};

use super::{FollowUp, Person, Touch, lock_names};
use crate::db::{
    self, AnonymousEvent, Conn, Contact, EventRow, Merge, NewId, NewIdentity, NewPending,
    PendingChange, Wanted,
};
use crate::foreign::Issue;
use crate::foreign::{self, Unfit};
use crate::ids::{ContactId, EventId};
use crate::run_ended::{RunEnd, RunEnded};
use crate::webhooks::{News, announce};

/// Most events of a visitor that move to the contact's history once the visitor is identified. Older
/// ones stay until their retention deletes them.
const HISTORY_MAX: i64 = 10_000;
/// Values of one contact recorded as unstorable, newest first.
const UNFIT_MAX: usize = 20;

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
/// contacts stay locked until the transaction ends. With `make`, visitors become contacts too.
pub async fn resolve<'a>(
    conn: &mut Conn,
    touches: impl Iterator<Item = Touch<'a>>,
    make: bool,
    now: DateTime<Utc>,
) -> db::Result<Resolved> {
    let touches: Vec<Touch<'a>> = touches.collect();
    let mut people = People::new(make, now);
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

/// The contacts of one transaction, in memory. All lookups use maps, so the time grows linearly with the
/// number of events and contacts.
struct People {
    make: bool,
    now: DateTime<Utc>,
    all: Vec<Record>,
    by_contact: HashMap<ContactId, usize>,
    by_id: HashMap<Id, Vec<usize>>,
    by_address: HashMap<String, Vec<usize>>,
    merges: Vec<Merged>,
    gains: Vec<NewId>,
    pending: Vec<(usize, PendingAt, String, EventId)>,
    past: Vec<Past>,
    no_room: Vec<(usize, Unfit)>,
}

/// Properties a contact had in the past.
struct Past {
    /// The index of the contact.
    place: usize,
    at: DateTime<Utc>,
    properties: Properties,
    /// The index of the event whose caller gets an error for properties that do not fit.
    asked: Option<usize>,
}

struct Record {
    contact: Contact,
    /// The address in its normal form.
    address: Option<String>,
    had_address: bool,
    /// A current event named it while it has an address. Historical events trigger nothing.
    reached: bool,
    touched: bool,
    made: bool,
    /// Its address was set or confirmed in this transaction.
    settled: bool,
    linked: bool,
    /// It has other names, another address or other properties than before.
    changed: bool,
    /// The index of the contact it was merged into.
    merged_into: Option<usize>,
    /// Values that sources sent and that cannot be stored, each with its source.
    unfit: Vec<(String, Unfit)>,
}

struct Merged {
    kept: usize,
    gone: usize,
    reason: &'static str,
    source: String,
}

enum PendingAt {
    Address(String),
    Unite(usize),
}

impl People {
    fn new(make: bool, now: DateTime<Utc>) -> Self {
        Self {
            make,
            now,
            all: Vec::new(),
            by_contact: HashMap::new(),
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            merges: Vec::new(),
            gains: Vec::new(),
            pending: Vec::new(),
            past: Vec::new(),
            no_room: Vec::new(),
        }
    }

    fn add(&mut self, contact: Contact, ids: &[Id]) -> usize {
        if let Some(place) = self.by_contact.get(&contact.id) {
            return *place;
        }
        let place = self.all.len();
        self.by_contact.insert(contact.id, place);
        let own = contact.external_id.iter().map(Id::user);
        let own = own.chain(contact.anonymous_id.iter().map(Id::anonymous));
        let mut all: Vec<Id> = own.collect();
        all.extend(ids.iter().cloned());
        for id in all {
            let owners = self.by_id.entry(id).or_default();
            if !owners.contains(&place) {
                owners.push(place);
            }
        }
        let address = contact.address();
        if let Some(address) = &address {
            self.by_address
                .entry(address.clone())
                .or_default()
                .push(place);
        }
        self.all.push(Record {
            had_address: address.is_some(),
            reached: false,
            contact,
            address,
            touched: false,
            made: false,
            settled: false,
            linked: false,
            changed: false,
            merged_into: None,
            unfit: Vec::new(),
        });
        place
    }

    /// The index of this contact after all merges.
    fn current(&self, mut place: usize) -> usize {
        while let Some(next) = self.all[place].merged_into {
            place = next;
        }
        place
    }

    /// The index of the event's contact, if it has one.
    fn place(&mut self, at: usize, touch: &Touch<'_>) -> Option<usize> {
        let given = match touch.person {
            // The host's own events do not count as activity and have no contact properties.
            Person::Contact(id) => {
                return self.by_contact.get(id).map(|place| self.current(*place));
            }
            Person::Names(given) => given,
        };
        let seen = match touch.historical {
            true => touch.occurred_at.unwrap_or(self.now).min(self.now),
            false => self.now,
        };
        let names = given.names();
        let known = self.known(&names);
        let decision = decide(&names, &known, touch.trust, self.make);
        let place = match decision.about {
            About::Nobody => return None,
            About::Contact(id) => self.by_contact[&id],
            About::New => self.create(seen),
        };
        let record = &mut self.all[place];
        let addressed = matches!(decision.address, Address::Set { .. }) && record.address.is_none();
        let linked = addressed || !decision.gains.is_empty() || !decision.absorbed.is_empty();
        record.linked |= linked;
        record.changed |= linked || decision.inherits.is_some();
        if let Some(from) = decision.inherits {
            self.inherit(place, self.by_contact[&from]);
        }
        for (gone, link) in decision.absorbed {
            self.absorb(place, self.by_contact[&gone], link.name(), touch.source);
        }
        self.gain(place, decision.gains, touch.source);
        let record = &mut self.all[place];
        record.touched = true;
        let contact = &mut record.contact;
        mark_seen(contact, seen);
        // A trusted source also decides how the address is spelled.
        let spells = touch.trust.is_trusted() && names.address == record.address;
        match (decision.address, &given.email) {
            (Address::Set { unconfirmed }, Some(email)) => {
                record.changed |= contact.email.as_ref() != Some(email);
                contact.email = Some(email.clone());
                contact.email_unconfirmed = unconfirmed;
                record.settled = true;
                record.address.clone_from(&names.address);
                if let Some(address) = names.address.clone() {
                    let holders = self.by_address.entry(address).or_default();
                    if !holders.contains(&place) {
                        holders.push(place);
                    }
                }
            }
            (Address::Stays, Some(email)) if spells => {
                record.changed |= contact.email.as_ref() != Some(email);
                contact.email = Some(email.clone());
            }
            _ => {}
        }
        let record = &mut self.all[place];
        record.reached |= !touch.historical && record.address.is_some();
        let mut patch = touch.properties.clone();
        keep_own(&mut patch, touch.trust, record.contact.email.as_deref());
        let unfit = if patch.is_empty() {
            Vec::new()
        } else if touch.historical {
            self.past.push(Past {
                place,
                at: seen,
                properties: patch,
                asked: touch.is_asked().then_some(at),
            });
            Vec::new()
        } else {
            record.changed |= differs(&record.contact.properties, &patch);
            foreign::merge(&mut record.contact.properties, patch)
        };
        if touch.is_asked() {
            self.no_room.extend(unfit.into_iter().map(|one| (at, one)));
        } else {
            let unfit = touch.unfit.iter().cloned().chain(unfit);
            record
                .unfit
                .extend(unfit.map(|one| (touch.source.to_owned(), one)));
        }
        for pending in decision.pending {
            let change = match pending {
                Pending::Address => PendingAt::Address(names.address.clone().unwrap_or_default()),
                Pending::Unite(other) => PendingAt::Unite(self.by_contact[&other]),
            };
            self.pending
                .push((place, change, touch.source.to_owned(), touch.id));
        }
        Some(place)
    }

    /// The contacts that have one of the names.
    fn known(&self, names: &Names) -> Vec<Known<ContactId>> {
        let mut reached: Vec<usize> = Vec::new();
        let mut ids: HashMap<usize, Vec<Id>> = HashMap::new();
        for id in &names.ids {
            for place in self.by_id.get(id).into_iter().flatten() {
                let place = self.current(*place);
                let own = ids.entry(place).or_default();
                if !own.contains(id) {
                    own.push(id.clone());
                }
                reached.push(place);
            }
        }
        let holders = names
            .address
            .as_ref()
            .and_then(|it| self.by_address.get(it));
        for place in holders.into_iter().flatten() {
            let place = self.current(*place);
            if self.all[place].address == names.address {
                reached.push(place);
            }
        }
        reached.sort_unstable();
        reached.dedup();
        let known = reached.into_iter().map(|place| {
            let Record {
                contact, address, ..
            } = &self.all[place];
            Known {
                key: contact.id,
                ids: ids.remove(&place).unwrap_or_default(),
                has_user: contact.external_id.is_some(),
                address: address.clone(),
                unconfirmed: contact.email_unconfirmed,
                last_seen: contact.last_seen_at,
            }
        });
        known.collect()
    }

    /// Fills in properties from the past, newest first, where the contact has no value.
    fn apply_past(&mut self) {
        let mut past = std::mem::take(&mut self.past);
        past.reverse();
        past.sort_by_key(|one| std::cmp::Reverse(one.at));
        for one in past {
            let place = self.current(one.place);
            let record = &mut self.all[place];
            let before = record.contact.properties.len();
            let unfit = add_absent(&mut record.contact, one.properties);
            record.changed |= record.contact.properties.len() > before;
            if let Some(at) = one.asked {
                self.no_room.extend(unfit.into_iter().map(|one| (at, one)));
            }
        }
    }

    fn create(&mut self, seen: DateTime<Utc>) -> usize {
        let contact = Contact {
            id: ContactId::new(self.now),
            external_id: None,
            email: None,
            anonymous_id: None,
            properties: Properties::new(),
            first_seen_at: seen,
            last_seen_at: seen,
            listening: false,
            email_unconfirmed: false,
        };
        let place = self.add(contact, &[]);
        self.all[place].made = true;
        place
    }

    /// Gives a contact ids. The first product id and the first anonymous id are columns of its row.
    fn gain(&mut self, place: usize, ids: Vec<Id>, source: &str) {
        for id in ids {
            self.by_id.entry(id.clone()).or_default().push(place);
            let contact = &mut self.all[place].contact;
            if id.kind == USER && contact.external_id.is_none() {
                contact.external_id = Some(id.value.clone());
                continue;
            }
            if id.kind != USER && contact.anonymous_id.is_none() && id == Id::anonymous(&id.value) {
                contact.anonymous_id = Some(id.value.clone());
            }
            self.gains.push(NewId {
                id,
                contact: self.all[place].contact.id,
                source: source.to_owned(),
            });
        }
    }

    /// Takes the address over from another contact of the same person.
    fn inherit(&mut self, place: usize, from: usize) {
        let from = &self.all[from];
        let (email, unconfirmed) = (from.contact.email.clone(), from.contact.email_unconfirmed);
        let address = from.address.clone();
        let record = &mut self.all[place];
        record.contact.email = email;
        record.contact.email_unconfirmed = unconfirmed;
        record.address.clone_from(&address);
        if let Some(address) = address {
            self.by_address.entry(address).or_default().push(place);
        }
    }

    /// Merges `gone` into `kept`. Properties of `kept` win.
    fn absorb(&mut self, kept: usize, gone: usize, reason: &'static str, source: &str) {
        self.all[gone].merged_into = Some(kept);
        self.all[kept].reached |= self.all[gone].reached;
        let mut earlier = self.all[gone].contact.clone();
        let own = earlier.external_id.iter().map(Id::user);
        for id in own.chain(earlier.anonymous_id.iter().map(Id::anonymous)) {
            self.gains.push(NewId {
                id,
                contact: earlier.id,
                source: source.to_owned(),
            });
        }
        let contact = &mut self.all[kept].contact;
        contact.listening |= earlier.listening;
        contact.first_seen_at = contact.first_seen_at.min(earlier.first_seen_at);
        contact.last_seen_at = contact.last_seen_at.max(earlier.last_seen_at);
        let trust = Trust::from(!earlier.email_unconfirmed);
        keep_own(&mut earlier.properties, trust, contact.email.as_deref());
        add_absent(contact, earlier.properties);
        self.merges.push(Merged {
            kept,
            gone,
            reason,
            source: source.to_owned(),
        });
    }

    async fn write(
        mut self,
        conn: &mut Conn,
        touches: &[Touch<'_>],
        places: Vec<Option<usize>>,
    ) -> db::Result<Resolved> {
        let now = self.now;
        let mut resolved = Resolved::default();
        let mut history = Vec::new();
        if !self.gains.is_empty() {
            history = self.history(conn).await?;
        }
        let touched: Vec<Contact> = self
            .all
            .iter()
            .filter(|it| it.touched && it.merged_into.is_none())
            .map(|it| it.contact.clone())
            .collect();
        if !touched.is_empty() {
            db::contact_upsert(conn, &touched, now).await?;
        }
        for merged in &self.merges {
            self.store_merge(conn, merged, &mut resolved).await?;
        }
        if !self.gains.is_empty() {
            let mut gains = std::mem::take(&mut self.gains);
            for gain in &mut gains {
                let place = self.current(self.by_contact[&gain.contact]);
                gain.contact = self.all[place].contact.id;
            }
            db::identities_insert(conn, &gains, now).await?;
        }
        if !history.is_empty() {
            db::event_insert(conn, &history).await?;
        }
        self.store_pending(conn).await?;
        self.store_unfit(conn).await?;
        let kept: HashMap<usize, Arc<Contact>> = (0..self.all.len())
            .filter(|place| self.all[*place].merged_into.is_none())
            .map(|place| (place, Arc::new(self.all[place].contact.clone())))
            .collect();
        for (place, contact) in &kept {
            let record = &self.all[*place];
            let id = contact.id;
            if record.made {
                resolved.made.push(id);
                continue;
            }
            if record.reached && record.address.is_some() && !record.had_address {
                resolved.reachable.push(contact.clone());
            }
            if record.linked {
                resolved.linked.push(id);
            }
        }
        let news = kept.iter().filter_map(|(place, contact)| {
            let record = &self.all[*place];
            let event_type = match (record.made, record.changed) {
                (true, _) => "contact.created",
                (false, true) => "contact.updated",
                (false, false) => return None,
            };
            Some(News {
                event_type,
                contact: contact.id,
                occurred_at: now,
                data: Properties::new(),
            })
        });
        let mut news: Vec<News> = news.collect();
        if !news.is_empty() {
            news.sort_by_key(|one| one.contact);
            announce(conn, &news, now).await?;
        }
        let whom = |(at, place): (usize, Option<usize>)| match place {
            Some(place) => Whom::Contact(kept[&self.current(place)].clone()),
            None => match touches.get(at).map(|touch| touch.person) {
                Some(Person::Names(_)) => Whom::Nobody,
                _ => Whom::Gone,
            },
        };
        resolved.people = places.into_iter().enumerate().map(whom).collect();
        Ok(resolved)
    }

    /// Takes the anonymous events of visitors that are identified now. They become rows of the contact's
    /// history and trigger nothing; their contact properties fill gaps only.
    async fn history(&mut self, conn: &mut Conn) -> db::Result<Vec<EventRow>> {
        let ids: Vec<Id> = self.gains.iter().map(|gain| gain.id.clone()).collect();
        let taken = db::anonymous_take(conn, &ids, HISTORY_MAX).await?;
        let mut rows = Vec::with_capacity(taken.len());
        for event in taken {
            let owner = event.ids.iter().find_map(|id| self.by_id.get(id)?.first());
            let Some(owner) = owner.map(|place| self.current(*place)) else {
                continue;
            };
            let contact = &mut self.all[owner].contact;
            let at = event.occurred_at.min(event.received_at);
            mark_seen(contact, at);
            let mut properties = event.contact_properties;
            keep_own(&mut properties, event.trust, contact.email.as_deref());
            rows.push(EventRow {
                id: event.id,
                contact_id: contact.id,
                source: event.source,
                trust: event.trust,
                historical: true,
                name: event.name,
                properties: event.properties,
                depth: 0,
                occurred_at: event.occurred_at,
                received_at: event.received_at,
            });
            self.past.push(Past {
                place: owner,
                at,
                properties,
                asked: None,
            });
        }
        self.apply_past();
        Ok(rows)
    }

    async fn store_merge(
        &self,
        conn: &mut Conn,
        merged: &Merged,
        resolved: &mut Resolved,
    ) -> db::Result<()> {
        if self.all[merged.gone].made {
            // It was never stored.
            return Ok(());
        }
        let keep = self.all[self.current(merged.kept)].contact.id;
        let merge = Merge {
            keep,
            gone: self.all[merged.gone].contact.id,
            reason: merged.reason,
            source: &merged.source,
        };
        let mut news = Vec::new();
        for ended in db::contact_merge(conn, merge, self.now).await? {
            let ended = RunEnded {
                run: ended.state,
                journey_id: ended.journey_id,
                contact: keep,
                end: RunEnd::Exited {
                    reason: "merged".into(),
                },
                depth: ended.depth,
                trust: Trust::Trusted,
            };
            news.push(ended.news(self.now));
            resolved.follows.push(FollowUp::run_ended(&ended));
        }
        announce(conn, &news, self.now).await
    }

    /// Records on the contacts what sources sent and could not be stored.
    async fn store_unfit(&self, conn: &mut Conn) -> db::Result<()> {
        for record in self.all.iter().filter(|it| it.merged_into.is_none()) {
            let newest = record.unfit.iter().rev().take(UNFIT_MAX);
            let rows: Vec<Value> = newest
                .map(|(source, unfit)| {
                    json!({ "source": source, "name": unfit.name, "reason": unfit.reason, "at": self.now })
                })
                .collect();
            if !rows.is_empty() {
                let max = i64::try_from(UNFIT_MAX).unwrap_or(i64::MAX);
                db::contact_unfit(conn, record.contact.id, &Value::Array(rows), max).await?;
            }
        }
        Ok(())
    }

    /// Stores changes that await a decision, and removes those that have happened by now.
    async fn store_pending(&self, conn: &mut Conn) -> db::Result<()> {
        let mut settled = (Vec::new(), Vec::new());
        let records = self.all.iter().filter(|it| it.merged_into.is_none());
        for record in records.filter(|it| it.settled && !it.made) {
            if let Some(address) = &record.address {
                settled.0.push(record.contact.id);
                settled.1.push(address.clone());
            }
        }
        let id = |place: usize| self.all[self.current(place)].contact.id;
        let changes = self
            .pending
            .iter()
            .filter_map(|(place, change, source, event)| {
                let contact = id(*place);
                let change = match change {
                    PendingAt::Address(address) => PendingChange::Address(address.clone()),
                    PendingAt::Unite(other) => PendingChange::Unite(id(*other)),
                };
                (change != PendingChange::Unite(contact)).then(|| NewPending {
                    contact,
                    change,
                    source: source.clone(),
                    event: *event,
                })
            });
        let changes: Vec<NewPending> = changes.collect();
        if !changes.is_empty() {
            db::pending_put(conn, &changes, self.now).await?;
        }
        if !settled.0.is_empty() {
            db::pending_settle(conn, &settled.0, &settled.1).await?;
        }
        Ok(())
    }
}

/// Whether `patch` would change the properties of a contact; null removes a property.
fn differs(properties: &Properties, patch: &Properties) -> bool {
    patch
        .iter()
        .any(|(name, value)| match properties.get(name) {
            Some(known) => known != value,
            None => !value.is_null(),
        })
}

/// Extends the period in which the contact was seen.
fn mark_seen(contact: &mut Contact, at: DateTime<Utc>) {
    contact.first_seen_at = contact.first_seen_at.min(at);
    contact.last_seen_at = contact.last_seen_at.max(at);
}

/// Adds properties the contact does not have, and returns those that do not fit.
fn add_absent(contact: &mut Contact, properties: Properties) -> Vec<Unfit> {
    let mut new = properties;
    new.retain(|name, value| !value.is_null() && !contact.properties.contains_key(name));
    foreign::merge(&mut contact.properties, new)
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
