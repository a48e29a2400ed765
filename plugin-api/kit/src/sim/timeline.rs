//! What happened, in order.

use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::run::Status;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    #[serde(serialize_with = "instant")]
    pub at: DateTime<Utc>,
    #[serde(serialize_with = "name")]
    pub person: Rc<str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "journey")]
    pub journey: Option<Rc<str>>,
    /// The number of the run, counted from 1 over all people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<usize>,
    #[serde(flatten)]
    pub what: What,
}

/// Kinds of things that happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// An event came in; `depth` tells how many journeys stand between it and the outside.
    Event {
        name: String,
        depth: i16,
    },
    /// The person changed what mail they want.
    Preference {
        category: String,
        subscribed: bool,
    },
    /// The person opened or clicked a mail.
    Engaged {
        template: String,
        clicked: bool,
    },
    /// A run began.
    Entered,
    /// No run began.
    Refused {
        reason: String,
    },
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
    Checkpoint {
        label: String,
    },
    /// The provider has a mail.
    Sent {
        template: String,
        to: String,
    },
    /// A mail is kept back until then.
    Held {
        template: String,
        until: DateTime<Utc>,
    },
    /// No mail goes out.
    Skipped {
        template: String,
        reason: String,
    },
    /// The provider refused a mail.
    SendFailed {
        template: String,
        reason: String,
    },
    /// Analytics was told of an event.
    Captured {
        name: String,
    },
    /// The run is over.
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
            Self::Captured { name } => write!(f, "analytics is told of {name}"),
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

/// For people: the minute, and seconds where there are any.
fn short(at: DateTime<Utc>) -> String {
    let format = if at.timestamp() % 60 == 0 {
        "%Y-%m-%d %H:%M   "
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    at.format(format).to_string().trim_end().to_owned()
}

/// Long results are for the machine form.
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
