//! Answers to queries about the past.

use std::cmp::Reverse;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use hogsend_plugin_api::StepError;
use hogsend_plugin_api::journey::{
    EmailPast, EmailPastArgs, HasEventArgs, JourneyPast, JourneyPastArgs, Occurrence, Occurrences,
};
use hogsend_semantics::digest::{Gathering, fitting};
use serde_json::{Value, json};

use super::Sim;
use super::ingest::occurrence;
use super::person::Event;
use super::run::Status;

/// The most events in an answer.
const EVENTS: usize = 100;

impl Sim<'_> {
    fn past<'s>(
        &'s self,
        index: usize,
        args: &'s HasEventArgs,
    ) -> impl Iterator<Item = &'s Rc<Event>> {
        let since = args.within_ms.and_then(|age| since(self.now, age));
        let events = self.person_of(index).events.iter();
        events.filter(move |event| {
            event.name == args.event && since.is_none_or(|since| event.at >= since)
        })
    }

    pub(super) fn has_event(&self, index: usize, args: &HasEventArgs) -> Occurrences {
        let mut found = Occurrences::default();
        for event in self.past(index, args) {
            found.found = true;
            found.count += 1;
            found.last_at = found.last_at.max(Some(event.at));
        }
        found
    }

    pub(super) fn events(&self, index: usize, args: &HasEventArgs) -> Vec<Occurrence> {
        let mut events: Vec<&Rc<Event>> = self.past(index, args).collect();
        events.sort_by_key(|event| Reverse((event.at, event.tick)));
        let newest = events.into_iter().take(EVENTS);
        fitting(newest.map(|event| occurrence(event)))
    }

    pub(super) fn journey_past(&self, index: usize, args: &JourneyPastArgs) -> JourneyPast {
        let runs = self.person_of(index).runs.iter();
        let mut past = JourneyPast::default();
        for run in runs
            .map(|run| &self.runs[*run])
            .filter(|run| *run.journey == *args.journey)
        {
            past.entered += 1;
            past.completed += u64::from(run.status == Status::Completed);
            past.active |= !run.status.is_over();
            past.last_entered_at = Some(run.entered_at);
        }
        past
    }

    pub(super) fn email_past(&self, index: usize, args: &EmailPastArgs) -> EmailPast {
        let mails = self.person_of(index).mails.iter();
        let mut past = EmailPast::default();
        for mail in mails
            .map(|mail| &self.mails[*mail])
            .filter(|mail| mail.template == args.template)
        {
            if let Some(at) = mail.sent_at() {
                past.sent += 1;
                past.last_sent_at = past.last_sent_at.max(Some(at));
            }
            past.opened |= mail.opened;
            past.clicked |= mail.clicked;
        }
        past
    }

    /// The trigger event and the like events that arrived since.
    pub(super) fn digest(&self, index: usize) -> Result<Value, StepError> {
        let run = &self.runs[index];
        let trigger = &self.journeys[run.place.journey].definition.trigger;
        let contact = &run.input.user.properties;
        let mut digest = Gathering::default();
        let events = self.people[run.place.person].events.iter().rev();
        let like = events.filter(|event| {
            event.tick >= run.place.tick
                && !event.historical
                && event.name == run.input.event.name
                && trigger
                    .condition
                    .as_ref()
                    .is_none_or(|condition| condition.matches(&event.properties, contact))
        });
        for event in like {
            if digest.is_full() {
                digest.count(1);
            } else {
                digest.add(occurrence(event));
            }
        }
        Ok(json!(digest.finish()))
    }
}

fn since(now: DateTime<Utc>, age_ms: u64) -> Option<DateTime<Utc>> {
    let age = TimeDelta::try_milliseconds(i64::try_from(age_ms).ok()?)?;
    now.checked_sub_signed(age)
}
