//! From a webhook's body to events.

mod condition;
mod convert;
mod field;
mod rule;

use hogsend_plugin_api::{Reading, Webhook};
use serde_json::Value;

pub use condition::{Condition, Test};
pub use convert::{Convert, Unit};
pub use field::{Alternative, Field, Origin};
pub use rule::{Event, Fields, Name, Rule};

use crate::place::Seen;

/// What a file says about the events in a body.
#[derive(Debug)]
pub struct Mapping {
    /// The JSON pointer to an array of events; `None` where the body is one event.
    pub items: Option<String>,
    /// Every event has to meet these.
    pub conditions: Vec<Condition>,
    /// The first whose conditions an event meets reads it.
    pub rules: Vec<Rule>,
}

impl Mapping {
    /// The events in a body, unread. What is no array is one event.
    pub fn items<'a>(&self, body: &'a Value) -> Vec<&'a Value> {
        match &self.items {
            None => vec![body],
            Some(pointer) => match body.pointer(pointer) {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(items)) => items.iter().collect(),
                Some(one) => vec![one],
            },
        }
    }

    /// Reads all events. Those that no rule reads are left out; where none is read, the reason is that of
    /// the first.
    pub fn read(&self, webhook: &Webhook, body: &Value) -> Reading {
        let items = self.items(body);
        let several = items.len() > 1;
        let mut events = Vec::new();
        let mut skipped = None;
        for (at, event) in items.into_iter().enumerate() {
            let seen = Seen {
                webhook,
                body,
                event,
            };
            match self.event(&seen) {
                Ok(Event { mut event, of_body }) => {
                    if several && of_body {
                        event.dedupe_key = event.dedupe_key.map(|key| format!("{key}#{at}"));
                    }
                    events.push(event);
                }
                Err(reason) => skipped = skipped.or(Some(reason)),
            }
        }
        if events.is_empty() {
            let none = || match &self.items {
                Some(pointer) if !pointer.is_empty() => format!("there are no events at {pointer}"),
                _ => "the body has no events".to_owned(),
            };
            let reason = skipped.unwrap_or_else(none);
            return Reading::skipped(reason);
        }
        Reading::Events(events)
    }

    fn event(&self, seen: &Seen<'_>) -> Result<Event, String> {
        if let Some(unmet) = condition::unmet(&self.conditions, seen) {
            return Err(format!(
                "this source takes no such events: {}",
                unmet.found(seen)
            ));
        }
        let mut missed = None;
        for rule in &self.rules {
            match condition::unmet(&rule.conditions, seen) {
                None => return rule.read(seen),
                Some(unmet) => missed = missed.or(Some(unmet)),
            }
        }
        let found = missed.map(|unmet| unmet.found(seen)).unwrap_or_default();
        Err(format!("no rule of this source takes the event: {found}"))
    }
}
