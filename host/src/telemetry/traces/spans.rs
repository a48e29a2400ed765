//! Every span, with its fields. They are the ids in log lines too.
//!
//! A field is an id, a word of a closed vocabulary or a number: never an address, a token or a body.

use std::fmt::Display;

use ::http::HeaderMap;
use chrono::TimeDelta;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::parent::{self, of, parse, resume};
use super::{TARGET, on};

macro_rules! span {
    ($name:literal, $($fields:tt)+) => {
        tracing::info_span!(target: TARGET, $name, $($fields)+)
    };
    (root $name:literal, $($fields:tt)+) => {
        tracing::info_span!(target: TARGET, parent: None, $name, $($fields)+)
    };
}

/// A request to this process. It goes on with the trace that its headers name.
pub fn request(id: &str, method: &str, route: &str, headers: &HeaderMap) -> Span {
    let span = span!(root "request", request_id = id, method, route, status = Empty);
    if on() {
        let _ = span.set_parent(parent::of_headers(headers));
    }
    span
}

/// Waiting until events are stored.
pub fn ingest(events: usize) -> Span {
    match on() {
        true => span!("ingest", events),
        false => Span::none(),
    }
}

/// The enrolment of a contact because of an event. Returns the `traceparent` for the run: its own, or that of the
/// span it happens in where the event brings none.
pub fn enrol(
    event: Option<&str>,
    event_id: impl Display,
    journey: &str,
    run_id: impl Display,
) -> Option<String> {
    if !on() {
        return None;
    }
    let span = match event {
        Some(_) => span!(root "enrol", %event_id, journey, %run_id),
        None => span!("enrol", %event_id, journey, %run_id),
    };
    resume(&span, event, TimeDelta::zero());
    of(&span)
}

/// An advance of a run that was due, `waited` after its last progress.
pub fn advance(
    run_id: impl Display,
    journey: &str,
    stored: Option<&str>,
    waited: TimeDelta,
) -> Span {
    let span = span!(root "advance", %run_id, journey, outcome = Empty);
    resume(&span, stored, waited);
    span
}

/// Rendering a mail.
pub fn compose(email_id: impl Display, template: &str) -> Span {
    span!("compose", %email_id, template)
}

/// A mail in a request to a provider.
pub struct Carried<'a> {
    pub email_id: String,
    pub run_id: Option<String>,
    pub stored: Option<&'a str>,
    /// Since it was composed.
    pub waited: TimeDelta,
}

/// A request to a provider. With one mail it goes on with the mail's trace. With several it has a trace of its own
/// that links to each of theirs, and [`answer`] ends each.
pub fn attempt(provider: &str, mails: &[Carried<'_>]) -> Span {
    let count = mails.len();
    let (email_id, run_id) = match mails {
        [one] => (Some(&one.email_id), one.run_id.as_ref()),
        _ => (None, None),
    };
    let span = span!(
        root "attempt",
        provider,
        email_id = email_id.map(tracing::field::display),
        run_id = run_id.map(tracing::field::display),
        batch_id = Empty,
        mails = count,
        outcome = Empty,
    );
    if !on() {
        return span;
    }
    match mails {
        [one] => resume(&span, one.stored, one.waited),
        several => {
            let each = several.iter().filter_map(|one| parse(one.stored?));
            each.for_each(|stored| span.add_link(stored));
        }
    }
    span
}

/// A mail whose request carried others: its trace has the answer too, with a link to the request.
pub fn answer(provider: &str, mail: &Carried<'_>, outcome: &str) {
    let Some(stored) = mail.stored.filter(|_| on()) else {
        return;
    };
    let email_id = &mail.email_id;
    let span = span!(root "answer", provider, %email_id, outcome);
    resume(&span, Some(stored), mail.waited);
    if let Some(request) = parent::current().and_then(|text| parse(&text)) {
        span.add_link(request);
    }
}

/// A call of a plugin.
pub fn plugin_call(plugin: &str, method: &str) -> Span {
    match on() {
        true => span!("plugin_call", plugin, method, outcome = Empty),
        false => Span::none(),
    }
}

/// An HTTP request on behalf of a plugin. `host` is one that its manifest allows.
pub fn plugin_request(plugin: &str, method: &str, host: &str) -> Span {
    match on() {
        true => span!("plugin_request", plugin, method, host, status = Empty),
        false => Span::none(),
    }
}

/// Work of the worker about one row that is none of these.
pub fn item(work: &'static str, id: impl Display) -> Span {
    span!(root "item", work, %id)
}
