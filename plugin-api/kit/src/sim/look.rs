//! What can be seen of the world.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::address::comparable;

use super::person::Person;
use super::{Entry, Mail, Outcome, Run, Sim};

impl Sim<'_> {
    /// The ids of the journeys that take part.
    pub fn journeys(&self) -> impl Iterator<Item = &str> {
        let listed = self.journeys.iter().filter(|listed| !listed.ignored);
        listed.map(|listed| &*listed.id)
    }

    /// When something happens next by itself.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.due.peek().map(|next| next.0.at)
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The mails that went out, to anybody, in that order.
    pub fn sends(&self) -> Vec<&Mail> {
        let mut sent: Vec<&Mail> = self
            .mails
            .iter()
            .filter(|mail| mail.sent_at().is_some())
            .collect();
        sent.sort_by_key(|mail| mail.sent_at());
        sent
    }

    /// Every mail somebody decided to send, in the order of the decisions.
    pub fn mails(&self) -> &[Mail] {
        &self.mails
    }

    /// How many mails wait for their time.
    pub fn queued(&self) -> usize {
        let queued = |mail: &&Mail| mail.outcome == Outcome::Queued;
        self.mails.iter().filter(queued).count()
    }

    /// Every run of everybody, in the order they began.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// By the product's id or the address.
    fn find(&self, person: &str) -> Option<&Person> {
        let holders = || self.by_address.get(&comparable(person))?.first();
        let place = self.by_id.get(person).or_else(holders);
        place.map(|place| &self.people[*place])
    }

    /// The runs of a person that are not over.
    pub fn open_runs(&self, person: &str) -> impl Iterator<Item = &Run> {
        let open = self.find(person).map_or(&[][..], |person| &person.open);
        open.iter().map(|index| &self.runs[*index])
    }

    /// The mails of a person.
    pub fn mails_of(&self, person: &str) -> impl DoubleEndedIterator<Item = &Mail> {
        let mails = self.find(person).map_or(&[][..], |person| &person.mails);
        mails.iter().map(|number| &self.mails[*number])
    }

    /// Whether mails of a category reach a person.
    pub fn is_subscribed(&self, person: &str, category: &str) -> bool {
        self.find(person)
            .is_none_or(|person| person.allows(category))
    }

    /// The contact's properties.
    pub fn contact(&mut self) -> &Properties {
        let person = self.current();
        &self.people[person].properties
    }

    /// How often nobody entered a journey, by journey and reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let skips = self.skips.iter();
        skips.map(|((journey, reason), count)| (journey.as_str(), *reason, *count))
    }

    /// What happened so far.
    pub fn timeline(&self) -> &[Entry] {
        &self.timeline
    }

    /// What happened so far, a line of JSON for each entry: the same for the same simulation.
    pub fn trace(&self) -> String {
        let mut trace = String::new();
        for entry in &self.timeline {
            // An entry is strings, numbers and times.
            trace += &serde_json::to_string(entry).unwrap_or_default();
            trace.push('\n');
        }
        trace
    }
}
