//! The moment from which events count for a wait.

use hogsend_plugin_api::journey::{Waited, step};
use uuid::Uuid;

use super::journal::Journal;
use crate::db::{ClaimedState, StepRow};
use crate::enrolment::Place;

/// The place in the order of arrival at which the step ended that the code had seen end last when it asked
/// for this one. Events that arrived since then count, whatever the clock of their sender says.
pub fn begins(state: &ClaimedState, journal: &Journal, step: &StepRow) -> Place {
    let Some((before, at, result)) = journal.completed(step.step.after) else {
        // The id of the run sorts after that of the event that began it.
        return (state.created_at, state.id.into());
    };
    let timed = matches!(
        before.step.kind.as_str(),
        step::SLEEP | step::SLEEP_UNTIL | step::DIGEST | step::WAIT_FOR
    );
    // A worker that was late does not delay the end of the step.
    let ended = before.due_at.filter(|due| timed && *due < at);
    if let Some(ended) = ended {
        return (ended.max(before.issued_at), Uuid::max());
    }
    let by = match result {
        Ok(value) if before.step.kind == step::WAIT_FOR => {
            serde_json::from_value::<Waited>(value.clone()).ok()
        }
        _ => None,
    };
    let by = by.and_then(Waited::event).and_then(|event| event.id);
    (at, by.unwrap_or(Uuid::max()))
}
