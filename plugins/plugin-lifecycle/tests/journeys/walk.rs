//! Leads a run from step to step and checks that it waits on the expected step each time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::call::method;
use hogsend_plugin_api::journey::{
    Catalogue, EmailPast, JourneyPast, Moment, Occurrence, Occurrences, RunStatus, Sent,
    TriggerEvent, User, Waited, step,
};
use hogsend_plugin_api::{Properties, Settings, StepError};
use hogsend_plugin_kit::{self as kit, Run};
use hogsend_plugin_lifecycle::Lifecycle;
use serde_json::{Value, json};

pub struct Walk(pub Run<'static>);

pub fn catalogue() -> Catalogue {
    let plugin = kit::start::<Lifecycle>(&Settings::default()).unwrap();
    kit::ask(plugin.as_ref(), method::JOURNEYS_CATALOGUE, &()).unwrap()
}

pub fn properties(value: Value) -> Properties {
    serde_json::from_value(value).unwrap()
}

pub fn occurrence(name: &str, about: Value, at: DateTime<Utc>) -> Occurrence {
    Occurrence::new(name, properties(about), at)
}

pub fn sent() -> Result<Value, StepError> {
    Ok(json!(Sent::accepted(Default::default())))
}

pub fn skipped() -> Result<Value, StepError> {
    Ok(json!(Sent::skipped("user_unsubscribed")))
}

impl Walk {
    pub fn begin(journey: &str, about: Value) -> Self {
        Self::begin_as(kit::user(), journey, about)
    }

    /// Enrols a person with the journey's own trigger.
    pub fn begin_as(user: User, journey: &str, about: Value) -> Self {
        // The process ends with the tests.
        let plugin = Box::leak(kit::start::<Lifecycle>(&Settings::default()).unwrap());
        let journeys = catalogue().journeys;
        let found = journeys.iter().find(|found| found.id == journey).unwrap();
        let event = TriggerEvent::new(&found.trigger.event, properties(about));
        Self(Run::begin(plugin, journey, user, event))
    }

    /// Kind, inputs and label of the only step the run waits on.
    #[track_caller]
    pub fn waits_on(&self) -> (String, Value, String) {
        match self.0.open()[..] {
            [one] => (
                one.kind.clone(),
                one.args.clone(),
                one.label.clone().unwrap_or_default(),
            ),
            ref other => panic!("{other:?} ({:?})", self.0.status()),
        }
    }

    #[track_caller]
    fn inputs(&self, kind: &str) -> Value {
        let (found, args, _) = self.waits_on();
        assert_eq!(found, kind, "{args}");
        args
    }

    /// Ends a `send` as sent and returns its props.
    #[track_caller]
    pub fn mail(&mut self, template: &str) -> Value {
        let args = self.inputs(step::SEND);
        assert_eq!(args["template"], template, "{args}");
        self.0.answer(step::SEND, sent());
        args
    }

    /// Ends the sleep with this label, and returns its length.
    #[track_caller]
    pub fn sleeps(&mut self, label: &str) -> Duration {
        let (kind, args, found) = self.waits_on();
        assert_eq!(found, label, "{kind} {args}");
        let length = match kind.as_str() {
            step::SLEEP => Duration::from_millis(args["ms"].as_u64().unwrap()),
            step::SLEEP_UNTIL => {
                let at: DateTime<Utc> = serde_json::from_value(args["at"].clone()).unwrap();
                (at - self.0.now()).to_std().unwrap_or_default()
            }
            other => panic!("{other} is no sleep"),
        };
        self.0.pass(length);
        length
    }

    /// Answers a `when` with the instant after this time, and returns its inputs.
    #[track_caller]
    pub fn finds(&mut self, after: Duration) -> Value {
        let args = self.inputs(step::WHEN);
        let moment = Moment::new(self.0.now() + after, "UTC");
        self.0.answer(step::WHEN, Ok(json!(moment)));
        args
    }

    /// Answers a wait for daytime like [`finds`](Self::finds), and sleeps until then.
    #[track_caller]
    pub fn daytime(&mut self, after: Duration) {
        let asked = self.finds(after);
        assert_eq!(
            asked,
            json!({ "window": { "start": [9, 0], "end": [18, 0] } })
        );
        assert_eq!(self.sleeps("daytime"), after);
    }

    /// Ends a wait with the event it waits for, and returns its inputs.
    #[track_caller]
    pub fn event(&mut self, name: &str, about: Value) -> Value {
        let args = self.inputs(step::WAIT_FOR);
        assert_eq!(args["event"], name);
        let event = occurrence(name, about, self.0.now());
        self.0
            .answer(step::WAIT_FOR, Ok(json!(Waited::Event(event))));
        args
    }

    /// Lets a wait for this event time out, and returns its inputs.
    #[track_caller]
    pub fn silence(&mut self, name: &str) -> Value {
        let args = self.inputs(step::WAIT_FOR);
        assert_eq!(args["event"], name);
        let limit = Duration::from_millis(args["timeout_ms"].as_u64().unwrap());
        self.0.pass(limit);
        self.0.answer(step::WAIT_FOR, Ok(json!(Waited::TimedOut)));
        args
    }

    /// Answers a query for how often an event happened, and returns its inputs.
    #[track_caller]
    pub fn happened(&mut self, name: &str, count: u64) -> Value {
        let args = self.inputs(step::HAS_EVENT);
        assert_eq!(args["event"], name);
        let past = Occurrences::new(count, None);
        self.0.answer(step::HAS_EVENT, Ok(json!(past)));
        args
    }

    #[track_caller]
    pub fn became_of(&mut self, template: &str, opened: bool, clicked: bool) {
        assert_eq!(self.inputs(step::EMAIL), json!({ "template": template }));
        let mut past = EmailPast::default();
        past.sent = 1;
        past.opened = opened;
        past.clicked = clicked;
        self.0.answer(step::EMAIL, Ok(json!(past)));
    }

    #[track_caller]
    pub fn is_in(&mut self, journey: &str, active: bool) {
        assert_eq!(self.inputs(step::JOURNEY), json!({ "journey": journey }));
        let mut past = JourneyPast::default();
        past.active = active;
        self.0.answer(step::JOURNEY, Ok(json!(past)));
    }

    /// Ends a step of this kind, and returns its inputs.
    #[track_caller]
    pub fn answer(&mut self, kind: &str, value: Value) -> Value {
        let args = self.inputs(kind);
        self.0.answer(kind, Ok(value));
        args
    }

    #[track_caller]
    pub fn triggers(&mut self, event: &str) -> Value {
        let args = self.answer(step::TRIGGER, Value::Null);
        assert_eq!(args["event"], event);
        args
    }

    #[track_caller]
    pub fn completes(&self, checkpoints: &[&str]) {
        assert_eq!(self.0.status(), &RunStatus::Completed);
        assert_eq!(self.0.checkpoints(), checkpoints);
    }

    #[track_caller]
    pub fn exits(&self, reason: &str) {
        let exited = RunStatus::exited(reason);
        assert_eq!(self.0.status(), &exited);
    }
}
