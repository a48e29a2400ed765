//! Resolves ids and addresses to people, by the host's rules.

use std::collections::BTreeSet;

use hogsend_plugin_api::{Properties, Trust};
use hogsend_semantics::address::comparable;
use hogsend_semantics::identity::{About, Address, Id, Known, Names, USER, decide};
use serde_json::json;

use super::ingest::Incoming;
use super::person::Person;
use super::run::Status;
use super::{Sim, ids};

impl Sim<'_> {
    /// Finds or creates the person with these names, and merges people who turn out to be the same.
    pub(super) fn find_or_make(
        &mut self,
        id: Option<&str>,
        email: Option<&str>,
        trust: Trust,
    ) -> usize {
        let names = Names {
            ids: id.map(Id::user).into_iter().collect(),
            address: email.map(comparable),
        };
        let known = self.known(&names);
        let decision = decide(&names, &known, trust, true);
        let place = match decision.about {
            About::Contact(place) => place,
            About::New | About::Nobody => {
                let name = id.or(email).unwrap_or_default();
                let uuid = ids::id(self.seed, "person", name);
                self.people.push(Person::new(name, uuid, self.now));
                self.people.len() - 1
            }
        };
        if let Some(heir) = decision.inherits {
            let heir = &self.people[heir];
            let (email, unconfirmed) = (heir.email.clone(), heir.email_unconfirmed);
            let person = &mut self.people[place];
            (person.email, person.email_unconfirmed) = (email, unconfirmed);
        }
        let mut follows = Vec::new();
        for (gone, _) in decision.absorbed {
            self.absorb(place, gone, &mut follows);
        }
        for id in decision.gains.into_iter().filter(|id| id.kind == USER) {
            self.by_id.insert(id.value.clone(), place);
            self.people[place].external_id.get_or_insert(id.value);
        }
        if let (Address::Set { unconfirmed }, Some(email)) = (decision.address, email) {
            let person = &mut self.people[place];
            person.email = Some(email.to_owned());
            person.email_unconfirmed = unconfirmed;
        }
        self.index(place);
        self.ingest(follows);
        place
    }

    /// The people with one of the names.
    fn known(&self, names: &Names) -> Vec<Known<usize>> {
        let by_id = names.ids.iter().filter_map(|id| self.by_id.get(&id.value));
        let by_address = names.address.iter();
        let by_address = by_address.filter_map(|address| self.by_address.get(address));
        let places: BTreeSet<usize> = by_id.chain(by_address.flatten()).copied().collect();
        let known = places.into_iter().map(|place| {
            let person = &self.people[place];
            let has = |id: &&Id| self.by_id.get(&id.value) == Some(&place);
            Known {
                key: place,
                ids: names.ids.iter().filter(has).cloned().collect(),
                has_user: person.external_id.is_some(),
                address: person.address.clone(),
                unconfirmed: person.email_unconfirmed,
                last_seen: person.last_seen_at,
            }
        });
        known.collect()
    }

    /// Updates the index by address with the person's current one.
    pub(super) fn index(&mut self, place: usize) {
        let person = &mut self.people[place];
        let now = person.email.as_deref().map(comparable);
        if person.address == now {
            return;
        }
        let before = std::mem::replace(&mut person.address, now.clone());
        if let Some(holders) = before.and_then(|before| self.by_address.get_mut(&before)) {
            holders.remove(&place);
        }
        if let Some(now) = now {
            self.by_address.entry(now).or_default().insert(place);
        }
    }

    /// Merges one person into the other. Where both have an active run of the same journey, the run
    /// that began first continues.
    fn absorb(&mut self, kept: usize, gone: usize, follows: &mut Vec<Incoming>) {
        let open = |sim: &Self, place: usize| sim.people[place].open.clone();
        for run in open(self, gone) {
            let journey = self.runs[run].place.journey;
            let twin = open(self, kept)
                .into_iter()
                .find(|twin| self.runs[*twin].place.journey == journey);
            let Some(twin) = twin else { continue };
            let ended = run.max(twin);
            let mut properties = Properties::new();
            properties.insert("journeyId".into(), json!(*self.runs[ended].journey));
            properties.insert("stateId".into(), json!(self.runs[ended].input.run_id));
            properties.insert("reason".into(), json!("merged"));
            let depth = self.runs[ended].place.depth.saturating_add(1);
            self.end(ended, Status::Exited, Some("merged".into()));
            follows.push(Incoming::new(kept, "journey.exited", properties, depth));
        }
        self.people[gone].email = None;
        self.index(gone);
        let nobody = Person::new("", self.people[gone].id, self.now);
        let person = std::mem::replace(&mut self.people[gone], nobody);
        let name = self.people[kept].name.clone();
        for run in &person.runs {
            self.runs[*run].place.person = kept;
            self.runs[*run].person = name.clone();
        }
        for mail in &person.mails {
            self.mails[*mail].person = name.clone();
        }
        self.people[kept].absorb(person);
        for place in self.by_id.values_mut().filter(|place| **place == gone) {
            *place = kept;
        }
        if self.current == Some(gone) {
            self.current = Some(kept);
        }
    }
}
