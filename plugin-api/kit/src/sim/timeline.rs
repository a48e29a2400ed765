//! The timeline: everything that happened, in order.

use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::run::Status;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When it happened.
    #[serde(serialize_with = "instant")]
    pub at: DateTime<Utc>,
    /// The name of the person: the id or address a test first used.
    #[serde(serialize_with = "name")]
    pub person: Rc<str>,
    /// The id of the journey, where it concerns one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "journey")]
    pub journey: Option<Rc<str>>,
    /// The number of the run, from 1 over all people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<usize>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// An event arrived; `depth` is the number of journeys between it and one from outside.
    Event { name: String, depth: i16 },
    /// The person changed a subscription.
    Preference { category: String, subscribed: bool },
    /// The person opened or clicked a mail.
    Engaged { template: String, clicked: bool },
    /// A run began.
    Entered,
    /// An enrolment was refused.
    Refused { reason: String },
    /// A step began that ends later.
    Waits {
        step: u32,
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
    },
    /// A step ended. `result` is JSON, or the error.
    Step {
        step: u32,
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        ok: bool,
        result: String,
    },
    /// A run passed a checkpoint.
    Checkpoint { label: String },
    /// A mail was sent.
    Sent { template: String, to: String },
    /// A mail waits for its send window.
    Held {
        template: String,
        until: DateTime<Utc>,
    },
    /// A mail was skipped.
    Skipped { template: String, reason: String },
    /// The provider refused a mail.
    SendFailed { template: String, reason: String },
    /// A run sent an event to analytics.
    Captured { name: String },
    /// A run ended.
    Ended {
        status: Status,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

fn name<S: serde::Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name)
}

fn journey<S: serde::Serializer>(id: &Option<Rc<str>>, to: S) -> Result<S::Ok, S::Error> {
    id.as_deref().serialize(to)
}

fn instant<S: serde::Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:<12}", short(self.at), self.person)?;
        match &self.journey {
            Some(journey) => write!(f, "  {journey:<20}")?,
            None => write!(f, "  {:<20}", "")?,
        }
        write!(f, "  {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { name, depth: 0 } => write!(f, "event {name}"),
            Self::Event { name, .. } => write!(f, "event {name} (from a journey)"),
            Self::Preference {
                category,
                subscribed: true,
            } => write!(f, "subscribes to {category}"),
            Self::Preference { category, .. } => write!(f, "unsubscribes from {category}"),
            Self::Engaged {
                template,
                clicked: true,
            } => write!(f, "clicks in {template}"),
            Self::Engaged { template, .. } => write!(f, "opens {template}"),
            Self::Entered => f.write_str("enters"),
            Self::Refused { reason } => write!(f, "does not enter: {reason}"),
            Self::Waits {
                kind, label, until, ..
            } => {
                write!(f, "{}", named(kind, label.as_deref()))?;
                until.map_or(Ok(()), |until| write!(f, " until {}", short(until)))
            }
            Self::Step {
                kind,
                label,
                ok,
                result,
                ..
            } => {
                write!(f, "{}", named(kind, label.as_deref()))?;
                match (ok, result.as_str()) {
                    (true, "null") => f.write_str(" done"),
                    (true, result) => write!(f, " = {}", cut(result)),
                    (false, error) => write!(f, " fails: {error}"),
                }
            }
            Self::Checkpoint { label } => write!(f, "checkpoint {label}"),
            Self::Sent { template, to } => write!(f, "sent {template} to {to}"),
            Self::Held { template, until } => {
                write!(f, "mail {template} waits until {}", short(*until))
            }
            Self::Skipped { template, reason } => write!(f, "mail {template} skipped: {reason}"),
            Self::SendFailed { template, reason } => write!(f, "mail {template} failed: {reason}"),
            Self::Captured { name } => write!(f, "captures {name} in analytics"),
            Self::Ended { status, reason } => {
                write!(f, "{status}")?;
                reason
                    .as_ref()
                    .map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
        }
    }
}

fn named(kind: &str, label: Option<&str>) -> String {
    label.map_or_else(|| kind.to_owned(), |label| format!("{kind} '{label}'"))
}

/// For people: without seconds where they are zero.
fn short(at: DateTime<Utc>) -> String {
    let format = if at.timestamp() % 60 == 0 {
        "%Y-%m-%d %H:%M   "
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    at.format(format).to_string().trim_end().to_owned()
}

/// Long results are complete only in [`Sim::trace`](super::Sim::trace).
fn cut(text: &str) -> String {
    const WIDTH: usize = 100;
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars()
        .take(WIDTH)
        .chain(std::iter::once('…'))
        .collect()
}
