//! Performing the steps that a run asks for.

mod event;
mod history;
mod http;
mod person;
mod send;
mod time;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::{Waited, step};
use hogsend_plugin_api::{Properties, StepError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::end::Ending;
use super::journal::Journal;
use crate::catalog::JourneyEntry;
use crate::context::Context;
use crate::db::{self, ClaimedState, NewCapture, NewSend, StepRow};
use crate::ingest::NewEvent;
use crate::plugins::JourneysRef;

/// The effects of a run's steps, written in the transaction that records the steps.
#[derive(Default)]
pub struct Effects {
    pub sends: Vec<NewSend>,
    pub events: Vec<NewEvent>,
    /// Properties of the contact.
    pub identify: Properties,
    pub captures: Vec<NewCapture>,
    /// Keys and values of blocks that run once.
    pub onces: Vec<(String, Value)>,
    /// How often the run passed a throttle.
    pub passes: u32,
    /// A step has to see these effects: once they are recorded, the run goes on at once.
    pub asks_again: bool,
}

/// The events of an advance, around the write of the run's new state.
pub struct Plan {
    /// Stored before the new state is written.
    pub before: Vec<NewEvent>,
    /// Stored after it.
    pub after: Vec<NewEvent>,
}

impl Effects {
    /// A run that waits is written first: one of its own events may end it, or what it waits for. A run
    /// that is over is written last: until then it prevents that its own events start a second one.
    pub fn plan(&self, ending: &Ending) -> Plan {
        let events = self.events.clone();
        if ending.waits() {
            Plan {
                before: Vec::new(),
                after: events,
            }
        } else {
            Plan {
                before: events,
                after: Vec::new(),
            }
        }
    }

    /// Whether a question could have another answer once these effects are recorded.
    fn are_pending(&self) -> bool {
        !(self.sends.is_empty()
            && self.events.is_empty()
            && self.identify.is_empty()
            && self.onces.is_empty()
            && self.passes == 0)
    }
}

/// The result of performing a step.
pub enum Performed {
    /// It ended.
    Done(Result<Value, StepError>),
    /// It ends later: by time, by an event, or with the mail it waits for.
    Open,
    /// The attempt failed; the worker retries it then.
    Retry(DateTime<Utc>),
    /// It has to see the effects of this advance: record them first, then perform it.
    AfterCommit,
}

/// The run whose steps are performed.
#[derive(Clone, Copy)]
pub struct Performing<'a> {
    pub cx: &'a Context,
    pub state: &'a ClaimedState,
    pub entry: &'a JourneyEntry,
    /// The version of the plugin the run goes on with.
    pub plugin: &'a JourneysRef,
    pub now: DateTime<Utc>,
}

/// Performs one open step, as far as that goes without waiting. `fresh` steps were issued in this
/// advance; a mail is composed once, when its step is fresh.
pub async fn perform(
    run: Performing<'_>,
    journal: &Journal,
    row: &StepRow,
    fresh: bool,
    effects: &mut Effects,
) -> db::Result<Performed> {
    let due = row.due_at.is_some_and(|due| due <= run.now);
    let kind = row.step.kind.as_str();
    let reads = matches!(
        kind,
        step::HAS_EVENT
            | step::EVENTS
            | step::JOURNEY
            | step::EMAIL
            | step::CONTACT
            | step::PERSON
            | step::WHEN
            | step::IS_SUBSCRIBED
            | step::ONCE_GET
            | step::THROTTLE
    );
    if reads && effects.are_pending() {
        effects.asks_again = true;
        return Ok(Performed::AfterCommit);
    }
    let result = match kind {
        step::SLEEP | step::SLEEP_UNTIL if due => Ok(Value::Null),
        step::WAIT_FOR if due => Ok(json!(Waited::TimedOut)),
        step::SLEEP | step::SLEEP_UNTIL | step::WAIT_FOR if row.due_at.is_some() => {
            return Ok(Performed::Open);
        }
        step::SEND if !fresh => return Ok(Performed::Open),
        step::SEND => match args(row) {
            Err(error) => Err(error),
            Ok(args) => return send::send(run, journal, row, args, effects).await,
        },
        step::HTTP if row.due_at.is_some() && !due => return Ok(Performed::Open),
        step::HTTP => match args(row) {
            Err(error) => Err(error),
            Ok(args) => return Ok(http::http(run, row, args).await),
        },
        step::DIGEST if due => time::digest(run).await?,
        step::DIGEST if row.due_at.is_some() => return Ok(Performed::Open),
        step::TRIGGER => args(row).and_then(|args| event::trigger(run, journal, args, effects)),
        step::CAPTURE => args(row).and_then(|args| event::capture(run, args, effects)),
        step::IDENTIFY => event::identify(run, journal, args(row), effects).await?,
        step::HAS_EVENT => history::has_event(run, args(row)).await?,
        step::EVENTS => history::events(run, args(row)).await?,
        step::JOURNEY => history::journey(run, args(row)).await?,
        step::EMAIL => history::email(run, args(row)).await?,
        step::CONTACT => person::contact(run).await?,
        step::IS_SUBSCRIBED => person::is_subscribed(run, args(row)).await?,
        step::PERSON => person::person(run).await?,
        step::WHEN => person::when(run, args(row)).await?,
        step::VARIANT => args(row).and_then(|args| time::variant(run, &args)),
        step::THROTTLE => time::throttle(run, args(row), effects).await?,
        step::ONCE_GET => time::once_get(run, args(row)).await?,
        step::ONCE_PUT => args(row).and_then(|args| time::once_put(args, effects)),
        step::SLEEP | step::SLEEP_UNTIL | step::WAIT_FOR | step::DIGEST => Err(StepError::new(
            "step_unreadable",
            format!("a '{kind}' has to say how long it waits at most"),
        )),
        kind => Err(StepError::not_supported(kind)),
    };
    Ok(Performed::Done(result))
}

/// How a step ends.
type Outcome = Result<Value, StepError>;

fn args<T: DeserializeOwned>(row: &StepRow) -> Result<T, StepError> {
    serde_json::from_value(row.args.clone())
        .map_err(|error| StepError::new("step_unreadable", error.to_string()))
}

#[cfg(test)]
mod tests {
    use hogsend_plugin_api::journey::RunStatus;
    use uuid::Uuid;

    use super::*;
    use crate::ids::ContactId;

    #[test]
    fn events_come_before_the_end_of_a_run_and_after_the_state_of_one_that_waits() {
        let contact = ContactId(Uuid::nil());
        let effects = Effects {
            events: vec![NewEvent::from_journey(
                contact,
                "paid",
                Properties::new(),
                1,
            )],
            ..Effects::default()
        };
        let counts = |status: &RunStatus| {
            let Plan { before, after } = effects.plan(&Ending::of(status));
            (before.len(), after.len())
        };
        assert_eq!(counts(&RunStatus::Waiting), (0, 1));
        assert_eq!(counts(&RunStatus::Completed), (1, 0));
        let failed = RunStatus::failed("no", None);
        assert_eq!(counts(&failed), (1, 0));
    }
}
