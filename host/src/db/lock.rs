//! The one order in which a transaction takes locks: names, event keys, contacts by id, runs and
//! mails, and last the row of a provider.
//!
//! Two transactions that lock in the same order cannot deadlock.
//! [`Db::transact`](super::Db::transact) tracks what its transaction holds, and in builds with
//! debug assertions a lock out of order panics, naming both. Locking again what is already held is
//! always allowed.

use std::collections::{BTreeSet, HashSet};
#[cfg(debug_assertions)]
use std::panic::Location;

use crate::ids::ContactId;

/// A kind of lock, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Advisory locks of contacts' names: ids and addresses.
    Names,
    /// Rows of event keys (deduplication).
    Keys,
    /// Rows of contacts.
    Contacts,
    /// Rows of runs, steps and mails.
    Runs,
    /// The row with the state of a provider that all workers share.
    Provider,
}

/// What one transaction holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    level: Option<Level>,
    names: HashSet<i64>,
    contacts: BTreeSet<ContactId>,
    #[cfg(debug_assertions)]
    at: Option<&'static Location<'static>>,
}

impl Held {
    /// Takes a lock of this kind.
    #[track_caller]
    pub(super) fn take(&mut self, level: Level) {
        #[cfg(debug_assertions)]
        {
            if let Some(held) = self.level.filter(|held| *held > level) {
                let at = self.at.map(ToString::to_string).unwrap_or_default();
                panic!(
                    "locks out of order: {level:?} after {held:?} (taken at {at}); the order is \
                     names, event keys, contacts, runs and mails, providers (db/lock.rs)"
                );
            }
            self.at = Some(Location::caller());
        }
        self.level = self.level.max(Some(level));
    }

    /// Takes locks of names; those already held may be taken at any time.
    #[track_caller]
    pub(super) fn take_names(&mut self, names: &[i64]) {
        let new: Vec<i64> = names
            .iter()
            .filter(|name| !self.names.contains(name))
            .copied()
            .collect();
        if new.is_empty() {
            return;
        }
        debug_assert!(
            self.names.is_empty(),
            "names are locked in one call: two calls could deadlock"
        );
        self.take(Level::Names);
        self.names.extend(new);
    }

    /// Takes locks of contacts; those already held may be taken at any time.
    #[track_caller]
    pub(super) fn take_contacts(&mut self, ids: impl Iterator<Item = ContactId>) {
        let new: BTreeSet<ContactId> = ids.filter(|id| !self.contacts.contains(id)).collect();
        let Some(first) = new.first() else { return };
        debug_assert!(
            self.contacts.last().is_none_or(|last| last < first),
            "contacts are locked by id, lowest first: lock all of a transaction at once"
        );
        self.take(Level::Contacts);
        self.contacts.extend(new);
    }

    /// Contacts this transaction created: no other transaction can hold them.
    pub(super) fn made_contacts(&mut self, ids: impl Iterator<Item = ContactId>) {
        self.contacts.extend(ids);
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    fn contacts() -> [ContactId; 2] {
        let now = DateTime::UNIX_EPOCH;
        [now, now + TimeDelta::seconds(1)].map(ContactId::new)
    }

    #[test]
    fn what_is_held_may_be_locked_again_at_any_time() {
        let [a, b] = contacts();
        let mut held = Held::default();
        held.take_names(&[1, 2]);
        held.take(Level::Keys);
        held.take_contacts([a, b].into_iter());
        held.take(Level::Runs);
        held.take_contacts([b, a].into_iter());
        held.take_names(&[2]);
        held.take(Level::Provider);
    }

    #[test]
    #[should_panic(expected = "locks out of order: Contacts after Runs")]
    fn a_contact_after_a_run_panics() {
        let [a, b] = contacts();
        let mut held = Held::default();
        held.take_contacts(std::iter::once(a));
        held.take(Level::Runs);
        held.take_contacts(std::iter::once(b));
    }

    #[test]
    #[should_panic(expected = "locks out of order: Names after Contacts")]
    fn a_name_after_a_contact_panics() {
        let mut held = Held::default();
        held.take_contacts(contacts().into_iter());
        held.take_names(&[1]);
    }

    #[test]
    #[should_panic(expected = "contacts are locked by id")]
    fn a_lower_contact_after_a_higher_one_panics() {
        let [a, b] = contacts();
        let mut held = Held::default();
        held.take_contacts(std::iter::once(b));
        held.take_contacts(std::iter::once(a));
    }
}
