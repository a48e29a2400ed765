//! Read access to the simulation.

use chrono::{DateTime, Utc};
use hogsend_plugin_api::Properties;
use hogsend_semantics::address::comparable;

use super::person::Person;
use super::{Entry, Mail, Outcome, Run, Sim};

impl Sim<'_> {
    /// The ids of the journeys in the simulation.
    pub fn journeys(&self) -> impl Iterator<Item = &str> {
        let listed = self.journeys.iter().filter(|listed| !listed.ignored);
        listed.map(|listed| &*listed.id)
    }

    /// When the next run or mail is due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.due.peek().map(|next| next.0.at)
    }

    /// The time of the simulation's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The mails sent to anyone, in the order they were sent.
    pub fn sends(&self) -> Vec<&Mail> {
        let mut sent: Vec<&Mail> = self
            .mails
            .iter()
            .filter(|mail| mail.sent_at().is_some())
            .collect();
        sent.sort_by_key(|mail| mail.sent_at());
        sent
    }

    /// Every mail, whatever its outcome, in the order of the `send` steps.
    pub fn mails(&self) -> &[Mail] {
        &self.mails
    }

    /// How many mails wait for a send window.
    pub fn queued(&self) -> usize {
        let queued = |mail: &&Mail| mail.outcome == Outcome::Queued;
        self.mails.iter().filter(queued).count()
    }

    /// Every run of everyone, in the order they began.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Finds a person by the product's own id or the address.
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

    /// Whether a person is subscribed to a category.
    pub fn is_subscribed(&self, person: &str, category: &str) -> bool {
        self.find(person)
            .is_none_or(|person| person.allows(category))
    }

    /// The current person's contact properties.
    pub fn contact(&mut self) -> &Properties {
        let person = self.current();
        &self.people[person].properties
    }

    /// The number of refused enrolments, by journey and reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let skips = self.skips.iter();
        skips.map(|((journey, reason), count)| (journey.as_str(), *reason, *count))
    }

    /// Everything that happened so far.
    pub fn timeline(&self) -> &[Entry] {
        &self.timeline
    }

    /// Everything that happened so far as JSON lines, one per entry. The same simulation gives the
    /// same text.
    pub fn trace(&self) -> String {
        let mut trace = String::new();
        for entry in &self.timeline {
            // Cannot fail: an entry holds only strings, numbers and times.
            trace += &serde_json::to_string(entry).unwrap_or_default();
            trace.push('\n');
        }
        trace
    }
}
