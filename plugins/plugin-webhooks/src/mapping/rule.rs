//! One rule: which events it reads, and how.

use std::collections::BTreeMap;

use hogsend_plugin_api::{Properties, SourceEvent};
use serde_json::Value;

use super::condition::Condition;
use super::convert::Unit;
use super::field::Field;
use crate::place::Seen;

/// Reads the events that meet its conditions.
#[derive(Debug)]
pub struct Rule {
    pub conditions: Vec<Condition>,
    /// Why its events are skipped, if they are.
    pub skip: Option<String>,
    pub fields: Fields,
}

/// Where the parts of an event come from.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub name: Name,
    pub key: Field,
    pub time: (Field, Unit),
    pub user_id: Field,
    pub email: Field,
    pub anonymous_id: Field,
    /// By kind.
    pub identities: BTreeMap<String, Field>,
    /// By name; `*` is an object all of whose properties are taken.
    pub properties: BTreeMap<String, Field>,
    pub contact_properties: BTreeMap<String, Field>,
}

/// The event's name.
#[derive(Clone, Debug, Default)]
pub struct Name {
    pub field: Field,
    /// The vendor's names and ours.
    pub names: BTreeMap<String, String>,
    /// Whether events with other names are skipped.
    pub skip_others: bool,
}

/// An event that was read.
pub struct Event {
    pub event: SourceEvent,
    /// The elements of an array of events share its deduplication key.
    pub of_body: bool,
}

/// The name under which all properties of an object are taken.
pub const WHOLE: &str = "*";

impl Rule {
    /// # Errors
    ///
    /// Why the event is skipped.
    pub fn read(&self, seen: &Seen<'_>) -> Result<Event, String> {
        if let Some(reason) = &self.skip {
            return Err(reason.clone());
        }
        let own = &self.fields;
        let (time, unit) = &own.time;
        let identities = own.identities.iter();
        let identities = identities.filter_map(|(kind, id)| Some((kind.clone(), id.text(seen)?)));
        let mut event = SourceEvent::new(own.name.read(seen)?);
        event.dedupe_key = own.key.text(seen);
        event.user_id = own.user_id.text(seen);
        event.email = own.email.text(seen).map(|text| text.trim().to_owned());
        event.anonymous_id = own.anonymous_id.text(seen);
        event.identities = identities.collect();
        event.properties = properties(&own.properties, seen);
        event.contact_properties = properties(&own.contact_properties, seen);
        event.occurred_at = time.time(*unit, seen);
        let of_body = !own.key.is_of_event();
        Ok(Event { event, of_body })
    }
}

impl Name {
    fn read(&self, seen: &Seen<'_>) -> Result<String, String> {
        let given = self.field.text(seen);
        let given = given.ok_or("the event has no name where this source looks for it")?;
        match self.names.get(&given) {
            Some(own) => Ok(own.clone()),
            None if self.skip_others => Err(format!(
                "'{}' is not among the names that this source takes",
                given.chars().take(100).collect::<String>().escape_debug()
            )),
            None => Ok(given),
        }
    }
}

fn properties(fields: &BTreeMap<String, Field>, seen: &Seen<'_>) -> Properties {
    let mut all = Properties::new();
    // First, so that picked properties replace those of the object.
    if let Some(Value::Object(whole)) = fields.get(WHOLE).and_then(|field| field.value(seen)) {
        all = whole;
    }
    for (name, field) in fields.iter().filter(|(name, _)| *name != WHOLE) {
        if let Some(value) = field.value(seen) {
            all.insert(name.clone(), value);
        }
    }
    all
}
