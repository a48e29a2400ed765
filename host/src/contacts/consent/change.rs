//! What decisions changed: for reports, as proof, and in the stored rows.

use std::collections::BTreeSet;

use super::Decision;
use crate::db::{ConsentDelta, Preferences};

/// The categories that decisions were about.
#[derive(Default)]
pub(super) struct Touched {
    pub all: bool,
    pub categories: BTreeSet<String>,
    /// Every category with an earlier decision.
    pub every: bool,
    /// Lists the person had left and joins again with consent.
    pub rejoined: BTreeSet<String>,
}

/// Changes: the category, None for all mail, and whether it is wanted now.
#[derive(Default)]
pub(super) struct Found {
    /// Reported to journeys, analytics and webhooks.
    pub reported: BTreeSet<(Option<String>, bool)>,
    /// Stored as proof.
    pub kept: BTreeSet<(Option<String>, bool)>,
}

impl Touched {
    pub fn note(&mut self, decision: &Decision) {
        match decision {
            Decision::All { .. } => self.all = true,
            Decision::Category { id, .. } | Decision::Join { id, .. } => {
                self.categories.insert(id.clone());
            }
            Decision::Replace { categories } => {
                self.every = true;
                self.categories.extend(categories.keys().cloned());
            }
        }
    }

    /// The changes from the preferences `was` to `is`.
    pub fn compare(&self, was: &Preferences, is: &Preferences) -> Found {
        let mut found = Found::default();
        if self.all && was.unsubscribed_all != is.unsubscribed_all {
            found.reported.insert((None, !is.unsubscribed_all));
        }
        let said = was.categories.keys().chain(is.categories.keys());
        let said = said.filter(|id| self.every || self.categories.contains(*id));
        for id in said.chain(&self.rejoined) {
            let (before, after) = (was.categories.get(id), is.categories.get(id));
            if was.allow(id) && after == Some(&false) {
                found.reported.insert((Some(id.clone()), false));
            }
            let back = before == Some(&false) && after != Some(&false);
            if is.allow(id) && (back || !was.allow(id) && self.rejoined.contains(id)) {
                found.reported.insert((Some(id.clone()), true));
            }
            if before != after {
                let wanted = after.copied().unwrap_or(true);
                found.kept.insert((Some(id.clone()), wanted));
            }
        }
        found.kept.extend(found.reported.iter().cloned());
        found
    }
}

impl Found {
    /// Subscribing a contact for the first time counts as joining the list, although the contact got its
    /// mail before by default.
    pub fn explicit(
        &mut self,
        touched: &Touched,
        was: &Preferences,
        now: &Preferences,
        gets: &Preferences,
    ) {
        for id in &touched.categories {
            let joins = now.categories.get(id) == Some(&true) && !was.categories.contains_key(id);
            if joins && gets.allow(id) {
                self.kept.insert((Some(id.clone()), true));
                if !touched.every {
                    self.reported.insert((Some(id.clone()), true));
                }
            }
        }
    }
}

/// The change to write to a row, if there is one.
pub(super) fn difference(was: &Preferences, wants: &Preferences) -> Option<ConsentDelta> {
    if was == wants {
        return None;
    }
    let all = wants.unsubscribed_all;
    let set = wants.categories.iter();
    let set = set.filter(|(id, wanted)| was.categories.get(*id) != Some(wanted));
    let unset = was.categories.keys();
    let unset = unset.filter(|id| !wants.categories.contains_key(*id));
    Some(ConsentDelta {
        unsubscribed_all: (was.unsubscribed_all != all).then_some(all),
        set: set.map(|(id, wanted)| (id.clone(), *wanted)).collect(),
        unset: unset.cloned().collect(),
    })
}
