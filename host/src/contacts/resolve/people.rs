//! The contacts of one transaction in memory, and how events change them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::identity::{About, Address, Id, Known, Names, Pending, USER, decide};
use hogsend_semantics::own_address::keep_own;

use crate::contacts::{Person, Touch};
use crate::db::{Contact, NewId};
use crate::foreign::{self, Unfit};
use crate::ids::{ContactId, EventId};

/// The contacts of one transaction, in memory. All lookups use maps, so the time grows linearly with the
/// number of events and contacts.
pub(super) struct People {
    create: bool,
    pub(super) now: DateTime<Utc>,
    pub(super) all: Vec<Record>,
    pub(super) by_contact: HashMap<ContactId, usize>,
    pub(super) by_id: HashMap<Id, Vec<usize>>,
    by_address: HashMap<String, Vec<usize>>,
    pub(super) merges: Vec<Merged>,
    pub(super) gains: Vec<NewId>,
    pub(super) pending: Vec<(usize, PendingAt, String, EventId)>,
    pub(super) past: Vec<Past>,
    pub(super) no_room: Vec<(usize, Unfit)>,
}

/// Properties a contact had in the past.
pub(super) struct Past {
    /// The index of the contact.
    pub(super) place: usize,
    pub(super) at: DateTime<Utc>,
    pub(super) properties: Properties,
    /// The index of the event whose caller gets an error for properties that do not fit.
    pub(super) asked: Option<usize>,
}

pub(super) struct Record {
    pub(super) contact: Contact,
    /// The address in its normal form.
    pub(super) address: Option<String>,
    pub(super) had_address: bool,
    /// A current event named it while it has an address. Historical events trigger nothing.
    pub(super) reached: bool,
    pub(super) touched: bool,
    pub(super) made: bool,
    /// Its address was set or confirmed in this transaction.
    pub(super) settled: bool,
    pub(super) linked: bool,
    /// It has other names, another address or other properties than before.
    pub(super) changed: bool,
    /// The index of the contact it was merged into.
    pub(super) merged_into: Option<usize>,
    /// Values that sources sent and that cannot be stored, each with its source.
    pub(super) unfit: Vec<(String, Unfit)>,
}

pub(super) struct Merged {
    pub(super) kept: usize,
    pub(super) gone: usize,
    pub(super) reason: &'static str,
    pub(super) source: String,
}

pub(super) enum PendingAt {
    Address(String),
    Unite(usize),
}

impl People {
    pub(super) fn new(create: bool, now: DateTime<Utc>) -> Self {
        Self {
            create,
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

    pub(super) fn add(&mut self, contact: Contact, ids: &[Id]) -> usize {
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
    pub(super) fn current(&self, mut place: usize) -> usize {
        while let Some(next) = self.all[place].merged_into {
            place = next;
        }
        place
    }

    /// The index of the event's contact, if it has one.
    pub(super) fn place(&mut self, at: usize, touch: &Touch<'_>) -> Option<usize> {
        let given = match touch.person {
            // The host's own events do not count as activity and have no contact properties.
            Person::Contact(id) => {
                return self.by_contact.get(id).map(|place| self.current(*place));
            }
            Person::Names(given) => given,
        };
        let seen = match touch.historical || touch.caught_up {
            true => touch.occurred_at.unwrap_or(self.now).min(self.now),
            false => self.now,
        };
        let names = given.names();
        let known = self.known(&names);
        let decision = decide(&names, &known, touch.trust, self.create);
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
        // A contact that this event made was seen at `seen`.
        let past = touch.historical || touch.caught_up && seen < contact.last_seen_at;
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
        } else if past {
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
    pub(super) fn apply_past(&mut self) {
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
    pub(super) fn inherit(&mut self, place: usize, from: usize) {
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
    pub(super) fn absorb(&mut self, kept: usize, gone: usize, reason: &'static str, source: &str) {
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
pub(super) fn mark_seen(contact: &mut Contact, at: DateTime<Utc>) {
    contact.first_seen_at = contact.first_seen_at.min(at);
    contact.last_seen_at = contact.last_seen_at.max(at);
}

/// Adds properties the contact does not have, and returns those that do not fit.
fn add_absent(contact: &mut Contact, properties: Properties) -> Vec<Unfit> {
    let mut new = properties;
    new.retain(|name, value| !value.is_null() && !contact.properties.contains_key(name));
    foreign::merge(&mut contact.properties, new)
}
