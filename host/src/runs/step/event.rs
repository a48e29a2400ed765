//! Steps that report: events for this host, events and properties for analytics.

use hogsend_plugin_api::journey::{CaptureArgs, IdentifyArgs, TriggerArgs};
use hogsend_plugin_api::{Properties, StepError};
use hogsend_semantics::own_address::{is_address, keep_own};
use serde_json::{Value, json};

use super::{Effects, Outcome, Performing};
use crate::contacts::Person;
use crate::db::{self, NewCapture, NewIdentity};
use crate::foreign;
use crate::ids;
use crate::ingest::{MAX_DEPTH, NewEvent, check_journey_event};
use crate::runs::journal::Journal;

pub(super) fn trigger(
    run: Performing<'_>,
    journal: &Journal,
    args: TriggerArgs,
    effects: &mut Effects,
) -> Outcome {
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
        .believed(journal.trust(state.trust));
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

pub(super) async fn identify(
    run: Performing<'_>,
    journal: &Journal,
    args: Result<IdentifyArgs, StepError>,
    effects: &mut Effects,
) -> db::Result<Outcome> {
    let properties = match args.and_then(|args| fitting(args.properties)) {
        Ok(properties) => properties,
        Err(error) => return Ok(Err(error)),
    };
    let mut own = properties.clone();
    let trust = journal.trust(run.state.trust);
    if !trust.is_trusted() && own.keys().any(|name| is_address(name)) {
        let contact = db::contact_get(&mut *run.cx.db.conn().await?, run.state.contact_id).await?;
        let address = contact.and_then(|contact| contact.email);
        keep_own(&mut own, trust, address.as_deref());
    }
    effects.identify.extend(own);
    effects.captures.push(NewCapture {
        id: ids::at(run.now),
        contact_id: run.state.contact_id,
        event: None,
        properties,
        occurred_at: run.now,
    });
    Ok(Ok(Value::Null))
}

/// The properties, if they keep to the limits for properties from outside.
fn fitting(properties: Properties) -> Result<Properties, StepError> {
    let mut issues = Vec::new();
    foreign::check("properties", &properties, &mut issues);
    match issues.first() {
        Some(issue) => Err(StepError::new("properties_invalid", issue.to_string())),
        None => Ok(properties),
    }
}
