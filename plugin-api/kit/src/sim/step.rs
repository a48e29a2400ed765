//! Performs the steps of a run.

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{
    CaptureArgs, DigestArgs, IdentifyArgs, Moment, SleepArgs, SleepUntilArgs, SubscribedArgs,
    ThrottleArgs, TriggerArgs, VariantArgs, WaitForArgs, Waited, WhenArgs, step,
};
use hogsend_semantics::{MAX_DEPTH, variant, when, zone};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ingest::{Incoming, read};
use super::{Sim, What};

/// Result of performing a step.
pub(super) enum Performed<T> {
    Done(T),
    /// It ends later, when it is due or through an event.
    Open,
    /// It must see the effects the run has just caused.
    AfterEffects,
}

type Outcome = Result<Value, StepError>;

#[derive(Deserialize)]
struct OnceKey {
    key: String,
}

#[derive(Deserialize)]
struct OnceValue {
    key: String,
    value: Value,
}

impl Sim<'_> {
    /// Performs one open step as far as possible without waiting.
    pub(super) fn perform(
        &mut self,
        index: usize,
        seq: u32,
        effects: &mut Vec<Incoming>,
    ) -> Performed<Outcome> {
        let open = &self.runs[index].open[&seq];
        let (kind, args, parked) = (open.kind.clone(), open.args.clone(), open.parked);
        let result = match kind.as_str() {
            step::SLEEP | step::SLEEP_UNTIL if parked => Ok(Value::Null),
            step::WAIT_FOR if parked => Ok(json!(Waited::TimedOut)),
            step::DIGEST if parked => self.digest(index),
            step::SLEEP => return self.wait(index, seq, read(&args), |args: SleepArgs| args.ms),
            step::DIGEST => {
                return self.wait(index, seq, read(&args), |args: DigestArgs| args.window_ms);
            }
            step::SLEEP_UNTIL => match read(&args) {
                Ok(SleepUntilArgs { at, .. }) if at > self.now => {
                    return self.wait_until(index, seq, at);
                }
                read => read.map(|_| Value::Null),
            },
            step::WAIT_FOR => match read::<WaitForArgs>(&args) {
                Err(error) => Err(error),
                // The run may wait for an event that it causes itself.
                Ok(_) if !effects.is_empty() => return Performed::AfterEffects,
                Ok(args) => match self.met_before(index, seq, &args) {
                    Some(waited) => Ok(json!(waited)),
                    None => return self.wait(index, seq, Ok(args), |args| args.timeout_ms),
                },
            },
            step::SEND => match read(&args) {
                Err(error) => Err(error),
                Ok(args) => return self.compose(index, seq, args),
            },
            step::HAS_EVENT
            | step::EVENTS
            | step::JOURNEY
            | step::EMAIL
            | step::CONTACT
            | step::IS_SUBSCRIBED
            | step::ONCE_GET
            | step::THROTTLE
                if !effects.is_empty() =>
            {
                return Performed::AfterEffects;
            }
            step::HAS_EVENT => read(&args).map(|args| json!(self.has_event(index, &args))),
            step::EVENTS => read(&args).map(|args| json!(self.events(index, &args))),
            step::JOURNEY => read(&args).map(|args| json!(self.journey_past(index, &args))),
            step::EMAIL => read(&args).map(|args| json!(self.email_past(index, &args))),
            step::CONTACT => Ok(json!(self.person_of(index).contact())),
            step::PERSON => {
                let person = self.person_of(index);
                let mut known = person.properties.clone();
                known.extend(person.analytics.clone());
                Ok(Value::Object(known))
            }
            step::IS_SUBSCRIBED => read(&args).map(|args: SubscribedArgs| {
                let journey = self.runs[index].place.journey;
                let own = &self.journeys[journey].definition.category;
                let category = args.category.as_ref().unwrap_or(own);
                json!(self.person_of(index).allows(category))
            }),
            step::WHEN => read(&args).and_then(|args: WhenArgs| self.moment(index, &args)),
            step::VARIANT => read(&args).and_then(|args: VariantArgs| {
                let run = &self.runs[index];
                let person = self.people[run.place.person].id;
                variant::arm(&args, &run.journey, person).map(Value::String)
            }),
            step::THROTTLE => {
                read(&args).map(|args: ThrottleArgs| json!(self.throttle(index, &args)))
            }
            step::ONCE_GET => read(&args).map(|OnceKey { key }| {
                let journey = self.runs[index].place.journey;
                let value = self.person_of(index).onces.get(&(journey, key));
                json!({ "found": value.is_some(), "value": value })
            }),
            step::ONCE_PUT => read(&args).map(|OnceValue { key, value }| {
                let place = self.runs[index].place;
                let onces = &mut self.people[place.person].onces;
                onces.entry((place.journey, key)).or_insert(value);
                Value::Null
            }),
            step::TRIGGER => {
                read(&args).and_then(|args: TriggerArgs| self.trigger(index, args, effects))
            }
            step::IDENTIFY => read(&args).map(|args: IdentifyArgs| {
                let run = &self.runs[index];
                let trust =
                    hogsend_semantics::strangers::trust(run.input.event.trust, &run.input.steps);
                let person = &mut self.people[run.place.person];
                let mut properties = args.properties;
                hogsend_semantics::own_address::keep_own(
                    &mut properties,
                    trust,
                    person.email.as_deref(),
                );
                person.properties.extend(properties);
                Value::Null
            }),
            step::CAPTURE => read(&args).and_then(|args: CaptureArgs| {
                if args.event.is_empty() {
                    return Err(StepError::new("event_invalid", "the event has no name"));
                }
                let person = self.runs[index].place.person;
                self.note(person, Some(index), What::Captured { name: args.event });
                Ok(Value::Null)
            }),
            step::HTTP => read(&args).and_then(|request| self.script.http(&request)),
            kind => Err(StepError::not_supported(kind)),
        };
        Performed::Done(result)
    }

    pub(super) fn person_of(&self, index: usize) -> &super::person::Person {
        &self.people[self.runs[index].place.person]
    }

    fn wait<T>(
        &mut self,
        index: usize,
        seq: u32,
        args: Result<T, StepError>,
        ms: impl FnOnce(T) -> u64,
    ) -> Performed<Outcome> {
        match args {
            Ok(args) => {
                let due = later(self.now, ms(args));
                self.wait_until(index, seq, due)
            }
            Err(error) => Performed::Done(Err(error)),
        }
    }

    fn wait_until(&mut self, index: usize, seq: u32, at: DateTime<Utc>) -> Performed<Outcome> {
        if let Some(open) = self.runs[index].open.get_mut(&seq) {
            open.due = Some(at);
        }
        Performed::Open
    }

    fn moment(&self, index: usize, args: &WhenArgs) -> Outcome {
        let zone = self.zone_of(index);
        let at = when::resolve(args, self.now, zone)?;
        Ok(json!(Moment::new(at, zone.name())))
    }

    /// The time zone in analytics at the start of the run wins over the contact's current one.
    pub(super) fn zone_of(&self, index: usize) -> chrono_tz::Tz {
        let began = &self.runs[index].input.user.properties;
        let own = &self.person_of(index).properties;
        zone::of(began, own, self.policy.default_zone)
    }

    fn throttle(&mut self, index: usize, args: &ThrottleArgs) -> bool {
        let since = i64::try_from(args.window_ms)
            .ok()
            .and_then(TimeDelta::try_milliseconds)
            .and_then(|window| self.now.checked_sub_signed(window))
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        let place = self.runs[index].place;
        let passes = &mut self.people[place.person].passes;
        let passes = passes.entry(place.journey).or_default();
        let recent = passes.iter().filter(|at| **at >= since).count();
        let goes_on = recent < args.limit as usize;
        if goes_on {
            passes.push(self.now);
        }
        goes_on
    }

    fn trigger(&mut self, index: usize, args: TriggerArgs, effects: &mut Vec<Incoming>) -> Outcome {
        let place = self.runs[index].place;
        let depth = place.depth.saturating_add(1);
        if depth >= MAX_DEPTH {
            let message = format!(
                "'{}' would be the {MAX_DEPTH}th event in a chain of journeys that trigger each other",
                args.event
            );
            return Err(StepError::new("trigger_too_deep", message));
        }
        if args.event.trim().is_empty() {
            return Err(StepError::new("event_invalid", "event must not be empty"));
        }
        let input = &self.runs[index].input;
        let trust = hogsend_semantics::strangers::trust(input.event.trust, &input.steps);
        let person = match &args.user_id {
            Some(id) => self.find_or_make(Some(id), None, trust),
            None => place.person,
        };
        let mut event = Incoming::new(person, &args.event, args.properties, depth);
        event.trust = trust;
        effects.push(event);
        Ok(Value::Null)
    }
}

/// `ms` after `now`, capped at the latest time chrono can hold.
fn later(now: DateTime<Utc>, ms: u64) -> DateTime<Utc> {
    i64::try_from(ms)
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
