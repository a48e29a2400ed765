//! Untrusted events that a run read after it began.
//!
//! A run reads further events: it waits for them, collects a digest, or queries history. The journal
//! records for each whether its source was trusted, so a replay gives the same result even if the
//! events change later.

use serde_json::Value;

use hogsend_plugin_api::journey::step;
use hogsend_plugin_api::{Properties, Trust};
use hogsend_plugin_api::{Step, StepState};

/// The properties of every untrusted event in the results of these steps.
pub fn gathered<'a>(
    steps: impl IntoIterator<Item = &'a Step>,
) -> impl Iterator<Item = &'a Properties> {
    untrusted(steps).filter_map(|event| event.get("properties")?.as_object())
}

/// The trust of events that the run causes: trusted only if it began with a trusted event and has
/// read no untrusted one since.
pub fn trust<'a>(began: Trust, steps: impl IntoIterator<Item = &'a Step>) -> Trust {
    Trust::from(began.is_trusted() && untrusted(steps).next().is_none())
}

fn untrusted<'a>(steps: impl IntoIterator<Item = &'a Step>) -> impl Iterator<Item = &'a Value> {
    let events = steps.into_iter().flat_map(events);
    events.filter(|event| event["trust"] == "untrusted")
}

/// The events in a step's result.
fn events(step: &Step) -> &[Value] {
    let StepState::Done { result: Ok(ok), .. } = &step.state else {
        return &[];
    };
    match step.kind.as_str() {
        step::WAIT_FOR => ok
            .get("event")
            .map(std::slice::from_ref)
            .unwrap_or_default(),
        step::DIGEST => ok.get("events").map(list).unwrap_or_default(),
        step::EVENTS => list(ok),
        _ => &[],
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::{gathered, trust};
    use hogsend_plugin_api::Trust::{self, Trusted, Untrusted};
    use hogsend_plugin_api::journey::{Digest, Occurrence, Waited, step};
    use hogsend_plugin_api::{Command, Step, StepError, StepState};

    fn event(word: &str, trust: Trust) -> Occurrence {
        let properties = [("word".to_owned(), json!(word))].into_iter().collect();
        let mut event = Occurrence::new("x", properties, DateTime::UNIX_EPOCH);
        event.trust = trust;
        event
    }

    fn done(kind: &str, result: Result<Value, StepError>) -> Step {
        let state = StepState::done(1, DateTime::UNIX_EPOCH, result);
        Step::issued(&Command::new(0, 0, kind, "", Value::Null)).with_state(state)
    }

    fn words(steps: &[Step]) -> Vec<&str> {
        gathered(steps)
            .filter_map(|properties| properties["word"].as_str())
            .collect()
    }

    #[test]
    fn every_way_to_read_an_event_tells_whether_a_stranger_may_have_sent_it() {
        let both = || vec![event("ours", Trusted), event("theirs", Untrusted)];
        let digest = Digest::new(both(), 2);
        for read in [
            done(
                step::WAIT_FOR,
                Ok(json!(Waited::Event(event("theirs", Untrusted)))),
            ),
            done(step::EVENTS, Ok(json!(both()))),
            done(step::DIGEST, Ok(json!(digest))),
        ] {
            let steps = [done(step::SLEEP, Ok(Value::Null)), read];
            assert_eq!(words(&steps), ["theirs"], "{steps:?}");
            assert_eq!(trust(Trusted, &steps), Untrusted);
        }
    }

    #[test]
    fn a_run_that_read_no_stranger_is_believed_as_what_began_it() {
        let steps = [
            done(step::WAIT_FOR, Ok(json!(Waited::TimedOut))),
            done(
                step::WAIT_FOR,
                Ok(json!(Waited::Event(event("ours", Trusted)))),
            ),
            done(step::EVENTS, Ok(json!([]))),
            done(step::DIGEST, Err(StepError::new("x", "x"))),
            // The answer of another service may look like an event.
            done(step::HTTP, Ok(json!({ "event": { "trust": "untrusted" } }))),
        ];
        assert_eq!(words(&steps), [""; 0]);
        assert_eq!(trust(Trusted, &steps), Trusted);
        assert_eq!(trust(Untrusted, &steps), Untrusted);
    }
}
