//! Mails: whether and when they are sent.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use hogsend_plugin_api::journey::{SendArgs, Sent};
use hogsend_plugin_api::{Properties, StepError};
use hogsend_semantics::TRANSACTIONAL;
use hogsend_semantics::pace::gap_allows;
use serde_json::{Value, json};
use uuid::Uuid;

use super::run::Status;
use super::script::Fate;
use super::step::Performed;
use super::{Due, Sim, What, ids};

/// A mail of a `send` step.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The id of the mail.
    pub id: Uuid,
    /// The id of the journey.
    pub journey: Rc<str>,
    /// The person's name in the timeline.
    pub person: Rc<str>,
    /// The key of the template.
    pub template: String,
    /// The recipient's address; empty where the person has none.
    pub to: String,
    /// The subject, where the step set one.
    pub subject: Option<String>,
    /// The category that decides whether the person is subscribed.
    pub category: String,
    /// The values for the template.
    pub props: Properties,
    /// When the step was performed.
    pub decided_at: DateTime<Utc>,
    /// Whether it was sent.
    pub outcome: Outcome,
    /// Whether the person opened it.
    pub opened: bool,
    /// Whether the person clicked in it.
    pub clicked: bool,
    /// The run, and the number of its step.
    pub(super) origin: (usize, u32),
}

/// The outcome of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits to be sent.
    Queued,
    /// It was sent at this time.
    Sent(DateTime<Utc>),
    /// It was not sent, for this reason.
    Skipped(String),
    /// The provider refused it, for this reason.
    Failed(String),
}

impl Mail {
    /// When it was sent, if it was.
    pub fn sent_at(&self) -> Option<DateTime<Utc>> {
        match self.outcome {
            Outcome::Sent(at) => Some(at),
            Outcome::Queued | Outcome::Skipped(_) | Outcome::Failed(_) => None,
        }
    }
}

/// Whether a mail is sent now.
enum Pace {
    Go,
    Skip(String),
    Later(DateTime<Utc>),
}

impl Sim<'_> {
    /// Creates the mail of a `send` step.
    pub(super) fn compose(
        &mut self,
        index: usize,
        seq: u32,
        args: SendArgs,
    ) -> Performed<Result<Value, StepError>> {
        let template = self.templates.get(&args.template);
        if template.is_none() && !self.templates.is_empty() {
            let known: Vec<&str> = self.templates.keys().map(String::as_str).collect();
            let message = format!(
                "no template '{}'; known: {}",
                args.template,
                known.join(", ")
            );
            return Performed::Done(Err(StepError::new("template_unknown", message)));
        }
        let run = &self.runs[index];
        let place = run.place;
        let of_template = template.and_then(|template| template.category.clone());
        let category = args.category.or(of_template).unwrap_or_else(|| {
            let definition = &self.journeys[place.journey].definition;
            definition.category.clone()
        });
        let person = &self.people[place.person];
        let number = self.mails.len();
        let to = args.to.or_else(|| person.email.clone()).unwrap_or_default();
        let has_address = !to.is_empty();
        self.mails.push(Mail {
            id: ids::id(self.seed, "mail", &number.to_string()),
            journey: run.journey.clone(),
            person: person.name.clone(),
            template: args.template,
            to,
            subject: args.subject,
            category,
            props: args.props,
            decided_at: self.now,
            outcome: Outcome::Queued,
            opened: false,
            clicked: false,
            origin: (index, seq),
        });
        self.people[place.person].mails.push(number);
        if !has_address {
            let reason = "no_address".to_owned();
            return Performed::Done(Ok(self.settle(number, Outcome::Skipped(reason))));
        }
        self.wake(self.now, Due::Mail(number));
        Performed::Open
    }

    /// Sends a mail, or skips or delays it by the rules.
    pub(super) fn attempt(&mut self, number: usize) {
        let outcome = match self.pace(number) {
            Pace::Later(until) => {
                self.wake(until, Due::Mail(number));
                let mail = &self.mails[number];
                let (index, template) = (mail.origin.0, mail.template.clone());
                let person = self.runs[index].place.person;
                return self.note(person, Some(index), What::Held { template, until });
            }
            Pace::Skip(reason) => Outcome::Skipped(reason),
            Pace::Go => match self.script.mails.get(&self.mails[number].template) {
                Some(Fate::Fail(reason)) => Outcome::Failed(reason.clone()),
                Some(Fate::Skip(reason)) => Outcome::Skipped(reason.clone()),
                None => Outcome::Sent(self.now),
            },
        };
        let result = self.settle(number, outcome);
        let (index, seq) = self.mails[number].origin;
        let completions = self.runs[index].completions;
        self.complete(index, seq, Ok(result));
        if self.runs[index].completions != completions {
            self.wake(self.now, Due::Run(index));
        }
    }

    /// Checks the rules that can skip or delay a mail.
    fn pace(&self, number: usize) -> Pace {
        let mail = &self.mails[number];
        let index = mail.origin.0;
        let run = &self.runs[index];
        let person = &self.people[run.place.person];
        if run.status == Status::Exited {
            return Pace::Skip("journey_exited".into());
        }
        if mail.category == TRANSACTIONAL {
            return Pace::Go;
        }
        if !person.allows(&mail.category) {
            return Pace::Skip("user_unsubscribed".into());
        }
        if let Some(window) = self.policy.window() {
            let opens = window.opens(self.now, self.zone_of(index));
            if opens > self.now {
                return Pace::Later(opens);
            }
        }
        let last = person.last_mails.get(&run.place.journey).copied();
        let gap = self.journeys[run.place.journey].definition.suppress_ms;
        if !gap_allows(last, self.now, gap) {
            return Pace::Skip("journey_suppressed".into());
        }
        if let Some(cap) = self.policy.cap() {
            let since = cap.since(self.now);
            let sent = person.sent_at.iter().rev().take_while(|at| **at >= since);
            if !cap.allows(sent.count() as u64) {
                return Pace::Skip("frequency_cap".into());
            }
        }
        Pace::Go
    }

    /// Records the outcome of a mail, and returns the result of its step.
    fn settle(&mut self, number: usize, outcome: Outcome) -> Value {
        let mail = &mut self.mails[number];
        mail.outcome = outcome;
        let index = mail.origin.0;
        let (template, id) = (mail.template.clone(), mail.id);
        let place = self.runs[index].place;
        let (what, result) = match &mail.outcome {
            Outcome::Queued | Outcome::Sent(_) => {
                let to = mail.to.clone();
                (What::Sent { template, to }, Sent::accepted(id))
            }
            Outcome::Skipped(reason) => {
                let reason = reason.clone();
                let sent = Sent::skipped(reason.clone());
                (What::Skipped { template, reason }, sent)
            }
            Outcome::Failed(reason) => {
                let reason = reason.clone();
                let sent = Sent::failed(id, reason.clone());
                (What::SendFailed { template, reason }, sent)
            }
        };
        if let Some(at) = mail.sent_at() {
            let person = &mut self.people[place.person];
            if mail.category != TRANSACTIONAL {
                person.sent_at.push(at);
            }
            person.last_mails.insert(place.journey, at);
        }
        self.note(place.person, Some(index), what);
        json!(result)
    }
}
