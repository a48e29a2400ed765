//! What a test does to the simulation.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{Properties, StepError, Trust};
use serde_json::Value;

use super::ingest::Incoming;
use super::script::Fate;
use super::timeline::What;
use super::{Due, Sim};

/// How an event arrives: by default from a trusted source, at the time it happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrival {
    /// Stored on the contact.
    pub contact_properties: Properties,
    /// Whether the source is trusted.
    pub trust: Trust,
    /// It counts for history queries only: it starts no runs and ends neither runs nor waits.
    pub historical: bool,
    /// When it happened, where it arrives later; `None` for now.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl Sim<'_> {
    /// Selects the person for the following calls. A new person has this id as the product's own and
    /// the address `<id>@example.com`. Without this call a test is about `user-1`.
    pub fn person(&mut self, id: &str) -> &mut Self {
        let known = self.by_id.contains_key(id);
        let place = self.find_or_make(Some(id), None, Trust::Trusted);
        self.current = Some(place);
        if known {
            return self;
        }
        let address = format!("{id}@example.com");
        self.set_email(Some(&address))
    }

    /// Selects the person with this id or address for the following calls, found or created by the
    /// host's rules.
    ///
    /// # Panics
    ///
    /// Both are `None`.
    pub fn named(&mut self, id: Option<&str>, email: Option<&str>) -> &mut Self {
        self.named_by(id, email, Trust::Trusted)
    }

    /// Like [`named`](Sim::named), by a source of this trust. An untrusted one merges no known people
    /// and changes no address.
    ///
    /// # Panics
    ///
    /// Both are `None`.
    pub fn named_by(&mut self, id: Option<&str>, email: Option<&str>, trust: Trust) -> &mut Self {
        assert!(
            id.is_some() || email.is_some(),
            "a person needs an id or an email address"
        );
        self.current = Some(self.find_or_make(id, email, trust));
        self
    }

    pub(super) fn current(&mut self) -> usize {
        if self.current.is_none() {
            self.person("user-1");
        }
        self.current.unwrap_or_default()
    }

    pub(super) fn current_name(&mut self) -> Rc<str> {
        let person = self.current();
        self.people[person].name.clone()
    }

    /// Changes or removes the person's address.
    pub fn set_email(&mut self, address: Option<&str>) -> &mut Self {
        let person = self.current();
        self.people[person].email = address.map(str::to_owned);
        self.people[person].email_unconfirmed = false;
        self.index(person);
        self
    }

    /// Sets properties of the contact, given as a JSON object. Other properties keep their values.
    ///
    /// # Panics
    ///
    /// The value is not an object.
    pub fn set_contact(&mut self, properties: Value) -> &mut Self {
        let person = self.current();
        self.people[person].properties.extend(object(properties));
        self
    }

    /// Sets properties of the person in analytics, given as a JSON object.
    ///
    /// # Panics
    ///
    /// The value is not an object.
    pub fn set_analytics(&mut self, properties: Value) -> &mut Self {
        let person = self.current();
        self.people[person].analytics.extend(object(properties));
        self
    }

    /// Ingests an event of the person, now.
    pub fn event(&mut self, name: &str) -> &mut Self {
        self.take_in(name, Properties::new(), Properties::new())
    }

    /// Ingests an event with properties, given as a JSON object.
    ///
    /// # Panics
    ///
    /// The value is not an object.
    pub fn event_with(&mut self, name: &str, properties: Value) -> &mut Self {
        self.take_in(name, object(properties), Properties::new())
    }

    /// Ingests an event that also sets contact properties.
    pub fn take_in(
        &mut self,
        name: &str,
        properties: Properties,
        contact_properties: Properties,
    ) -> &mut Self {
        let arrival = Arrival {
            contact_properties,
            ..Arrival::default()
        };
        self.event_as(name, properties, arrival)
    }

    /// Ingests an event of an untrusted source, now.
    pub fn untrusted_event(&mut self, name: &str) -> &mut Self {
        let arrival = Arrival {
            trust: Trust::Untrusted,
            ..Arrival::default()
        };
        self.event_as(name, Properties::new(), arrival)
    }

    /// Ingests an event that happened `age` ago and arrives now.
    pub fn late_event(&mut self, name: &str, age: Duration) -> &mut Self {
        let age = TimeDelta::from_std(age).ok();
        let arrival = Arrival {
            occurred_at: age.and_then(|age| self.now.checked_sub_signed(age)),
            ..Arrival::default()
        };
        self.event_as(name, Properties::new(), arrival)
    }

    /// Ingests an event that arrives in a given way.
    pub fn event_as(&mut self, name: &str, properties: Properties, arrival: Arrival) -> &mut Self {
        let person = self.current();
        let mut event = Incoming::new(person, name, properties, 0);
        event.contact_properties = arrival.contact_properties;
        event.trust = arrival.trust;
        event.historical = arrival.historical;
        event.occurred_at = arrival.occurred_at;
        self.ingest(vec![event]);
        self.go_on(self.now);
        self
    }

    /// Unsubscribes the person from a category; `all` stands for all mail.
    pub fn unsubscribe(&mut self, category: &str) -> &mut Self {
        self.prefer(category, false)
    }

    /// Subscribes the person to a category again. `all` undoes the unsubscription from `all`;
    /// categories unsubscribed one by one stay so.
    pub fn resubscribe(&mut self, category: &str) -> &mut Self {
        self.prefer(category, true)
    }

    fn prefer(&mut self, category: &str, subscribed: bool) -> &mut Self {
        let place = self.current();
        let person = &mut self.people[place];
        if category == "all" {
            person.unsubscribed_all = !subscribed;
        } else {
            person.categories.insert(category.to_owned(), subscribed);
        }
        let category = category.to_owned();
        let what = What::Preference {
            category,
            subscribed,
        };
        self.note(place, None, what);
        self
    }

    /// The person opens the last mail of a template.
    ///
    /// # Panics
    ///
    /// None was sent.
    pub fn open(&mut self, template: &str) -> &mut Self {
        self.engage(template, false)
    }

    /// The person clicks in the last mail of a template.
    ///
    /// # Panics
    ///
    /// None was sent.
    pub fn click(&mut self, template: &str) -> &mut Self {
        self.engage(template, true)
    }

    fn engage(&mut self, template: &str, clicked: bool) -> &mut Self {
        let place = self.current();
        if self.try_engage(place, template, clicked) {
            return self;
        }
        panic!(
            "{} got no mail '{template}'\n{}",
            self.people[place].name,
            self.story()
        );
    }

    /// Marks the last mail of a template as opened, or as clicked, and returns whether the person got
    /// one.
    pub fn engaged(&mut self, template: &str, clicked: bool) -> bool {
        let place = self.current();
        self.try_engage(place, template, clicked)
    }

    fn try_engage(&mut self, place: usize, template: &str, clicked: bool) -> bool {
        let mails = self.people[place].mails.iter().rev();
        let found = mails.copied().find(|mail| {
            let mail = &self.mails[*mail];
            mail.template == template && mail.sent_at().is_some()
        });
        let Some(found) = found else {
            return false;
        };
        let mail = &mut self.mails[found];
        mail.opened = true;
        mail.clicked |= clicked;
        let index = mail.origin.0;
        let template = template.to_owned();
        self.note(place, Some(index), What::Engaged { template, clicked });
        true
    }

    /// From now on the provider refuses the mails of a template, with this reason.
    pub fn fail_send(&mut self, template: &str, reason: &str) -> &mut Self {
        self.decree(template, Fate::Fail(reason.to_owned()))
    }

    /// From now on the host skips the mails of a template, with this reason.
    pub fn skip(&mut self, template: &str, reason: &str) -> &mut Self {
        self.decree(template, Fate::Skip(reason.to_owned()))
    }

    fn decree(&mut self, template: &str, fate: Fate) -> &mut Self {
        self.script.mails.insert(template.to_owned(), fate);
        self
    }

    /// Sets the answer to requests whose URL begins with `url`. Several calls queue several answers:
    /// each is used once, the last one from then on. [`response`](crate::response) creates an answer.
    pub fn http(&mut self, url: &str, answer: Result<Value, StepError>) -> &mut Self {
        self.script.answer(url, answer);
        self
    }

    /// Moves the clock forward. Everything that becomes due happens in order, at its own time.
    pub fn advance(&mut self, duration: Duration) -> &mut Self {
        let until = TimeDelta::from_std(duration)
            .ok()
            .and_then(|wait| self.now.checked_add_signed(wait))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.advance_to(until)
    }

    /// Moves the clock forward to an instant; does nothing where it has passed.
    pub fn advance_to(&mut self, until: DateTime<Utc>) -> &mut Self {
        self.go_on(until);
        self.now = self.now.max(until);
        self
    }

    fn go_on(&mut self, until: DateTime<Utc>) {
        while let Some(next) = self.due.peek().filter(|next| next.0.at <= until) {
            let wake = next.0;
            self.due.pop();
            self.now = self.now.max(wake.at);
            match wake.what {
                Due::Run(index) => self.drive(index),
                Due::Mail(number) => self.attempt(number),
            }
        }
    }
}

fn object(value: Value) -> Properties {
    match value {
        Value::Object(fields) => fields,
        other => panic!("properties are a JSON object, not {other}"),
    }
}
