//! The guards of a journey: whether an event enrols a person.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{Definition, Entry, Late};
use hogsend_plugin_api::{Properties, Trust};

use super::MAX_DEPTH;

/// The input of the guards.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The trigger event's properties.
    pub event: &'a Properties,
    /// The contact's properties, including the event's changes.
    pub contact: &'a Properties,
    /// The time of the enrolment.
    pub now: DateTime<Utc>,
    /// Whether the event's source is trusted.
    pub trust: Trust,
    /// How long after it happened the event arrived.
    pub age: TimeDelta,
    /// In `ENABLED_JOURNEYS`, and not disabled by an administrator.
    pub admitted: bool,
    /// When the person last entered this journey.
    pub last_entry: Option<DateTime<Utc>>,
    /// Whether the person is subscribed to the journey's category.
    pub subscribed: bool,
    /// Whether the person has an active run of this journey.
    pub open: bool,
    /// How many journeys are between the event and one from outside.
    pub depth: i16,
}

/// Checks the guards in order.
///
/// # Errors
///
/// The reason of the first guard that refuses, for example `already_active`.
pub fn decide(definition: &Definition, facts: &Facts<'_>) -> Result<(), &'static str> {
    if !definition.enabled {
        return Err("journey_disabled");
    }
    if !facts.admitted {
        return Err("journey_disabled_by_admin");
    }
    if definition.trusted && !facts.trust.is_trusted() {
        return Err("untrusted_event");
    }
    let condition = definition.trigger.condition.as_ref();
    if !condition.is_none_or(|condition| condition.matches(facts.event, facts.contact)) {
        return Err("trigger_conditions_not_met");
    }
    if is_late(definition.late, facts.age) {
        return Err("late_event");
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

fn is_late(late: Late, age: TimeDelta) -> bool {
    match late {
        Late::SkipAfterMs(ms) => u64::try_from(age.num_milliseconds()).is_ok_and(|age| age > ms),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hogsend_plugin_api::journey::{Journey, days, hours};

    /// The decision on an event of this trust and age, for a journey that passes all other guards.
    fn refusal(journey: Journey, trust: Trust, age: TimeDelta) -> Option<&'static str> {
        let facts = Facts {
            event: &Properties::new(),
            contact: &Properties::new(),
            now: DateTime::UNIX_EPOCH,
            trust,
            age,
            admitted: true,
            last_entry: None,
            subscribed: true,
            open: false,
            depth: 0,
        };
        decide(journey.definition(), &facts).err()
    }

    #[test]
    fn trust_and_lateness_are_asked_as_the_journey_says() {
        use Trust::{Trusted, Untrusted};
        let plain = || Journey::new("j", async |_, _| Ok(())).trigger("e");
        let (fresh, old) = (TimeDelta::zero(), TimeDelta::hours(25));
        let day = TimeDelta::hours(24);
        for (journey, trust, age, refused) in [
            (plain(), Trusted, fresh, None),
            (plain(), Untrusted, fresh, None),
            (plain().trusted(), Trusted, fresh, None),
            (plain().trusted(), Untrusted, fresh, Some("untrusted_event")),
            (plain().trusted(), Untrusted, old, Some("untrusted_event")),
            (plain(), Trusted, day, None),
            (plain(), Trusted, old, Some("late_event")),
            (plain(), Trusted, -old, None),
            (plain().late(Late::Enrol), Trusted, old, None),
            (plain().late(Late::Enrol), Trusted, TimeDelta::MAX, None),
            (plain().late(Late::skip_after(days(2))), Trusted, old, None),
            (
                plain().late(Late::skip_after(hours(1))),
                Trusted,
                day,
                Some("late_event"),
            ),
        ] {
            let definition = journey.definition();
            let about = (definition.trusted, definition.late);
            assert_eq!(
                refusal(journey, trust, age),
                refused,
                "{about:?} {trust:?} {age}"
            );
        }
    }
}
