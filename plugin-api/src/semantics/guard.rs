//! Who may enter a journey.

use chrono::{DateTime, TimeDelta, Utc};

use super::MAX_DEPTH;
use crate::Properties;
use crate::journey::{Definition, Entry};

/// What the guards look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The trigger event's properties.
    pub event: &'a Properties,
    /// The contact's properties, with the event's changes made.
    pub contact: &'a Properties,
    pub now: DateTime<Utc>,
    /// In `ENABLED_JOURNEYS`, and not switched off by an administrator.
    pub admitted: bool,
    /// When the person last entered this journey.
    pub last_entry: Option<DateTime<Utc>>,
    /// Whether the person wants mail of the journey's category.
    pub subscribed: bool,
    /// Whether a run of this journey and person is under way.
    pub open: bool,
    /// How many journeys stand between the event and one from outside.
    pub depth: i16,
}

/// Asks the guards in their order. The error is the reason of the first that refuses.
pub fn decide(definition: &Definition, facts: &Facts<'_>) -> Result<(), &'static str> {
    if !definition.enabled {
        return Err("journey_disabled");
    }
    if !facts.admitted {
        return Err("journey_disabled_by_admin");
    }
    let condition = definition.trigger.condition.as_ref();
    if !condition.is_none_or(|condition| condition.matches(facts.event, facts.contact)) {
        return Err("trigger_conditions_not_met");
    }
    match (definition.entry, facts.last_entry) {
        (Entry::Once, Some(_)) => return Err("already_entered_once"),
        (Entry::OncePerMs(period), Some(last)) => {
            let period = i64::try_from(period)
                .ok()
                .and_then(TimeDelta::try_milliseconds);
            if period.is_none_or(|period| facts.now - last < period) {
                return Err("period_not_elapsed");
            }
        }
        _ => {}
    }
    if !facts.subscribed {
        return Err("user_unsubscribed");
    }
    if facts.open {
        return Err("already_active");
    }
    if facts.depth >= MAX_DEPTH {
        return Err("trigger_too_deep");
    }
    Ok(())
}
