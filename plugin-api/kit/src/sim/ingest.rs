//! Ingests events: ends runs, enrols people and ends waits.

use crate::with;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::journey::{AdvanceIn, Occurrence, TriggerEvent, WaitForArgs, Waited, step};
use hogsend_plugin_api::{Properties, StepError, Trust};
use hogsend_semantics::guard::{Facts, decide};
use serde_json::json;

use super::person::Event;
use super::run::{Place, Run, Status};
use super::{Due, Sim, What, ids};

/// An event to ingest.
pub(super) struct Incoming {
    pub person: usize,
    pub name: String,
    pub properties: Properties,
    /// Stored on the contact.
    pub contact_properties: Properties,
    pub depth: i16,
    pub trust: Trust,
    /// Historical events only count for history queries: they start no runs and end neither runs nor
    /// waits.
    pub historical: bool,
    /// When it happened; `None` for now.
    pub occurred_at: Option<DateTime<Utc>>,
}

impl Incoming {
    pub fn new(person: usize, name: &str, properties: Properties, depth: i16) -> Self {
        Self {
            person,
            name: name.to_owned(),
            properties,
            contact_properties: Properties::new(),
            depth,
            trust: Trust::Trusted,
            historical: false,
            occurred_at: None,
        }
    }
}

impl Sim<'_> {
    /// Ingests events, and those they cause.
    pub(super) fn ingest(&mut self, events: Vec<Incoming>) {
        let mut round = events;
        while !round.is_empty() {
            round = self.ingest_round(round);
        }
    }

    fn ingest_round(&mut self, events: Vec<Incoming>) -> Vec<Incoming> {
        let mut follows = Vec::new();
        let mut taken = Vec::new();
        for incoming in events {
            let tick = self.next_tick();
            let event = Rc::new(Event {
                name: incoming.name,
                properties: incoming.properties,
                // A timestamp in the future comes from a skewed clock: treat it as now.
                at: incoming.occurred_at.unwrap_or(self.now).min(self.now),
                came_at: self.now,
                trust: incoming.trust,
                historical: incoming.historical,
                tick,
                depth: incoming.depth,
            });
            let person = &mut self.people[incoming.person];
            let mut properties = incoming.contact_properties;
            hogsend_semantics::own_address::keep_own(
                &mut properties,
                event.trust,
                person.email.as_deref(),
            );
            if event.historical {
                person.seen(event.at);
                person.learn(properties);
            } else {
                person.seen(self.now);
                person.properties.extend(properties);
            }
            person.events.push(event.clone());
            taken.push((incoming.person, event));
        }
        for (person, event) in &taken {
            let (name, depth) = (event.name.clone(), event.depth);
            self.note(*person, None, What::Event { name, depth });
            if event.historical {
                continue;
            }
            self.leave(*person, event, &mut follows);
            self.enter(*person, event);
        }
        for (person, event) in taken.iter().filter(|(_, event)| !event.historical) {
            self.meet(*person, event);
        }
        follows
    }

    /// Ends the person's runs whose exit condition the event meets.
    fn leave(&mut self, person: usize, event: &Event, follows: &mut Vec<Incoming>) {
        let contact = &self.people[person].properties;
        let met = |index: &usize| {
            let journey = self.runs[*index].place.journey;
            let mut exits = self.journeys[journey].definition.exit_on.iter();
            exits.any(|exit| {
                exit.event == event.name
                    && exit
                        .condition
                        .as_ref()
                        .is_none_or(|condition| condition.matches(&event.properties, contact))
            })
        };
        let open = self.people[person].open.iter();
        let met: Vec<usize> = open.copied().filter(met).collect();
        for index in met {
            let run = &self.runs[index];
            let mut properties = Properties::new();
            properties.insert("journeyId".into(), json!(*run.journey));
            properties.insert("stateId".into(), json!(run.input.run_id));
            properties.insert("event".into(), json!(event.name));
            let depth = event.depth.saturating_add(1);
            self.end(index, Status::Exited, Some(event.name.clone()));
            let mut exited = Incoming::new(person, "journey.exited", properties, depth);
            exited.trust = event.trust;
            follows.push(exited);
        }
    }

    /// Enrols the person in the journeys the event triggers, where the guards allow it.
    fn enter(&mut self, person: usize, event: &Event) {
        let Some(triggered) = self.by_trigger.get(&event.name) else {
            return;
        };
        for journey in triggered.clone() {
            let listed = &self.journeys[journey];
            if listed.ignored {
                continue;
            }
            let about = &self.people[person];
            let definition = listed.definition.clone();
            let facts = Facts {
                event: &event.properties,
                contact: &about.properties,
                now: self.now,
                trust: event.trust,
                age: self.now - event.at,
                admitted: listed.admitted,
                last_entry: about.entries.get(&journey).copied(),
                subscribed: about.allows(&definition.category),
                open: about
                    .open
                    .iter()
                    .any(|run| self.runs[*run].place.journey == journey),
                depth: event.depth,
            };
            match decide(&definition, &facts) {
                Ok(()) => self.begin(person, journey, event),
                Err(reason) => {
                    let id = listed.id.clone();
                    let count = self.skips.entry((id.to_string(), reason)).or_default();
                    *count += 1;
                    let reason = reason.to_owned();
                    self.note_as(person, Some(id), None, What::Refused { reason });
                }
            }
        }
    }

    fn begin(&mut self, person: usize, journey: usize, event: &Event) {
        let index = self.runs.len();
        let about = &mut self.people[person];
        let id = self.journeys[journey].id.clone();
        self.runs.push(Run {
            journey: id.clone(),
            person: about.name.clone(),
            status: Status::Active,
            reason: None,
            entered_at: self.now,
            ended_at: None,
            checkpoints: Vec::new(),
            place: Place {
                journey,
                person,
                depth: event.depth,
                tick: event.tick,
            },
            input: AdvanceIn::new(
                id.as_ref(),
                ids::id(self.seed, "run", &index.to_string()),
                self.now,
                about.user(),
                with(
                    TriggerEvent::new(&event.name, event.properties.clone()),
                    |trigger| trigger.trust = event.trust,
                ),
            ),
            open: BTreeMap::new(),
            completions: 0,
            seen: 0,
            ended: Vec::new(),
        });
        about.runs.push(index);
        about.open.push(index);
        about.entries.insert(journey, self.now);
        self.wake(self.now, Due::Run(index));
        self.note(person, Some(index), What::Entered);
    }

    /// Ends the waits the event satisfies.
    fn meet(&mut self, person: usize, event: &Event) {
        let about = &self.people[person];
        let mut met = Vec::new();
        for index in &about.open {
            for (seq, open) in &self.runs[*index].open {
                if open.kind != step::WAIT_FOR || !open.parked {
                    continue;
                }
                let args: Result<WaitForArgs, _> = read(&open.args);
                if args.is_ok_and(|args| fits(&args, event, &about.properties)) {
                    met.push((*index, *seq));
                }
            }
        }
        for (index, seq) in met {
            let result = Ok(json!(Waited::Event(occurrence(event))));
            self.complete_at(index, seq, result, event.tick);
            self.wake(self.now, Due::Run(index));
        }
    }

    /// The earliest past event that satisfies a wait which begins now.
    pub(super) fn met_before(&self, index: usize, seq: u32, args: &WaitForArgs) -> Option<Waited> {
        let run = &self.runs[index];
        let open = &run.open[&seq];
        let about = &self.people[run.place.person];
        let age = i64::try_from(args.lookback_ms).ok();
        let from = age
            .and_then(TimeDelta::try_milliseconds)
            .and_then(|age| open.issued_at.checked_sub_signed(age));
        // Events count by arrival: since the previous step ended, or within the lookback.
        let counts = |event: &Event| {
            !event.historical
                && (event.tick > open.since
                    || args.lookback_ms > 0 && from.is_none_or(|from| event.came_at >= from))
        };
        let mut events = about.events.iter();
        events
            .find(|event| counts(event) && fits(args, event, &about.properties))
            .map(|event| Waited::Event(occurrence(event)))
    }

    /// Ends a run.
    pub(super) fn end(&mut self, index: usize, status: Status, reason: Option<String>) {
        let run = &mut self.runs[index];
        let person = run.place.person;
        run.end(status, reason.clone(), self.now);
        self.people[person].open.retain(|open| *open != index);
        self.note(person, Some(index), What::Ended { status, reason });
    }
}

fn fits(args: &WaitForArgs, event: &Event, contact: &Properties) -> bool {
    args.event == event.name
        && args
            .condition
            .as_ref()
            .is_none_or(|condition| condition.matches(&event.properties, contact))
}

pub(super) fn occurrence(event: &Event) -> Occurrence {
    let occurrence = Occurrence::new(event.name.clone(), event.properties.clone(), event.at);
    with(occurrence, |occurrence| occurrence.trust = event.trust)
}

/// Parses a step's inputs.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    args: &serde_json::Value,
) -> Result<T, StepError> {
    T::deserialize(args).map_err(|error| StepError::new("step_unreadable", error.to_string()))
}
