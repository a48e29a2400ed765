//! Where a field of an event comes from.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::condition::Condition;
use super::convert::{Convert, Unit};
use crate::place::{Place, Seen, scalar};
use crate::template::Template;

/// A field: the first alternative with a usable value counts.
#[derive(Clone, Debug, Default)]
pub struct Field(pub Vec<Alternative>);

#[derive(Clone, Debug)]
pub struct Alternative {
    pub origin: Origin,
    pub convert: Option<Convert>,
    /// The alternative counts only where the event meets these.
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
pub enum Origin {
    Place(Place),
    Template(Template),
    Constant(Value),
    /// A part of the first element of an array that meets the conditions.
    Element {
        list: Place,
        conditions: Vec<Condition>,
        take: String,
    },
}

impl Field {
    /// The value, whatever its type.
    pub fn value(&self, seen: &Seen<'_>) -> Option<Value> {
        self.find(seen, Some)
    }

    /// The value as an id or a name.
    pub fn text(&self, seen: &Seen<'_>) -> Option<String> {
        self.find(seen, |value| scalar(&value))
    }

    /// The value as a time in this unit.
    pub fn time(&self, unit: Unit, seen: &Seen<'_>) -> Option<DateTime<Utc>> {
        self.find(seen, |value| unit.read(&value))
    }

    /// Whether it differs between the elements of an array of events.
    pub fn is_of_event(&self) -> bool {
        self.0.iter().any(|one| match &one.origin {
            Origin::Place(place) | Origin::Element { list: place, .. } => {
                matches!(place, Place::Event(_))
            }
            Origin::Template(template) => template.is_of_event(),
            Origin::Constant(_) => false,
        })
    }

    fn find<T>(&self, seen: &Seen<'_>, usable: impl Fn(Value) -> Option<T>) -> Option<T> {
        self.0
            .iter()
            .find_map(|one| one.value(seen).and_then(&usable))
    }
}

impl Alternative {
    fn value(&self, seen: &Seen<'_>) -> Option<Value> {
        if !self.conditions.iter().all(|one| one.holds(seen, seen)) {
            return None;
        }
        let found = self.origin.value(seen)?;
        match &self.convert {
            Some(convert) => convert.apply(&found, seen),
            None => Some(found),
        }
    }
}

impl Origin {
    fn value(&self, seen: &Seen<'_>) -> Option<Value> {
        match self {
            Self::Place(place) => Some(place.value(seen)?.into_owned()),
            Self::Template(template) => template.fill(seen).map(Value::String),
            Self::Constant(value) => Some(value.clone()),
            Self::Element {
                list,
                conditions,
                take,
            } => {
                let list = list.value(seen)?;
                let item = list.as_array()?.iter().find(|item| {
                    let inner = Seen {
                        event: item,
                        ..*seen
                    };
                    conditions.iter().all(|one| one.holds(&inner, seen))
                })?;
                let found = item.pointer(take)?;
                (!found.is_null()).then(|| found.clone())
            }
        }
    }
}
