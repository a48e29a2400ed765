//! What a test does to the world.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::{Properties, StepError, Trust};
use serde_json::Value;

use super::ingest::Incoming;
use super::script::Fate;
use super::timeline::What;
use super::{Due, Sim};

/// How an event comes: by default from a source that is believed, when it happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Go to the contact.
    pub contact_properties: Properties,
    pub trust: Trust,
    /// It belongs to the past: it counts for questions about history alone.
    pub historical: bool,
    /// When it happened, where it arrives later.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl Sim<'_> {
    /// Makes a person the one the following is about. Somebody new has this id as the product's
    /// and `<id>@example.com` as address; a test that names nobody is about `user-1`.
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

    /// Makes the person of these names the one the following is about, found or made as the host finds
    /// and makes people.
    ///
    /// # Panics
    ///
    /// Where there is neither.
    pub fn named(&mut self, id: Option<&str>, email: Option<&str>) -> &mut Self {
        self.named_by(id, email, Trust::Trusted)
    }

    /// As [`named`](Sim::named), by a source of this trust: strangers unite nobody who is known, and
    /// change no address.
    ///
    /// # Panics
    ///
    /// Where there is neither.
    pub fn named_by(&mut self, id: Option<&str>, email: Option<&str>, trust: Trust) -> &mut Self {
        assert!(
            id.is_some() || email.is_some(),
            "a person needs an id or an e-mail address"
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

    /// Changes the person's address, or takes it away.
    pub fn set_email(&mut self, address: Option<&str>) -> &mut Self {
        let person = self.current();
        self.people[person].email = address.map(str::to_owned);
        self.people[person].email_unconfirmed = false;
        self.index(person);
        self
    }

    /// Sets properties of the person, a JSON object; the others stay.
    ///
    /// # Panics
    ///
    /// Where it is no object.
    pub fn set_contact(&mut self, properties: Value) -> &mut Self {
        let person = self.current();
        self.people[person].properties.extend(object(properties));
        self
    }

    /// Sets properties an analytics product knows of the person, a JSON object.
    ///
    /// # Panics
    ///
    /// Where it is no object.
    pub fn set_analytics(&mut self, properties: Value) -> &mut Self {
        let person = self.current();
        self.people[person].analytics.extend(object(properties));
        self
    }

    /// An event of the person, now.
    pub fn event(&mut self, name: &str) -> &mut Self {
        self.take_in(name, Properties::new(), Properties::new())
    }

    /// An event with properties, a JSON object.
    ///
    /// # Panics
    ///
    /// Where they are no object.
    pub fn event_with(&mut self, name: &str, properties: Value) -> &mut Self {
        self.take_in(name, object(properties), Properties::new())
    }

    /// An event that also changes the contact.
    pub fn take_in(
        &mut self,
        name: &str,
        properties: Properties,
        contact_properties: Properties,
    ) -> &mut Self {
        let told = Told {
            contact_properties,
            ..Told::default()
        };
        self.tell(name, properties, told)
    }

    /// An event of an untrusted source, now.
    pub fn untrusted_event(&mut self, name: &str) -> &mut Self {
        let told = Told {
            trust: Trust::Untrusted,
            ..Told::default()
        };
        self.tell(name, Properties::new(), told)
    }

    /// An event that happened before and arrives now.
    pub fn late_event(&mut self, name: &str, age: Duration) -> &mut Self {
        let age = TimeDelta::from_std(age).ok();
        let told = Told {
            occurred_at: age.and_then(|age| self.now.checked_sub_signed(age)),
            ..Told::default()
        };
        self.tell(name, Properties::new(), told)
    }

    /// An event with all that can be said of how it came.
    pub fn tell(&mut self, name: &str, properties: Properties, told: Told) -> &mut Self {
        let person = self.current();
        let mut event = Incoming::new(person, name, properties, 0);
        event.contact_properties = told.contact_properties;
        event.trust = told.trust;
        event.historical = told.historical;
        event.occurred_at = told.occurred_at;
        self.ingest(vec![event]);
        self.go_on(self.now);
        self
    }

    /// The person wants no more mail of a category, `all` for all there are.
    pub fn unsubscribe(&mut self, category: &str) -> &mut Self {
        self.prefer(category, false)
    }

    /// The person wants mail of a category again, `all` for all they did not refuse one by one.
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
    /// Where none went out.
    pub fn open(&mut self, template: &str) -> &mut Self {
        self.engage(template, false)
    }

    /// The person clicks in the last mail of a template.
    ///
    /// # Panics
    ///
    /// Where none went out.
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

    /// Whether the person got a mail of the template, which is then marked as opened, or clicked.
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

    /// From now on the provider refuses the mails of a template.
    pub fn fail_send(&mut self, template: &str, reason: &str) -> &mut Self {
        self.decree(template, Fate::Fail(reason.to_owned()))
    }

    /// From now on the mails of a template are skipped.
    pub fn skip(&mut self, template: &str, reason: &str) -> &mut Self {
        self.decree(template, Fate::Skip(reason.to_owned()))
    }

    fn decree(&mut self, template: &str, fate: Fate) -> &mut Self {
        self.script.mails.insert(template.to_owned(), fate);
        self
    }

    /// Answers the next request to a URL that begins like this. Of several answers each is given
    /// once, and the last for good. [`response`](crate::response) makes one.
    pub fn http(&mut self, url: &str, answer: Result<Value, StepError>) -> &mut Self {
        self.script.answer(url, answer);
        self
    }

    /// Lets time pass: everything due on the way happens, each at its own time.
    pub fn advance(&mut self, duration: Duration) -> &mut Self {
        let until = TimeDelta::from_std(duration)
            .ok()
            .and_then(|wait| self.now.checked_add_signed(wait))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.advance_to(until)
    }

    /// Lets time pass until an instant; nothing where it has passed.
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
