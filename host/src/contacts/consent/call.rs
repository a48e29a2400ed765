//! The lists that an API call or an event names. All routes share these rules.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Book, Decision, Grounds, Lists, Outcome, Reach, Source, Subject};
use crate::catalog::List;
use crate::contacts::FollowUp;
use crate::db::{self, Conn};
use crate::ids::{ContactId, EventId};

/// The decisions a call asks for, and the lists for which it gets an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub decisions: Vec<Decision>,
    unknown: Vec<String>,
    left: Vec<String>,
}

impl Asked {
    /// Reads the lists of a call. Only lists of this installation become decisions, which bounds their
    /// number.
    pub fn read(known: &[List], changes: &BTreeMap<String, bool>, consent: bool) -> Self {
        let mut asked = Self::default();
        for (id, subscribed) in changes {
            let id = id.clone();
            if !known.iter().any(|list| list.id == id) {
                asked.unknown.push(id);
            } else if *subscribed {
                asked.decisions.push(Decision::Join { id, consent });
            } else {
                let subscribed = false;
                asked.decisions.push(Decision::Category { id, subscribed });
            }
        }
        asked
    }

    /// Records the results of the decisions.
    pub fn note(&mut self, outcomes: &[Outcome]) {
        for (decision, outcome) in self.decisions.iter().zip(outcomes) {
            if let (Decision::Join { id, .. }, Outcome::Left) = (decision, outcome) {
                self.left.push(id.clone());
            }
        }
    }

    /// The error for the caller, if some lists were not changed: `unknown: x; left: y (…)`.
    pub fn error(&self) -> Option<String> {
        /// Most names in the error; a call may have any number.
        const NAMES_MAX: usize = 20;
        let name = |what: &str, all: &[String]| {
            let named: Vec<String> = all
                .iter()
                .take(NAMES_MAX)
                .map(|id| id.chars().take(100).collect())
                .collect();
            let more = all.len().saturating_sub(NAMES_MAX);
            let more = (more > 0).then(|| format!(" and {more} more"));
            (!all.is_empty())
                .then(|| format!("{what}: {}{}", named.join(", "), more.unwrap_or_default()))
        };
        let left = name("left", &self.left);
        let left = left.map(|text| {
            format!(
                "{text} (the person left this list; if they consent to join again, send consent: true)"
            )
        });
        let all: Vec<String> = name("unknown", &self.unknown)
            .into_iter()
            .chain(left)
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// An event with lists.
#[derive(Clone, Copy, Debug)]
pub struct Choosing<'a> {
    pub event: EventId,
    pub name: &'a str,
    pub contact: ContactId,
    pub lists: &'a Lists,
    /// The number of journeys between the event and one from outside.
    pub depth: i16,
}

/// Applies the lists of events, whose contacts the caller has locked. Returns the error of each event, if
/// any, and the events that follow.
pub async fn choose(
    conn: &mut Conn,
    known: &[List],
    events: &[Choosing<'_>],
    now: DateTime<Utc>,
) -> db::Result<(Vec<(EventId, Option<String>)>, Vec<FollowUp>)> {
    if events.is_empty() {
        return Ok(Default::default());
    }
    let subjects: Vec<Subject> = events
        .iter()
        .map(|event| Subject::contact(event.contact))
        .collect();
    let mut book = Book::open(conn, None, &subjects, Reach::Named).await?;
    let mut refused = Vec::with_capacity(events.len());
    for (event, subject) in events.iter().zip(&subjects) {
        let Lists {
            changes,
            consent,
            by,
        } = event.lists;
        let mut asked = Asked::read(known, changes, *consent);
        let grounds = Grounds {
            by: by.clone(),
            ..Grounds::new(Source::Event, format!("lists of the event {}", event.name))
        };
        let outcomes = book.decide_at(known, subject, &asked.decisions, &grounds, event.depth);
        asked.note(&outcomes);
        refused.push((event.event, asked.error()));
    }
    Ok((refused, book.write(conn, now).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_done_is_named_within_bounds() {
        let mut asked = Asked {
            decisions: vec![Decision::Join {
                id: "news".into(),
                consent: false,
            }],
            unknown: Vec::new(),
            left: Vec::new(),
        };
        asked.note(&[Outcome::Done]);
        assert_eq!(asked.error(), None);
        asked.note(&[Outcome::Left]);
        assert!(asked.error().unwrap().starts_with("left: news ("));
        asked.unknown = (0..20_000)
            .map(|n| format!("{n}{}", "x".repeat(1_000)))
            .collect();
        let error = asked.error().unwrap();
        assert!(error.contains("and 19980 more; left: news") && error.len() < 4_000);
    }
}
