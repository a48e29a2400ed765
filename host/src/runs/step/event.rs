//! Telling the world: events for this system, events and properties for analytics.

use hogsend_plugin_api::journey::{CaptureArgs, IdentifyArgs, TriggerArgs};
use hogsend_plugin_api::{Properties, StepError};
use serde_json::{Value, json};

use super::{Effects, Outcome, Performing};
use crate::db::{NewCapture, NewIdentity};
use crate::foreign;
use crate::ids;
use crate::ingest::{MAX_DEPTH, NewEvent, Person, check_journey_event};

pub(super) fn trigger(run: Performing<'_>, args: TriggerArgs, effects: &mut Effects) -> Outcome {
    let state = run.state;
    let depth = state.depth.saturating_add(1);
    if depth >= MAX_DEPTH {
        let message = format!(
            "'{}' would be the {MAX_DEPTH}th event in a chain of journeys that trigger each other",
            args.event
        );
        return Err(StepError::new("trigger_too_deep", message));
    }
    let mut event = NewEvent::from_journey(state.contact_id, &args.event, args.properties, depth)
        .believed(state.trust);
    if let Some(user_id) = args.user_id {
        event.person = Person::Names(NewIdentity {
            external_id: Some(user_id),
            ..NewIdentity::default()
        });
    }
    if let Some(issue) = check_journey_event(&event) {
        return Err(StepError::new("event_invalid", issue.to_string()));
    }
    effects.events.push(event);
    Ok(Value::Null)
}

pub(super) fn capture(run: Performing<'_>, args: CaptureArgs, effects: &mut Effects) -> Outcome {
    if args.event.is_empty() {
        return Err(StepError::new("event_invalid", "the event has no name"));
    }
    let mut properties = fitting(args.properties)?;
    properties
        .entry("journeyId")
        .or_insert_with(|| json!(run.state.journey_id));
    effects.captures.push(NewCapture {
        id: ids::at(run.now),
        contact_id: run.state.contact_id,
        event: Some(args.event),
        properties,
        occurred_at: run.now,
    });
    Ok(Value::Null)
}

pub(super) fn identify(run: Performing<'_>, args: IdentifyArgs, effects: &mut Effects) -> Outcome {
    let properties = fitting(args.properties)?;
    effects.identify.extend(properties.clone());
    effects.captures.push(NewCapture {
        id: ids::at(run.now),
        contact_id: run.state.contact_id,
        event: None,
        properties,
        occurred_at: run.now,
    });
    Ok(Value::Null)
}

/// Properties within the bounds that hold for those from outside.
fn fitting(properties: Properties) -> Result<Properties, StepError> {
    let mut issues = Vec::new();
    foreign::check("properties", &properties, &mut issues);
    match issues.first() {
        Some(issue) => Err(StepError::new("properties_invalid", issue.to_string())),
        None => Ok(properties),
    }
}
