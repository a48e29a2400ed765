//! Performing what a run asks for.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{HasEventArgs, Occurrences, SendArgs, TriggerArgs, step};
use serde_json::{Value, json};

use super::JourneyEntry;
use crate::app::App;
use crate::db::{self, ClaimedState, NewSend, StepRow};
use crate::ingest::{MAX_DEPTH, NewEvent, check_journey_event};
use crate::mail::{self, Composing};

/// What a run does to the world, written in the transaction that records its steps.
#[derive(Default)]
pub struct Effects {
    pub sends: Vec<NewSend>,
    pub events: Vec<NewEvent>,
}

/// What became of a step.
pub enum Performed {
    /// It ended.
    Done(Result<Value, StepError>),
    /// It ends later, by itself or through someone else.
    Open,
    /// It has to see what this run did just now: record that first, then ask again.
    AfterCommit,
}

/// Performs one open step, as far as that goes without waiting. `fresh` steps were issued just
/// now; a mail is decided on once, when its step is new.
pub async fn perform(
    app: &App,
    state: &ClaimedState,
    entry: &JourneyEntry,
    row: &StepRow,
    fresh: bool,
    effects: &mut Effects,
    now: DateTime<Utc>,
) -> db::Result<Performed> {
    match row.step.kind.as_str() {
        step::SLEEP => Ok(if row.due_at.is_some_and(|due| due <= now) {
            Performed::Done(Ok(Value::Null))
        } else {
            Performed::Open
        }),
        step::SEND if !fresh => Ok(Performed::Open),
        step::SEND => match read_args::<SendArgs>(row) {
            Err(error) => Ok(Performed::Done(Err(error))),
            Ok(args) => send(app, state, entry, row, args, effects, now).await,
        },
        step::TRIGGER => Ok(Performed::Done(
            read_args(row).and_then(|args| trigger(state, args, effects)),
        )),
        step::HAS_EVENT if !effects.events.is_empty() => Ok(Performed::AfterCommit),
        step::HAS_EVENT => match read_args(row) {
            Err(error) => Ok(Performed::Done(Err(error))),
            Ok(args) => has_event(app, state, args, now).await,
        },
        kind => Ok(Performed::Done(Err(StepError::new(
            "step_unknown",
            format!("this host does not know the step '{kind}': it is older than the plugin"),
        )))),
    }
}

fn read_args<T: serde::de::DeserializeOwned>(row: &StepRow) -> Result<T, StepError> {
    serde_json::from_value(row.args.clone())
        .map_err(|error| StepError::new("step_unreadable", error.to_string()))
}

async fn send(
    app: &App,
    state: &ClaimedState,
    entry: &JourneyEntry,
    row: &StepRow,
    args: SendArgs,
    effects: &mut Effects,
    now: DateTime<Utc>,
) -> db::Result<Performed> {
    let contact = db::contact_get(&mut *app.db.conn().await?, state.contact_id).await?;
    let Some(contact) = contact else {
        return Ok(Performed::Done(Ok(
            json!({ "skipped": { "reason": "contact_deleted" } }),
        )));
    };
    let composing = Composing {
        contact: &contact,
        args: &args,
        event: &state.context,
        category: &entry.definition.category,
        origin: Some((state.id, row.step.seq)),
        labels: &[("journey", &state.journey_id)],
    };
    match mail::compose(app, composing, now).await {
        Err(error) => Ok(Performed::Done(Err(error))),
        Ok(send) => {
            let done = send
                .mail
                .as_ref()
                .err()
                .map(|reason| Performed::Done(Ok(json!({ "skipped": { "reason": reason } }))));
            effects.sends.push(send);
            Ok(done.unwrap_or(Performed::Open))
        }
    }
}

fn trigger(
    state: &ClaimedState,
    args: TriggerArgs,
    effects: &mut Effects,
) -> Result<Value, StepError> {
    let depth = state.depth.saturating_add(1);
    if depth >= MAX_DEPTH {
        let message = format!(
            "'{}' would be the {MAX_DEPTH}th event in a chain of journeys that trigger each other",
            args.event
        );
        return Err(StepError::new("trigger_too_deep", message));
    }
    let event = NewEvent::from_journey(state.contact_id, &args.event, args.properties, depth);
    if let Some(issue) = check_journey_event(&event) {
        return Err(StepError::new("event_invalid", issue.to_string()));
    }
    effects.events.push(event);
    Ok(Value::Null)
}

async fn has_event(
    app: &App,
    state: &ClaimedState,
    args: HasEventArgs,
    now: DateTime<Utc>,
) -> db::Result<Performed> {
    let since = args.within_ms.and_then(|ms| {
        let age = TimeDelta::try_milliseconds(i64::try_from(ms).ok()?)?;
        now.checked_sub_signed(age)
    });
    let history = {
        let mut conn = app.db.conn().await?;
        db::history_event(&mut conn, state.contact_id, &args.event, since).await?
    };
    Ok(Performed::Done(Ok(json!(Occurrences {
        found: history.count > 0,
        count: history.count as u64,
        last_at: history.last_at,
    }))))
}
